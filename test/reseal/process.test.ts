import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import ava, { type ExecutionContext } from "ava";
import { addKey, createKeyFile, readKeyFile } from "../../src/cipher/keyfile.ts";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import { keyrow } from "../helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { cli, surroundings } from "../helpers/command.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { openBaoTest, settingsOf, startOpenBao } from "../helpers/openbao.ts";
import { until } from "../helpers/until.ts";
import { makeOwner, opened, rowsOf, store, worker } from "./stage.ts";

async function stage(t: ExecutionContext) {
  const database = await createTestDatabase();
  const directory = makeTemporaryDirectory("keyrow-reseal-");
  t.teardown(async () => {
    await database.drop();
    await removeWithServers(directory);
  });
  const keyFile = join(directory, "keys.json");
  await createKeyFile(keyFile);
  const db = await worker(t, database);
  const ring = async () => createKeyring((await readKeyFile(keyFile)).map(createLocalCipher));
  const env = {
    ...surroundings,
    WORKER_DATABASE_URL: database.url("keyrow_worker"),
    KEYROW_KEY_FILE: keyFile,
  };
  return { database, db, owner: await makeOwner(database), keyFile, ring, env };
}

/** Runs the command as a process of its own; it is killed with the test. */
function launch(t: ExecutionContext, args: string[], env: Record<string, string>) {
  const child = spawn(process.execPath, [cli, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = once(child, "close").then(([code, signal]) => code ?? signal);
  const log = text(child.stderr);
  t.teardown(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, ended, log };
}

ava("a rewrap that is killed by -9 goes on where it was, and every value opens at every moment", async (t) => {
  const { database, db, owner, keyFile, ring, env } = await stage(t);
  const stored = await store(database, db, await ring(), owner, 900);
  const ids = stored.map(({ id }) => id);
  const values = stored.map(({ value }) => value);
  await addKey(keyFile);
  const newest = (await readKeyFile(keyFile))[0]?.id;
  const moved = async () => (await rowsOf(db.pool, ids)).filter(({ key_id }) => key_id === newest).length;
  let before = 0;
  for (let time = 0; time < 2; time++) {
    const { child, ended } = launch(t, ["rewrap", "--rate", "400"], env);
    await until(async () => (await moved()) > before);
    child.kill("SIGKILL");
    t.is(await ended, "SIGKILL");
    before = await moved();
    t.true(before < ids.length, "it was not done yet");
    t.deepEqual(await opened(db, await ring(), ids), values);
  }
  // Two at once do the rest.
  const both = await Promise.all([keyrow(["rewrap", "--json"], env), keyrow(["rewrap", "--json"], env)]);
  t.deepEqual(
    both.map(({ exitCode }) => exitCode),
    [0, 0],
  );
  const sum = both.reduce((total, { stdout }) => total + JSON.parse(stdout).moved, 0);
  t.is(before + sum, ids.length, "no row was moved twice");
  t.is(await moved(), ids.length);
  t.deepEqual(await opened(db, await ring(), ids), values);
});

ava("Ctrl-C ends a rewrap in order: it says what is left, and exits as a shell counts it", async (t) => {
  const { database, db, owner, keyFile, ring, env } = await stage(t);
  const stored = await store(database, db, await ring(), owner, 900);
  await addKey(keyFile);
  const newest = (await readKeyFile(keyFile))[0]?.id;
  const { child, ended } = launch(t, ["rewrap", "--rate", "400"], env);
  const said = text(child.stdout);
  const moved = async () =>
    (
      await rowsOf(
        db.pool,
        stored.map(({ id }) => id),
      )
    ).filter(({ key_id }) => key_id === newest).length;
  await until(async () => (await moved()) > 0);
  child.kill("SIGINT");
  t.is(await ended, 130);
  const [, done, left] = /^moved {2}(\d+) rows\nleft {3}(\d+) rows: run it again\n$/.exec(await said) ?? [];
  t.is(Number(done), await moved());
  t.is(Number(done) + Number(left), 900);
});

ava("a rewrap beside a rotation says what is not under the newest key by then", async (t) => {
  const { database, db, owner, keyFile, ring, env } = await stage(t);
  const ids = (await store(database, db, await ring(), owner, 150)).map(({ id }) => id);
  await addKey(keyFile);
  const under = async (keyId: string | undefined) =>
    (await rowsOf(db.pool, ids)).filter(({ key_id }) => key_id === keyId).length;
  const [second] = await readKeyFile(keyFile);
  const { child, ended } = launch(t, ["rewrap", "--rate", "30", "--json"], env);
  const said = text(child.stdout);
  await until(async () => (await under(second?.id)) > 0);
  const [third] = await addKey(keyFile);
  t.is(await ended, 1);
  const { left } = JSON.parse(await said);
  t.deepEqual([left, ids.length - left], [await under(second?.id), await under(third?.id)]);
  t.not(left, ids.length - left, "which could be taken for one another");
  t.is((await keyrow(["rewrap"], env)).stdout, `moved  ${left} rows\n`);
});

openBaoTest("workers side by side move what local keys have sealed, and end in order", async (t) => {
  const bao = await startOpenBao(t);
  const { database, db, owner, ring, env } = await stage(t);
  const vault = { ...env, ...settingsOf(bao.access) };
  const first = await store(database, db, await ring(), owner, 150);
  const workers = [1, 2].map(() => launch(t, ["worker"], vault));
  const waiting = async () =>
    (await db.pool.query("select from public.user_credentials where key_id like 'local:%'")).rowCount ?? 0;
  await until(async () => (await waiting()) === 0);
  // What comes later is found as well.
  const later = await store(database, db, await ring(), owner, 150);
  await until(async () => (await waiting()) === 0);
  for (const { child, ended, log } of workers) {
    child.kill("SIGTERM");
    t.is(await ended, 0);
    const lines = (await log)
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    t.deepEqual(
      lines.filter(({ level }) => level === "error"),
      [],
    );
    t.true(lines.some(({ msg }) => msg === "stopping"));
  }
  const { observe } = await import("../cipher/openbao.ts");
  const { transit } = observe(t, bao.access, bao.transitKey);
  const all = [...first, ...later];
  t.deepEqual(
    await opened(
      db,
      transit,
      all.map(({ id }) => id),
    ),
    all.map(({ value }) => value),
  );
});

openBaoTest("a worker whose OpenBao goes and comes back goes on", async (t) => {
  const bao = await startOpenBao(t);
  const { database, db, owner, ring, env } = await stage(t);
  await bao.stop();
  const { child, ended, log } = launch(t, ["worker"], { ...env, ...settingsOf(bao.access) });
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    said += chunk;
  });
  await until(async () => said.includes("OpenBao is away"));
  await store(database, db, await ring(), owner, 30);
  await bao.start();
  const waiting = async () =>
    (await db.pool.query("select from public.user_credentials where key_id like 'local:%'")).rowCount ?? 0;
  await until(async () => (await waiting()) === 0);
  child.kill("SIGTERM");
  t.is(await ended, 0);
  t.regex(await log, /OpenBao is away.*OpenBao is back.*moved to Transit/s);
});

ava("a worker says what it needs", async (t) => {
  const { stderr, exitCode } = await keyrow(["worker"], {});
  t.is(exitCode, 1);
  t.regex(stderr, /WORKER_DATABASE_URL: it is not set/);
  t.regex(stderr, /BAO_ADDR: it is not set/);
  t.regex(stderr, /KEYROW_KEY_FILE: it is not set/);
});
