import { randomBytes, randomUUID } from "node:crypto";
import { chmodSync, existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import test from "ava";
import { withAdmin } from "../src/admin-database.ts";
import { createKeyFile, readKeyFile } from "../src/cipher/keyfile.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { readConfig } from "../src/config.ts";
import { getSystem, type SystemInput, setSystem } from "../src/system/credentials.ts";
import { parseCredentialName, parseExpiry, readValue } from "../src/system/input.ts";
import { createLogin, keyrow } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { createTestDatabase, type TestDatabase } from "./helpers/database.ts";
import { createBareDatabase } from "./helpers/migrations.ts";
import { asAdmin, makeUser } from "./helpers/server.ts";
import { onTerminal, typeInto } from "./helpers/terminal.ts";

const database = await createTestDatabase();
const alice = await createLogin(database, "keyrow_admin");
const stranger = await createLogin(database);
const directory = makeTemporaryDirectory();
const keyFile = join(directory, "keys.json");
await createKeyFile(keyFile);
const env = { ADMIN_DATABASE_URL: alice.url, KEYROW_KEY_FILE: keyFile };
const config = readConfig(env);
const cipher = createKeyring((await readKeyFile(config.keyFile.path)).map(createLocalCipher));
test.after.always(async () => {
  await database.drop();
  await alice.drop();
  await stranger.drop();
  await removeWithServers(directory);
});

const system = (args: string[], input: string | Uint8Array = "", more: Record<string, string> = {}) =>
  keyrow(["system", ...args], { ...env, ...more }, input);

/** A credential's name that no other test has. */
const fresh = () => `smtp/${randomBytes(6).toString("hex")}`;

/** Makes a SYSTEM credential and a user who carries it. */
async function made(value: string, more: Partial<SystemInput> = {}) {
  const [title, user] = [fresh(), await makeUser(database)];
  const which = parseCredentialName(title);
  await setSystem(config, cipher, which, { value, user, ...more });
  return { title, name: which.name, user };
}

const row = async (name: string) =>
  (await asAdmin(database, `select * from (select ${columns} from public.user_credentials) c where name = $1`, [name]))
    .rows[0];
const columns =
  "id, user_id, workspace_id, name, provider, type, scope, masked_value, description, expires_at, last_used_at, is_active, rotated_at";

/** The log of one credential, in order. */
async function entries(id: string) {
  const { rows } = await asAdmin(
    database,
    "select action::text, user_id, workspace_id, session_role, details from public.activity_logs where entity_id = $1 order by id",
    [id],
  );
  return rows;
}

test("set, get, list and rm, from standard input to standard output", async (t) => {
  const [title, user] = [fresh(), await makeUser(database)];
  const name = title.slice("smtp/".length);
  const value = "ghp_0123456789abcdefghij0123456789abcdWXYZ";
  const created = await system(
    ["set", title, "--user", user, "--type", "API_KEY", "--description", "for mail", "--expires", "2999-12-31"],
    `${value}\n`,
  );
  t.deepEqual(created, { stdout: `created  ${title}\n`, stderr: "", exitCode: 0 });
  const stored = await row(name);
  t.like(stored, {
    user_id: user,
    workspace_id: null,
    provider: "smtp",
    type: "API_KEY",
    scope: "SYSTEM",
    masked_value: "ghp_*****WXYZ",
    description: "for mail",
    last_used_at: null,
    is_active: true,
  });
  t.deepEqual(stored.expires_at, new Date("2999-12-31T00:00:00Z"));

  t.deepEqual(await system(["get", title]), { stdout: value, stderr: "", exitCode: 0 });
  t.true((await row(name)).last_used_at > new Date(Date.now() - 120_000), "its use is noted, to the minute");

  const { stdout } = await system(["list", "--json"]);
  t.false(stdout.includes(value));
  const listed = JSON.parse(stdout).find((one: { name: string }) => one.name === name);
  t.like(listed, { id: stored.id, provider: "smtp", type: "API_KEY", maskedValue: "ghp_*****WXYZ", userId: user });
  t.is(listed.expiresAt, "2999-12-31T00:00:00.000Z");
  const table = (await system(["list"])).stdout;
  t.regex(table, /^CREDENTIAL +TYPE +VALUE +ACTIVE +EXPIRES +LAST USED +CARRIED BY\n/);
  t.regex(
    table,
    new RegExp(`^${title} +API_KEY +ghp_\\*{5}WXYZ +yes +2999-12-31T00:00Z +20..-..-..T..:..Z +${user}$`, "m"),
  );
  t.false(table.includes(value));

  t.deepEqual(await system(["rm", title]), { stdout: `deleted  ${title}\n`, stderr: "", exitCode: 0 });
  t.is(await row(name), undefined);
  const details = { provider: "smtp", name, scope: "SYSTEM" };
  const entry = { user_id: null, workspace_id: null, session_role: alice.name };
  t.deepEqual(await entries(stored.id), [
    { action: "CREDENTIAL_CREATED", ...entry, details },
    { action: "CREDENTIAL_ACCESSED", ...entry, details },
    { action: "CREDENTIAL_REVOKED", ...entry, details: { ...details, deleted: true } },
  ]);
});

test("what SQL put into a name steers no terminal: neither from the table nor from --json, which reads as before", async (t) => {
  const user = await makeUser(database);
  const name = `${fresh()}\n\u009b31m\u202etxt.exe`;
  await asAdmin(
    database,
    `insert into public.user_credentials (user_id, provider, name, type, scope, encrypted_value, key_id)
     values ($1, 'smtp', $2, 'SECRET', 'SYSTEM', $3, 'local:20260101-0000000a')`,
    [user, name, `${"A".repeat(16)}:${"A".repeat(22)}==:AAAA`],
  );
  const { stdout: json } = await system(["list", "--json"]);
  t.true(JSON.parse(json).some((one: { name: string }) => one.name === name));
  const { stdout: table } = await system(["list"]);
  t.true(table.includes(name.replaceAll(/[\n\u009b\u202e]/g, "?")));
  for (const said of [json, table]) t.deepEqual(said.match(/[^\P{C}\n]/gu), null);
});

test("a new value renews: the owner and what is not given stay, and what was revoked is active again", async (t) => {
  const { title, name, user } = await made("first", { type: "PASSWORD", description: "kept" });
  const before = await row(name);
  await asAdmin(database, "update public.user_credentials set is_active = false where id = $1", [before.id]);
  const renewed = await system(["set", title, "--user", await makeUser(database), "--json"], "second");
  t.deepEqual(JSON.parse(renewed.stdout), {
    provider: "smtp",
    name,
    id: before.id,
    created: false,
    maskedValue: "*****",
  });
  const after = await row(name);
  t.like(after, { id: before.id, user_id: user, type: "PASSWORD", description: "kept", is_active: true });
  t.true(after.rotated_at instanceof Date);
  t.deepEqual(JSON.parse((await system(["get", title, "--json"])).stdout), { credential: title, value: "second" });
  const actions = (await entries(before.id)).map(({ action, session_role }) => [action, session_role]);
  t.deepEqual(actions, [
    ["CREDENTIAL_CREATED", alice.name],
    ["CREDENTIAL_REVOKED", "postgres"],
    ["CREDENTIAL_ROTATED", alice.name],
    ["CREDENTIAL_ACCESSED", alice.name],
  ]);
});

const values: Array<[title: string, input: string, value: string]> = [
  ["without a newline", "secret", "secret"],
  ["with one newline, which goes", "secret\n", "secret"],
  ["with a newline of Windows, which goes", "secret\r\n", "secret"],
  ["with two newlines, of which one stays", "secret\n\n", "secret\n"],
  ["of several lines", "-----BEGIN\nabc\n-----END\n", "-----BEGIN\nabc\n-----END"],
  ["of spaces", "  ", "  "],
  ["with a byte order mark, a NUL and an emoji", "\ufeffa\0b\u{1f511}", "\ufeffa\0b\u{1f511}"],
  ["of 64 KiB and a newline", `${"x".repeat(65_536)}\n`, "x".repeat(65_536)],
  ["that looks like an option", "--help", "--help"],
];
for (const [title, input, value] of values) {
  test(`a value ${title} comes back as it is`, async (t) => {
    const which = { provider: "values", name: randomUUID() };
    const user = await makeUser(database);
    await setSystem(config, cipher, which, { value: await readValue(Readable.from([Buffer.from(input)])), user });
    t.true((await getSystem(config, cipher, which)) === value);
  });
}

test("a value in pieces, cut through a character, comes together", async (t) => {
  const bytes = Buffer.from("a\u{1f511}b\n");
  t.is(await readValue(Readable.from([bytes.subarray(0, 3), bytes.subarray(3)])), "a\u{1f511}b");
});

const refusedValues: Array<[title: string, input: string | Uint8Array, code: string]> = [
  ["nothing", "", "VALIDATION"],
  ["a newline alone", "\n", "VALIDATION"],
  ["64 KiB and a byte", "x".repeat(65_537), "LIMIT_EXCEEDED"],
  ["64 KiB of two-byte letters and one more", `${"é".repeat(32_768)}x`, "LIMIT_EXCEEDED"],
  ["bytes that are no UTF-8", Uint8Array.of(0x68, 0xff, 0xfe), "VALIDATION"],
  ["a character that is cut off", Uint8Array.of(0x68, 0xc3), "VALIDATION"],
];
for (const [title, input, code] of refusedValues) {
  test(`${title} is no value`, async (t) => {
    await t.throwsAsync(readValue(Readable.from([Buffer.from(input)])), { code });
  });
}

test("what has no end is refused without reading on", async (t) => {
  let read = 0;
  const endless = Readable.from(
    (function* () {
      for (;;) yield Buffer.alloc(1024, ++read ? "x" : "");
    })(),
  );
  await t.throwsAsync(readValue(endless), { code: "LIMIT_EXCEEDED" });
  t.true(read < 200, `${read} KiB`);
});

test("what is no value is told, and stores nothing", async (t) => {
  const user = await makeUser(database);
  for (const [input, expected] of [
    ["", /^error: there is no value on standard input\nhint: .* to be asked\n$/],
    ["é".repeat(500_000), /^error: a value may have at most 65536 bytes\nhint: /],
    [Uint8Array.of(0x68, 0xff, 0xfe), /^error: the value is not valid UTF-8\nhint: /],
  ] as const) {
    const title = fresh();
    const { stdout, stderr, exitCode } = await system(["set", title, "--user", user], input);
    t.regex(stderr, expected);
    t.deepEqual([stdout, exitCode], ["", 1]);
    t.is(await row(title.slice(5)), undefined);
  }
});

test("only the first slash parts provider and name", async (t) => {
  const { title } = await made("v");
  const user = await makeUser(database);
  t.is((await system(["set", `${title}/a/b`, "--user", user], "w")).exitCode, 0);
  t.like(await row(`${title.slice(5)}/a/b`), { provider: "smtp" });
  t.is((await system(["get", `${title}/a/b`])).stdout, "w");
});

for (const [title, text] of [
  ["no slash", "hunter2"],
  ["nothing", ""],
  ["no provider", "/hunter2"],
  ["no name", "hunter2/"],
  ["a long provider", `${"hunter2".repeat(15)}/x`],
  ["a long name", `x/${"hunter2".repeat(37)}`],
  ["a control character", "a/hunter2\u001b[31m"],
  ["a character that turns the text around", "a/hunter2\u202e"],
  ["half a surrogate pair", "a/hunter2\ud83d"],
] as const) {
  test(`${title} names no credential, and is not repeated`, (t) => {
    const error = t.throws(() => parseCredentialName(text), { code: "USAGE" });
    t.notRegex(`${error?.message}`, /hunter2/);
  });
}

test("names may be as long as their columns", (t) => {
  const [provider, name] = ["\u{1f511}".repeat(100), "/".repeat(255)];
  t.deepEqual(parseCredentialName(`${provider}/${name}`), { provider, name });
});

const now = new Date("2030-06-15T12:00:00Z");
for (const [text, expected] of [
  ["never", null],
  ["2030-06-16", "2030-06-16T00:00:00.000Z"],
  ["2032-02-29", "2032-02-29T00:00:00.000Z"],
  ["2030-06-15T14:30+02:00", "2030-06-15T12:30:00.000Z"],
  ["2030-06-15T12:00:01Z", "2030-06-15T12:00:01.000Z"],
] as const) {
  test(`--expires ${text} is ${expected}`, (t) => {
    t.is(parseExpiry(text, now)?.toISOString() ?? null, expected);
  });
}
for (const text of [
  ...["", "tomorrow", "2030-06-15", "2030-06-15T12:00:00Z", "2020-01-01", "2031-02-29", "2031-13-01", "2031-1-1"],
  ...["2031-01-01T25:00:00Z", "2031-01-01T12:00:00", "2031-01-01T12:00:00Z\n", "+12031-01-01", "1900000000"],
]) {
  test(`--expires ${JSON.stringify(text)} is refused`, (t) => {
    t.throws(() => parseExpiry(text, now), { code: "USAGE", message: /not a date to come/ });
  });
}

test("a type that is none is refused with those that are, and not repeated", async (t) => {
  const { stdout, stderr, exitCode } = await system(["set", fresh(), "--type", "hunter2"], "v");
  t.is(
    stderr,
    "error: the value of --type is not a type of credentials\nhint: give API_KEY, OAUTH_TOKEN, ACCESS_TOKEN, SECRET, PASSWORD or CUSTOM\n",
  );
  t.deepEqual([stdout, exitCode], ["", 2]);
});

for (const command of ["get", "rm"]) {
  test(`${command} of what is not there is NOT_FOUND, with a hint`, async (t) => {
    t.deepEqual(await system([command, fresh()]), {
      stdout: "",
      stderr:
        "error: there is no SYSTEM credential of this provider and name\nhint: `keyrow system list` shows what there is\n",
      exitCode: 3,
    });
  });
}

test("USER and WORKSPACE credentials are out of reach", async (t) => {
  const { title, name } = await made("v");
  const { id } = await row(name);
  const other = randomUUID();
  // As the database's owner of all rows could: the same name, of another scope.
  await asAdmin(
    database,
    `insert into public.user_credentials (user_id, provider, name, type, scope, encrypted_value, key_id)
     values ($1, 'smtp', $2, 'SECRET', 'USER', $3, 'local:20260101-0000000a')`,
    [await makeUser(database), other, `${"A".repeat(16)}:${"A".repeat(22)}==:AAAA`],
  );
  for (const command of ["get", "rm"]) t.is((await system([command, `smtp/${other}`])).exitCode, 3);
  t.false((await system(["list"])).stdout.includes(other));
  t.is(
    (await system(["rm", title, "--yes", "--json"])).stdout,
    `${JSON.stringify({ provider: "smtp", name, id, deleted: true })}\n`,
  );
});

test("revoked and expired values are refused, and not on the record", async (t) => {
  const { title, name } = await made("v");
  const { id } = await row(name);
  for (const [assignment, told] of [
    ["expires_at = now()", /^error: this credential has expired\. .*\nhint: `keyrow system set`/i],
    ["is_active = false", /^error: this credential is revoked\. .*\nhint: /i],
  ] as const) {
    await asAdmin(database, `update public.user_credentials set ${assignment} where id = $1`, [id]);
    const { stdout, stderr, exitCode } = await system(["get", title]);
    t.regex(stderr, told);
    t.deepEqual([stdout, exitCode], ["", 1]);
  }
  t.false((await entries(id)).some(({ action }) => action === "CREDENTIAL_ACCESSED"));
  t.is((await system(["set", title, "--expires", "never"], "w")).exitCode, 0);
  t.is((await system(["get", title])).stdout, "w");
});

// ------------------------------------------------------------------------------------------------- whose id it carries

test("a user is named by id or address, in capitals or not, and must exist", async (t) => {
  const user = await makeUser(database);
  await asAdmin(database, "update public.users set email = $2 where id = $1", [user, `${user}@example.com`]);
  const set = (given: string) => system(["set", fresh(), "--user", given], "v");
  for (const given of [user, user.toUpperCase(), `${user}@example.com`, `${user}@EXAMPLE.com`]) {
    t.is((await set(given)).exitCode, 0, given);
  }
  for (const given of [randomUUID(), "nobody@example.com", ""]) {
    const { stderr, exitCode } = await set(given);
    t.regex(stderr, /^error: no user has this id or e-mail address\nhint: /, given);
    t.is(exitCode, 3);
  }
});

test("the user who would carry it may have the name already, under another scope", async (t) => {
  const [title, user] = [fresh(), await makeUser(database)];
  await asAdmin(
    database,
    `insert into public.user_credentials (user_id, provider, name, type, scope, encrypted_value, key_id)
     values ($1, 'smtp', $2, 'SECRET', 'USER', $3, 'local:20260101-0000000a')`,
    [user, title.slice(5), `${"A".repeat(16)}:${"A".repeat(22)}==:AAAA`],
  );
  const { stderr, exitCode } = await system(["set", title, "--user", user], "v");
  t.regex(stderr, /^error: the user who would carry it has a credential .* already\nhint: name another with --user/);
  t.is(exitCode, 1);
});

test("two of one name, which SQL alone makes, are told apart by nobody", async (t) => {
  const { title, name } = await made("v");
  await asAdmin(
    database,
    `insert into public.user_credentials (user_id, provider, name, type, scope, encrypted_value, key_id)
     values ($1, 'smtp', $2, 'SECRET', 'SYSTEM', $3, 'local:20260101-0000000a')`,
    [await makeUser(database), name, `${"A".repeat(16)}:${"A".repeat(22)}==:AAAA`],
  );
  for (const args of [
    ["set", title],
    ["get", title],
    ["rm", title],
  ]) {
    t.regex(
      (await system(args, "w")).stderr,
      /^error: several SYSTEM credentials have this provider and name: .*\nhint: /,
    );
  }
});

test("of many that set one name at once, one creates it and the others renew it", async (t) => {
  const name = randomUUID();
  const users = await Promise.all(Array.from({ length: 4 }, () => makeUser(database)));
  const results = await Promise.all(
    users.map((user) => setSystem(config, cipher, { provider: "race", name }, { value: user, user })),
  );
  t.is(new Set(results.map(({ id }) => id)).size, 1);
  t.is(results.filter(({ created }) => created).length, 1);
  t.true(users.includes((await system(["get", `race/${name}`])).stdout));
});

test("without --user a new one is carried by who carries all the others, and by nobody where that is in doubt", async (t) => {
  const own = await createTestDatabase();
  const bob = await createLogin(own, "keyrow_admin");
  t.teardown(async () => {
    await own.drop();
    await bob.drop();
  });
  const set = (...args: string[]) => system(["set", ...args], "v", { ADMIN_DATABASE_URL: bob.url });
  const [ana, eve] = [await makeUser(own), await makeUser(own)];
  const needed = /^error: a new SYSTEM credential carries a user's id: give --user <email or id>\nhint: /;
  t.regex((await set("a/1")).stderr, needed, "the first");
  t.is((await set("a/1", "--user", ana)).exitCode, 0);
  t.is((await set("a/2")).exitCode, 0);
  const { rows } = await asAdmin(own, "select distinct user_id from public.user_credentials where scope = 'SYSTEM'");
  t.deepEqual(rows, [{ user_id: ana }]);
  t.is((await set("a/3", "--user", eve)).exitCode, 0);
  t.like(await set("a/4"), { exitCode: 2 });
  t.regex((await set("a/4")).stderr, needed, "where several do");
  t.is((await set("a/3")).exitCode, 0, "one that exists has its own");
});

// ------------------------------------------------------------------------------------------------------- on a terminal

for (const [title, keys] of [
  ["Ctrl-D", "\x04"],
  ["Ctrl-C", "\x03"],
] as const) {
  onTerminal(`${title} at the question for a value breaks off, and nothing is set`, async (t) => {
    const which = fresh();
    const { shown, exitCode } = await typeInto(["system", "set", which], env, "Value of", keys);
    t.is(exitCode, 130, shown);
    t.regex(shown, /nothing was set\r\n$/);
    t.notRegex(shown, /Warning|await/);
    t.is(await row(which.slice("smtp/".length)), undefined);
  });
}

onTerminal("a value that is typed is set, and not shown", async (t) => {
  const [which, user, value] = [fresh(), await makeUser(database), `typed-${randomUUID()}`];
  const { shown, exitCode } = await typeInto(["system", "set", which, "--user", user], env, "Value of", `${value}\r`);
  t.is(exitCode, 0, shown);
  t.false(shown.includes(value));
  t.is((await system(["get", which])).stdout, value);
});

onTerminal("Ctrl-D at the question whether to delete is no", async (t) => {
  const { title } = await made("v");
  const { shown, exitCode } = await typeInto(["system", "rm", title], env, "[y/N]", "\x04");
  t.is(exitCode, 1, shown);
  t.regex(shown, /nothing was deleted\r\n$/);
  t.is((await system(["get", title])).stdout, "v");
});

// --------------------------------------------------------------------------------------------- logins, keys, databases

test("a login that may not become keyrow_admin is told what makes it one, and gets nothing", async (t) => {
  const { title } = await made("v");
  for (const args of [["get", title], ["list"], ["rm", title], ["set", title]]) {
    const { stdout, stderr, exitCode } = await system(args, "w", { ADMIN_DATABASE_URL: stranger.url });
    t.deepEqual(stderr.split("\n"), [
      `error: the login ${stranger.name} may not become keyrow_admin`,
      `hint: let an admin of the database run: grant keyrow_admin to "${stranger.name}";`,
      "",
    ]);
    t.deepEqual([stdout, exitCode], ["", 1]);
  }
  t.is((await system(["get", title])).stdout, "v");
});

test("no login that Keyrow has for a task of its own is a DB admin's, or is said to become one", async (t) => {
  const { title } = await made("v");
  for (const login of ["keyrow_authenticator", "keyrow_worker", "keyrow_migrate"] as const) {
    const { stdout, stderr } = await system(["get", title], "", { ADMIN_DATABASE_URL: database.url(login) });
    t.regex(
      stderr,
      new RegExp(`^error: the login ${login} may not become keyrow_admin\nhint: connect as a login of your own `),
    );
    t.notRegex(stderr, /grant/);
    t.is(stdout, "");
  }
});

/** Makes a row, so that policies are asked. */
const hold = (own: TestDatabase, user: string) =>
  asAdmin(
    own,
    `insert into public.user_credentials (user_id, provider, name, type, scope, encrypted_value, key_id)
     values ($1, 'p', 'n', 'SECRET', 'SYSTEM', $2, 'local:20260101-0000000a')`,
    [user, `${"A".repeat(16)}:${"A".repeat(22)}==:AAAA`],
  );

for (const [title, roles, reason] of [
  ["a superuser", [], "is a superuser"],
  ["who may become a superuser", ["keyrow_admin", "postgres"], "may become postgres"],
  ["who may run programs", ["keyrow_admin", "pg_execute_server_program"], "may become pg_execute_server_program"],
] as const) {
  test(`${title} is refused, for a policy's function could take back the role and do the same`, async (t) => {
    const own = await createTestDatabase();
    const login = await createLogin(own, ...roles);
    const open = makeTemporaryDirectory();
    chmodSync(open, 0o777);
    t.teardown(async () => {
      await own.drop();
      await login.drop();
      await removeWithServers(open);
    });
    const [ana, bo] = [await makeUser(own), await makeUser(own)];
    await hold(own, ana);
    const marker = join(open, "marker");
    await own.pool("postgres").query(`
      create or replace function public.current_user_id() returns uuid language plpgsql volatile as $$ begin
        reset role;
        copy (select 1) to program 'touch ${marker}';
        set role keyrow_admin;
        return null;
      end $$`);
    const url = roles.length === 0 ? own.url("postgres") : login.url;
    const name = roles.length === 0 ? "postgres" : login.name;
    for (const args of [
      ["system", "list"],
      ["handover", "--from", ana, "--to", bo],
      ["token", "--user", ana],
    ]) {
      const secret = { JWT_SECRET: randomBytes(48).toString("base64url") };
      const { stdout, stderr, exitCode } = await keyrow(args, { ...env, ...secret, ADMIN_DATABASE_URL: url });
      t.false(existsSync(marker), "it ran");
      t.deepEqual(stderr.split("\n"), [
        `error: the login ${name} ${reason}: the application's functions, which run here, could do the same`,
        "hint: let an admin of the database run: create role alice login; grant keyrow_admin to alice;",
        "",
      ]);
      t.deepEqual([stdout, exitCode], ["", 1]);
    }
  });
}

test("what an application's function can do to a DB admin's command is what the admin's login may", async (t) => {
  const own = await createTestDatabase();
  const bob = await createLogin(own, "keyrow_admin");
  t.teardown(async () => {
    await own.drop();
    await bob.drop();
  });
  await hold(own, await makeUser(own));
  await own.pool("postgres").query(`
    create or replace function public.current_user_id() returns uuid language plpgsql volatile as $$ begin
      reset role;
      copy (select 1) to program 'false';
      return null;
    end $$`);
  const { stderr, exitCode } = await system(["list"], "", { ADMIN_DATABASE_URL: bob.url });
  t.regex(stderr, /^error: a policy does not allow this\n/);
  t.is(exitCode, 4);
});

test("a DB admin's statement has a minute", async (t) => {
  const setting = await withAdmin(config, async (client) => (await client.query("show statement_timeout")).rows);
  t.deepEqual(setting, [{ statement_timeout: "1min" }]);
});

test("without KEYROW_KEY_FILE nothing is sealed or opened, and no key is made in passing", async (t) => {
  const { title } = await made("v");
  const empty = join(directory, "empty");
  for (const command of ["set", "get"]) {
    const told = await keyrow(
      ["system", command, title],
      { ADMIN_DATABASE_URL: alice.url, KEYROW_DATA_DIR: empty },
      "w",
    );
    t.regex(told.stderr, /^error: KEYROW_KEY_FILE: it is not set; .*\nhint: /);
    t.is(told.exitCode, 1);
    const missing = await system([command, title], "w", { KEYROW_KEY_FILE: join(empty, "keys.json") });
    t.regex(missing.stderr, /^error: the key file .* does not exist\nhint: /);
  }
  t.false(existsSync(empty));
  t.is((await keyrow(["system", "list"], { ADMIN_DATABASE_URL: alice.url })).exitCode, 0, "a list needs no key");
});

test("without ADMIN_DATABASE_URL an empty data directory gets no database in passing", async (t) => {
  const empty = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(empty));
  for (const args of [
    ["system", "list"],
    ["system", "set", "a/b"],
    ["handover", "--from", "a", "--to", "b"],
  ]) {
    const { stderr, exitCode } = await keyrow(args, { KEYROW_DATA_DIR: empty }, "v");
    t.regex(
      stderr,
      /^error: there is no database yet: the data directory .* has none\nhint: run `keyrow start` once, or set /,
    );
    t.is(exitCode, 1);
  }
  t.deepEqual(readdirSync(empty), []);
});

test("a value under a key that is not in the file names the key", async (t) => {
  const { title, name } = await made("v");
  const other = join(directory, `${name}.json`);
  const [key] = await createKeyFile(other);
  const { stdout, stderr, exitCode } = await system(["get", title], "", { KEYROW_KEY_FILE: other });
  t.regex(
    stderr,
    /^error: the value is sealed under the key local:\d{8}-[0-9a-f]{8}, which is not in the key file\nhint: /,
  );
  t.false(stderr.includes(key?.id ?? ""));
  t.deepEqual([stdout, exitCode], ["", 1]);
});

test("a ciphertext of another row does not open", async (t) => {
  const [one, another] = [await made("one"), await made("another")];
  await database.pool("postgres").query(
    `update public.user_credentials c set encrypted_value = o.encrypted_value
     from public.user_credentials o where c.name = $1 and o.name = $2`,
    [one.name, another.name],
  );
  const { stdout, stderr } = await system(["get", one.title]);
  t.is(stderr, "error: this value can't be opened\n");
  t.is(stdout, "");
});

test("a database that nobody set up or migrated is named as such", async (t) => {
  const bare = await createBareDatabase();
  t.teardown(() => bare.drop());
  const address = new URL(alice.url);
  address.pathname = `/${bare.name}`;
  const { stderr, exitCode } = await system(["list"], "", { ADMIN_DATABASE_URL: address.href });
  t.regex(
    stderr,
    /^error: the database lacks what this version needs\nhint: run `keyrow setup --print` and `keyrow migrate`/i,
  );
  t.is(exitCode, 1);
});

test("a database that is not there is told without its password", async (t) => {
  const address = new URL(alice.url);
  address.pathname = "/nowhere";
  const { stderr, exitCode } = await system(["list"], "", { ADMIN_DATABASE_URL: address.href });
  t.regex(stderr, /^error: the database nowhere at .* can't be used: there is no such database\nhint: /);
  t.false(stderr.includes(address.password));
  t.is(exitCode, 5);
});

test("claims that the database sets for the login don't count", async (t) => {
  const { title } = await made("v");
  const carol = await createLogin(database, "keyrow_admin");
  t.teardown(() => carol.drop());
  await database
    .pool("postgres")
    .query(`alter role "${carol.name}" in database ${database.name} set jwt.claims.user_id = '${randomUUID()}'`);
  t.is((await system(["get", title], "", { ADMIN_DATABASE_URL: carol.url })).stdout, "v");
});

// ------------------------------------------------------------------------------------------------- no record, no value

test("what can't be recorded is not revealed: neither where the entry fails nor where the commit does", async (t) => {
  const own = await createTestDatabase();
  const bob = await createLogin(own, "keyrow_admin");
  t.teardown(async () => {
    await own.drop();
    await bob.drop();
  });
  const here = { ADMIN_DATABASE_URL: bob.url };
  await system(["set", "a/b", "--user", await makeUser(own)], "the value", here);
  t.is((await system(["get", "a/b"], "", here)).stdout, "the value");
  const superuser = own.pool("postgres");
  for (const [fault, repair] of [
    [
      "revoke insert on public.activity_logs from keyrow_reveal",
      "grant insert (user_id, workspace_id, action, entity_type, entity_id, details) on public.activity_logs to keyrow_reveal",
    ],
    [
      `create function public.fails() returns trigger language plpgsql as $$ begin raise exception 'at commit'; end $$;
       create constraint trigger fails after insert on public.activity_logs deferrable initially deferred
         for each row execute function public.fails()`,
      "drop function public.fails() cascade",
    ],
  ] as const) {
    await superuser.query(fault);
    const { stdout, stderr, exitCode } = await system(["get", "a/b"], "", here);
    t.is(stdout, "");
    t.regex(stderr, /^error: /);
    t.notRegex(stderr, /the value|at commit/);
    t.not(exitCode, 0);
    await superuser.query(repair);
  }
  t.is((await system(["get", "a/b"], "", here)).stdout, "the value");
});
