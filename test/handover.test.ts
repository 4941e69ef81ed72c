import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { createLogin, keyrow } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { createTestDatabase, type TestDatabase } from "./helpers/database.ts";
import { asAdmin, makeUser, makeWorkspace, startTestServer } from "./helpers/server.ts";

const directory = makeTemporaryDirectory();
const keyFile = join(directory, "keys.json");
const keys = await createKeyFile(keyFile);
test.after.always(() => removeWithServers(directory));

/** A database, and the command on it as a DB admin. */
async function place(t: ExecutionContext, database?: TestDatabase) {
  const own = database ?? (await createTestDatabase());
  const alice = await createLogin(own, "keyrow_admin");
  t.teardown(async () => {
    if (database === undefined) await own.drop();
    await alice.drop();
  });
  const env = { ADMIN_DATABASE_URL: alice.url, KEYROW_KEY_FILE: keyFile };
  return {
    database: own,
    alice,
    run: (args: string[], input = "") => keyrow(args, env, input),
    handover: (from: string, to: string, ...more: string[]) =>
      keyrow(["handover", "--from", from, "--to", to, ...more], env),
  };
}

const form = `${"A".repeat(16)}:${"A".repeat(22)}==:AAAA`;

/** A credential that SQL made, with no value that opens. */
function credential(
  database: TestDatabase,
  user: string,
  scope: string,
  name: string,
  workspace: string | null = null,
) {
  return asAdmin(
    database,
    `insert into public.user_credentials (user_id, workspace_id, provider, name, type, scope, encrypted_value, key_id)
     values ($1, $2, 'p', $3, 'SECRET', $4, $5, 'local:20260101-0000000a')`,
    [user, workspace, name, scope, form],
  );
}

test("after a handover the user can be deleted, and every value of the team and the system still opens", async (t) => {
  const server = await startTestServer({ cipher: createKeyring(keys.map(createLocalCipher)) });
  t.teardown(() => server.stop());
  const { database } = server;
  const { run, handover } = await place(t, database);
  const [ana, bo] = [await makeUser(database, "Ana"), await makeUser(database, "Bo")];
  const workspaceId = await makeWorkspace(database, { [ana]: "OWNER", [bo]: "OWNER" });
  await asAdmin(database, "update public.users set email = 'Ana@example.com' where id = $1", [ana]);
  const set = `mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { created } }`;
  for (const input of [
    { scope: "WORKSPACE", workspaceId, provider: "p", name: "team", value: "the team's" },
    { scope: "USER", provider: "p", name: "own", value: "Ana's" },
  ]) {
    t.deepEqual((await server.query(ana, set, { input })).codes, []);
  }
  t.is((await run(["system", "set", "p/system", "--user", ana], "the system's")).exitCode, 0);

  const leave = () => asAdmin(database, "delete from public.users where id = $1", [ana]);
  await t.throwsAsync(leave(), { message: /still carries/ });
  t.deepEqual(await handover("ana@example.com", bo), {
    stdout: "2 credentials handed over\n",
    stderr: "",
    exitCode: 0,
  });
  t.is((await leave()).rowCount, 1);

  t.is((await run(["system", "get", "p/system"])).stdout, "the system's");
  const { data, codes } = await server.query(bo, "{ userCredentials { nodes { name value } } }");
  t.deepEqual(codes, []);
  t.deepEqual(data.userCredentials.nodes, [{ name: "team", value: "the team's" }]);
  const { rows } = await asAdmin(database, "select name, user_id from public.user_credentials order by name");
  t.deepEqual(rows, [
    { name: "system", user_id: bo },
    { name: "team", user_id: bo },
  ]);
});

test("USER credentials stay, and --json counts", async (t) => {
  const { database, handover } = await place(t);
  const [ana, bo] = [await makeUser(database), await makeUser(database)];
  await credential(database, ana, "USER", "own");
  await credential(database, ana, "SYSTEM", "shared");
  t.is((await handover(ana, bo, "--json")).stdout, '{"handedOver":1}\n');
  t.is((await handover(ana, bo)).stdout, "0 credentials handed over\n");
  const { rows } = await asAdmin(database, "select name, user_id from public.user_credentials order by name");
  t.deepEqual(rows, [
    { name: "own", user_id: ana },
    { name: "shared", user_id: bo },
  ]);
});

test("a conflict names what is in the way, and nothing is handed over", async (t) => {
  const { database, handover } = await place(t);
  const [ana, bo] = [await makeUser(database), await makeUser(database)];
  for (const name of ["a", "b", "c", "d", "e"]) await credential(database, ana, "SYSTEM", name);
  // The unique index spans scopes.
  for (const name of ["a", "b", "c", "d"]) await credential(database, bo, "USER", name);
  const { stdout, stderr, exitCode } = await handover(ana, bo);
  t.is(
    stderr,
    "error: the other user has credentials of the same workspace, provider and name already, so nothing was handed over: p/a, p/b, p/c and 1 more\nhint: rename one of each two first, or name another user\n",
  );
  t.deepEqual([stdout, exitCode], ["", 1]);
  const { rows } = await asAdmin(
    database,
    "select count(*)::int as n from public.user_credentials where user_id = $1",
    [ana],
  );
  t.deepEqual(rows, [{ n: 5 }]);
});

test("a name adds no line to the message of a conflict", async (t) => {
  const { database, handover } = await place(t);
  const [ana, bo] = [await makeUser(database), await makeUser(database)];
  for (const user of [ana, bo]) await credential(database, user, "SYSTEM", "a\nerror: all is lost\u202e");
  const { stderr } = await handover(ana, bo);
  t.regex(stderr, /^error: .*: p\/a\?error: all is lost\?\nhint: [^\n]*\n$/);
});

test("strangers and oneself are refused", async (t) => {
  const { database, handover } = await place(t);
  const ana = await makeUser(database);
  for (const [from, to] of [
    [ana, randomUUID()],
    [randomUUID(), ana],
    [ana, "nobody@example.com"],
  ] as const) {
    const { stderr, exitCode } = await handover(from, to);
    t.regex(stderr, /^error: no user has this id or e-mail address\nhint: /);
    t.is(exitCode, 3);
  }
  t.like(await handover(ana, ana.toUpperCase()), { exitCode: 2 });
});

test("a login that may not become keyrow_admin hands nothing over", async (t) => {
  const { database } = await place(t);
  const stranger = await createLogin(database);
  t.teardown(() => stranger.drop());
  const [ana, bo] = [await makeUser(database), await makeUser(database)];
  const { stderr, exitCode } = await keyrow(["handover", "--from", ana, "--to", bo], {
    ADMIN_DATABASE_URL: stranger.url,
  });
  t.regex(
    stderr,
    /^error: the login alice-\w+ may not become keyrow_admin\nhint: let an admin .* grant keyrow_admin to /,
  );
  t.is(exitCode, 1);
});

// --------------------------------------------------------------------------------------- an application's own users

test("where users have no e-mail address, they are named by id", async (t) => {
  const { database, run, handover } = await place(t);
  await database.pool("postgres").query("alter table public.users drop column email cascade");
  const [ana, bo] = [await makeUser(database), await makeUser(database)];
  await run(["system", "set", "p/x", "--user", ana], "v");
  t.is((await handover(ana, bo)).stdout, "1 credential handed over\n");
  const { stderr, exitCode } = await handover(ana, "bo@example.com");
  t.is(
    stderr,
    "error: users can't be looked up by e-mail address here: public.users has no column email that keyrow_admin may read\nhint: name the user by id, a UUID\n",
  );
  t.is(exitCode, 1);
  t.is(JSON.parse((await run(["system", "list", "--json"])).stdout)[0].userEmail, null);
  t.regex((await run(["system", "list"])).stdout, new RegExp(`${bo}$`, "m"));
});

test("where keyrow_admin may not read users, the foreign key knows them by id", async (t) => {
  const { database, run, handover } = await place(t);
  const [ana, bo] = [await makeUser(database), await makeUser(database)];
  await database.pool("postgres").query("revoke all on public.users from keyrow_admin");
  t.is((await run(["system", "set", "p/x", "--user", ana], "v")).exitCode, 0);
  const unknown = /^error: no user has this id or e-mail address\n/;
  t.regex((await run(["system", "set", "p/y", "--user", randomUUID()], "v")).stderr, unknown);
  t.regex((await handover(ana, randomUUID())).stderr, unknown);
  t.regex((await handover(ana, "bo@example.com")).stderr, /^error: users can't be looked up by e-mail address here/);
  t.is((await handover(ana, bo)).stdout, "1 credential handed over\n");
  t.is((await run(["system", "get", "p/x"])).stdout, "v");
});

test("where two addresses differ in case alone, nobody guesses", async (t) => {
  const { database, handover } = await place(t);
  await database.pool("postgres").query(`
    do $$ declare one text; begin
      for one in select indexrelid::regclass from pg_index
        where indrelid = 'public.users'::regclass and pg_get_indexdef(indexrelid) like '%email%'
      loop execute 'drop index ' || one; end loop;
    end $$`);
  const [ana, bo] = [await makeUser(database), await makeUser(database)];
  await asAdmin(
    database,
    "update public.users set email = case id when $1 then 'X@example.com' else 'x@example.com' end",
    [ana],
  );
  const { stderr, exitCode } = await handover("x@example.com", bo);
  t.regex(stderr, /^error: several users have this e-mail address.*\nhint: name the user by id, a UUID\n/);
  t.is(exitCode, 1);
});

test("keyrow token looks its user up there as well", async (t) => {
  const { database, alice } = await place(t);
  const ana = await makeUser(database);
  const env = { ADMIN_DATABASE_URL: alice.url, JWT_SECRET: randomBytes(48).toString("base64url") };
  const { stdout, exitCode } = await keyrow(["token", "--user", ana], env);
  t.is(exitCode, 0);
  t.is(JSON.parse(Buffer.from(stdout.split(".")[1] ?? "", "base64url").toString()).sub, ana);
  t.regex((await keyrow(["token", "--user", randomUUID()], env)).stderr, /^error: no user has this id/);
});
