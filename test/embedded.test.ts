import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import test, { type ExecutionContext } from "ava";
import pg from "pg";
import { chooseAccount } from "../src/embedded/account.ts";
import { acquireLock, LOCK_PREFIX } from "../src/embedded/lock.ts";
import { type Embedded, startEmbedded } from "../src/embedded/server.ts";
import { KeyrowError } from "../src/errors.ts";
import { processStart } from "../src/lockfile.mjs";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";

const password = "se'cret /%";

function directoryFor(t: ExecutionContext, name = ".keyrow"): string {
  const temporary = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(temporary));
  return join(temporary, name);
}

async function start(t: ExecutionContext, directory: string, settings = {}): Promise<Embedded> {
  const embedded = await startEmbedded({ directory, password, settings: { fsync: "off", ...settings } });
  t.teardown(() => embedded.stop());
  return embedded;
}

async function query(embedded: Embedded, sql: string): Promise<unknown[][]> {
  const login = { user: embedded.superuser, password: embedded.password };
  const client = new pg.Client({ connectionString: embedded.url(login, "postgres") });
  client.on("error", () => {});
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: "array" })).rows;
  } finally {
    await client.end();
  }
}

/** A process that holds the directory, once it has said UP or why not. */
async function hold(
  t: ExecutionContext,
  directory: string,
  statement = "",
): Promise<{ child: ChildProcess; said: string }> {
  const script = join(import.meta.dirname, "helpers/holder.ts");
  const child = spawn(process.execPath, [script, directory, statement], { stdio: ["pipe", "pipe", "inherit"] });
  t.teardown(() => child.kill("SIGKILL"));
  for await (const line of createInterface({ input: child.stdout })) {
    if (!line.startsWith("#")) return { child, said: line };
  }
  throw new Error("The holder ended without a word.");
}

function postmasterOf(directory: string): number {
  return Number.parseInt(readFileSync(join(directory, "pg/data/postmaster.pid"), "utf8"), 10);
}

function isAlive(pid: number): boolean {
  return processStart(pid) !== undefined;
}

/** A process that is no PostgreSQL. */
function bystander(t: ExecutionContext): number {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "ignore" });
  t.teardown(() => child.kill("SIGKILL"));
  return child.pid ?? 0;
}

test("the first start makes a cluster with checksums, scram, and no locale of the system's", async (t) => {
  const directory = directoryFor(t);
  const embedded = await start(t, directory);
  t.true(embedded.firstRun);
  const settings =
    "current_setting('data_checksums'), current_setting('server_encoding'), current_setting('listen_addresses')";
  t.deepEqual(await query(embedded, `select ${settings}`), [["on", "UTF8", ""]]);
  t.deepEqual(await query(embedded, "select distinct datlocprovider, datlocale from pg_database"), [["b", "C.UTF-8"]]);
  t.deepEqual(await query(embedded, "select distinct auth_method from pg_hba_file_rules"), [["scram-sha-256"]]);
  t.is(statSync(embedded.socket).mode & 0o777, 0o700);
  t.is(statSync(join(embedded.socket, `.s.PGSQL.${embedded.port}`)).mode & 0o077, 0);
  t.deepEqual(readdirSync(join(directory, "pg")).sort(), [
    ".s.PGSQL.5432",
    ".s.PGSQL.5432.lock",
    "data",
    "postgres.log",
  ]);
});

test("a wrong password is refused", async (t) => {
  const embedded = await start(t, directoryFor(t));
  const error = await t.throwsAsync(query({ ...embedded, password: "wrong" }, "select 1"));
  t.is((error as { code?: string }).code, "28P01");
});

test("a second start keeps the data and makes nothing", async (t) => {
  const directory = directoryFor(t);
  const first = await start(t, directory);
  await query(first, "create table kept as select 42 as n");
  const pid = postmasterOf(directory);
  await first.stop();
  await first.stop();
  await first.exited;
  t.false(isAlive(pid));
  const second = await start(t, directory);
  t.false(second.firstRun);
  t.deepEqual(await query(second, "select n from kept"), [[42]]);
});

test("after kill -9 the next start stops the orphan and has all that was committed", async (t) => {
  const directory = directoryFor(t);
  const { child, said } = await hold(t, directory, "create table kept as select 42 as n");
  t.is(said, "UP");
  const orphan = postmasterOf(directory);
  child.kill("SIGKILL");
  await once(child, "exit");
  t.true(isAlive(orphan));
  const lock = await acquireLock(directory);
  t.teardown(() => lock.release());
  const next = await start(t, directory);
  t.false(isAlive(orphan));
  t.deepEqual(await query(next, "select n from kept"), [[42]]);
});

test("after kill -9 of everything, as after a crash of the machine, the next start recovers", async (t) => {
  const directory = directoryFor(t);
  const { child } = await hold(t, directory, "create table kept as select 42 as n");
  const postmaster = postmasterOf(directory);
  child.kill("SIGKILL");
  process.kill(postmaster, "SIGKILL");
  const next = await start(t, directory);
  t.deepEqual(await query(next, "select n from kept"), [[42]]);
});

test("a process that has got an old postmaster's pid is left alone", async (t) => {
  const directory = directoryFor(t);
  await (await start(t, directory)).stop();
  const other = bystander(t);
  writeFileSync(join(directory, "pg/data/postmaster.pid"), `${other}\n${directory}/pg/data\n1\n5432\n\n\n1 1\nready\n`);
  writeFileSync(join(directory, "pg/.s.PGSQL.5432.lock"), `${other}\n${directory}/pg/data\n1\n5432\n`);
  const embedded = await start(t, directory);
  t.deepEqual(await query(embedded, "select 1"), [[1]]);
  t.true(isAlive(other));
});

test("a first start that was cut short leaves nothing that the next trips over", async (t) => {
  const directory = directoryFor(t);
  const left = ["pg", "pg/initdb-aaaaaa", "pg/initdb-aaaaaa/data", "pg/initdb-aaaaaa/data/base"];
  const account = chooseAccount(join(directory, "pg"), directory, () => undefined);
  for (const path of left) {
    mkdirSync(join(directory, path), { recursive: true });
    if (account) chownSync(join(directory, path), account.uid, account.gid);
  }
  const embedded = await start(t, directory);
  t.true(embedded.firstRun);
  t.false(existsSync(join(directory, "pg/initdb-aaaaaa")));
});

test("a version that is a link is not followed, and nothing of what it leads to is told", async (t) => {
  const directory = directoryFor(t);
  const embedded = await start(t, directory);
  await embedded.stop();
  writeFileSync(join(directory, "keys.json"), '{"key": "s3cret"}', { mode: 0o600 });
  rmSync(join(directory, "pg/data/PG_VERSION"));
  symlinkSync("../../keys.json", join(directory, "pg/data/PG_VERSION"));
  const error = await t.throwsAsync(start(t, directory), { instanceOf: KeyrowError });
  t.regex(error.message, /is of an unknown version of PostgreSQL/);
  t.notRegex(error.message, /s3cret/);
});

test("a path too long for a socket's address has its socket in the temporary directory", async (t) => {
  const embedded = await start(t, directoryFor(t, `${"long/".repeat(24)}.keyrow`));
  t.true(embedded.logFile.includes("/long/long/"));
  t.true(Buffer.byteLength(`${embedded.socket}/.s.PGSQL.${embedded.port}`) < 100);
  t.teardown(() => rmSync(embedded.socket, { recursive: true, force: true }));
  t.is(statSync(embedded.socket).mode & 0o777, 0o700);
  t.deepEqual(await query(embedded, "select 1"), [[1]]);
});

test("Postgres's log has neither statements nor values", async (t) => {
  const embedded = await start(t, directoryFor(t));
  await t.throwsAsync(query(embedded, "select 'hidden-value'::uuid"));
  await t.throwsAsync(query(embedded, "do $$ begin raise exception 'hidden-value'; end $$"));
  const log = readFileSync(embedded.logFile, "utf8");
  t.true(log.includes("ready to accept connections"));
  t.false(log.includes("hidden-value"));
  t.is(lstatSync(embedded.logFile).mode & 0o777, 0o600);
});

test("a PostgreSQL that can't start is one error that names its log", async (t) => {
  const directory = directoryFor(t);
  const error = await t.throwsAsync<KeyrowError>(start(t, directory, { shared_buffers: "nonsense" }));
  t.is(error.code, "EMBEDDED_POSTGRES");
  t.true(error.hint?.includes(join(directory, "pg/postgres.log")));
  t.true(readFileSync(join(directory, "pg/postgres.log"), "utf8").includes("shared_buffers"));
});

test("of two starts at once one runs, and the other says who holds the directory", async (t) => {
  const directory = directoryFor(t);
  const both = await Promise.all([hold(t, directory), hold(t, directory)]);
  const [winner, loser] = both.sort((a) => (a.said === "UP" ? -1 : 1));
  t.is(winner?.said, "UP");
  t.regex(
    loser?.said ?? "",
    new RegExp(`^DATA_DIRECTORY_BUSY Process ${winner?.child.pid} .* since \\d{4}-.*KEYROW_DATA_DIR`),
  );
  winner?.child.stdin?.end();
  if (winner) await once(winner.child, "exit");
  t.deepEqual(readdirSync(directory), ["pg"]);
});

test("a lock is free again when it is released", async (t) => {
  const directory = directoryFor(t);
  const first = await acquireLock(directory);
  t.is(statSync(directory).mode & 0o777, 0o700);
  await t.throwsAsync(acquireLock(directory), { code: "DATA_DIRECTORY_BUSY" });
  first.release();
  (await acquireLock(directory)).release();
  t.deepEqual(readdirSync(directory), []);
});

test("a lock of a process that has gone, or whose pid is another's now, is taken over by one alone", async (t) => {
  const directory = directoryFor(t);
  mkdirSync(directory);
  writeFileSync(join(directory, `${LOCK_PREFIX}1700000000000-${bystander(t)}-1.00000000-aaaaaaaa`), "keyrow start\n");
  writeFileSync(join(directory, `${LOCK_PREFIX}1700000000001-4194999-1.00000000-aaaaaaaa`), "keyrow start\n");
  const taken = await Promise.allSettled(Array.from({ length: 8 }, () => acquireLock(directory)));
  const locks = taken.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
  t.is(locks.length, 1);
  t.is(readdirSync(directory).length, 1);
  for (const lock of locks) lock.release();
});

test("a data directory that can't be made is one error with path and remedy", async (t) => {
  const directory = directoryFor(t, "file/.keyrow");
  writeFileSync(dirname(directory), "");
  const error = await t.throwsAsync<KeyrowError>(acquireLock(directory));
  t.is(error.code, "DATA_DIRECTORY");
  t.true(error.message.includes(directory));
  t.true(error.hint?.includes("KEYROW_DATA_DIR"));
});
