import { createSecretKey } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import ava, { type ExecutionContext } from "ava";
import { addKey, readKeyFile } from "../src/cipher/keyfile.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { observe } from "./cipher/openbao.ts";
import { keyrow, stageOperator } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { waiters } from "./helpers/locks.ts";
import { openBaoTest, settingsOf, startOpenBao } from "./helpers/openbao.ts";
import { asAdmin } from "./helpers/server.ts";
import { until } from "./helpers/until.ts";
import { makeOwner, opened, rowsOf, store, worker } from "./reseal/stage.ts";

/** An operator's stage, with what keys, rows and their owner are made of. */
async function stage(t: ExecutionContext) {
  const { database, keyFile, env } = await stageOperator(t);
  const locals = async () => createKeyring((await readKeyFile(keyFile)).map(createLocalCipher));
  const db = await worker(t, database);
  const owner = await makeOwner(database);
  return { database, db, owner, keyFile, env, locals };
}

ava("keys status is a table of every key in use, and everything as JSON", async (t) => {
  const { database, db, owner, env, locals, keyFile } = await stage(t);
  await store(database, db, await locals(), owner, 3);
  const times = ["2026-01-03T00:00:00.000Z", "2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z"];
  await database.pool("postgres").query(
    `update public.user_credentials c set created_at = given.time
     from (select id, ($1::timestamptz[])[row_number() over ()] as time from public.user_credentials) given
     where given.id = c.id`,
    [times],
  );
  const [old] = await readKeyFile(keyFile);
  const rotated = await keyrow(["keys", "rotate"], env);
  t.is(rotated.exitCode, 0);
  const newest = rotated.stdout.trim();
  t.is((await readKeyFile(keyFile))[0]?.id, newest);
  t.is(statSync(keyFile).mode & 0o777, 0o600);
  const { stdout, exitCode } = await keyrow(["keys", "status"], env);
  t.is(exitCode, 0);
  const lines = stdout.trimEnd().split("\n");
  t.regex(lines[0] ?? "", /^KEY +ROWS +OLDEST +NEWEST +OPENS$/);
  t.regex(lines[1] ?? "", new RegExp(`^${old?.id} +3 +\\d{4}-.*Z +\\d{4}-.*Z +yes, and waits to be moved$`));
  t.regex(lines[2] ?? "", new RegExp(`^${newest} +0 +- +- +yes, and seals$`));
  const { keys } = JSON.parse((await keyrow(["keys", "status", "--json"], env)).stdout);
  t.like(keys, [
    { keyId: old?.id, rows: 3, oldest: times[1], newest: times[0], state: "held", seals: false },
    { keyId: newest, rows: 0, oldest: null, newest: null, state: "held", seals: true },
  ]);
});

ava("keys create makes the first key file, private and whole, and never another in its place", async (t) => {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const path = join(directory, "keys.json");
  const env = { KEYROW_KEY_FILE: path };
  const made = await keyrow(["keys", "create"], env);
  const [first] = await readKeyFile(path);
  t.like(made, { exitCode: 0, stdout: `${first?.id}\n` });
  t.regex(made.stderr, /^Made .*keys\.json\. Back it up/);
  t.is(statSync(path).mode & 0o777, 0o600);
  const text = readFileSync(path, "utf8");
  t.false((made.stdout + made.stderr).includes(JSON.parse(text).keys[0].key));
  const again = await keyrow(["keys", "create"], env);
  t.like(again, { exitCode: 1, stdout: "" });
  t.regex(again.stderr, /^error: the key file .* exists already\nhint: use it/);
  t.is(readFileSync(path, "utf8"), text);
  t.deepEqual(readdirSync(directory), ["keys.json"]);
});

ava("keys create wants a path, and a directory that is there", async (t) => {
  const unnamed = await keyrow(["keys", "create"], {});
  t.regex(unnamed.stderr, /^error: KEYROW_KEY_FILE: it is not set/);
  const nowhere = await keyrow(["keys", "create"], { KEYROW_KEY_FILE: "/nonexistent/keys.json" });
  t.regex(nowhere.stderr, /^error: .* has no directory to be in\nhint: Run: mkdir -p \/nonexistent/);
});

ava("rewrap moves what older keys have sealed, retire then ends the old key, and not before", async (t) => {
  const { database, db, owner, env, locals, keyFile } = await stage(t);
  const stored = await store(database, db, await locals(), owner, 30);
  const [old] = await readKeyFile(keyFile);
  const oldId = old?.id ?? "";
  await addKey(keyFile);
  const early = await keyrow(["keys", "retire", oldId], env);
  t.is(early.exitCode, 1);
  t.regex(early.stderr, /^error: 30 rows need this key\nhint: `keyrow rewrap` moves them/);
  const moved = await keyrow(["rewrap"], env);
  t.deepEqual([moved.stdout, moved.exitCode], ["moved  30 rows\n", 0]);
  t.deepEqual(
    await opened(
      db,
      await locals(),
      stored.map(({ id }) => id),
    ),
    stored.map(({ value }) => value),
  );
  const again = await keyrow(["rewrap", "--json"], env);
  t.deepEqual(JSON.parse(again.stdout), { moved: 0, failed: [], left: 0, keyless: 0 });
  const retired = await keyrow(["keys", "retire", oldId], env);
  t.deepEqual([retired.stdout, retired.exitCode], [`retired  ${oldId}\n`, 0]);
  t.false((await readKeyFile(keyFile)).some(({ id }) => id === oldId));
  t.regex(readFileSync(keyFile, "utf8"), new RegExp(`"id": "${oldId}"[^}]*"retiredAt"`), "the key is kept");
  t.regex((await keyrow(["keys", "retire", oldId], env)).stderr, /retired already/);
});

ava("the key that seals is never retired, nor one that is none", async (t) => {
  const { env, keyFile } = await stage(t);
  const [newest] = await readKeyFile(keyFile);
  const refused = await keyrow(["keys", "retire", newest?.id ?? ""], env);
  t.is(refused.exitCode, 2);
  t.regex(refused.stderr, /^error: this key seals new values, so it can't be retired\nhint: /);
  for (const id of ["local:20010101-00000000", "legacy", "transit:transit/keyrow:v1:20260101T000000Z", "'; drop"]) {
    const { stderr, exitCode } = await keyrow(["keys", "retire", id], env);
    t.is(exitCode, 2);
    t.regex(stderr, /^error: there is no such key, or it is retired already\n/);
  }
  t.is((await readKeyFile(keyFile)).length, 1);
});

ava("rows of a lost key are listed, by name, and all others go on", async (t) => {
  const { database, db, owner, env, locals, keyFile } = await stage(t);
  await store(database, db, await locals(), owner, 3, "kept");
  const lost = createLocalCipher({ id: "local:20200202-0000dead", key: createSecretKey(Buffer.alloc(32, 7)) });
  const gone = await store(database, db, lost, owner, 3, "lost");
  const { stdout, exitCode } = await keyrow(["keys", "status", "--rows"], env);
  t.is(exitCode, 1, "for some values don't open");
  t.regex(stdout, /local:20200202-0000dead +3 .* no: the key is not here/);
  const table = stdout.slice(stdout.indexOf("ID"));
  t.deepEqual(
    gone.filter(({ id }) => !table.includes(`lost/${id}`)),
    [],
  );
  t.false(table.includes("kept/"));
  const { rows } = JSON.parse((await keyrow(["keys", "status", "--rows", "--json"], env)).stdout);
  t.deepEqual(rows.map(({ id }: { id: string }) => id).sort(), gone.map(({ id }) => id).sort());
  t.like(rows[0], { keyId: "local:20200202-0000dead", state: "missing", provider: "lost" });
  // A rewrap leaves them alone.
  await addKey(keyFile);
  const moved = await keyrow(["rewrap"], env);
  t.is(moved.stdout, "moved  3 rows\nkeyless 3 rows: keyrow keys status --rows\n");
  t.is(moved.exitCode, 1);
  t.deepEqual(
    new Set(
      (
        await rowsOf(
          db.pool,
          gone.map(({ id }) => id),
        )
      ).map(({ key_id }) => key_id),
    ),
    new Set(["local:20200202-0000dead"]),
  );
});

ava("a value that does not open is left, named, and makes the exit code 1", async (t) => {
  const { database, db, owner, env, locals, keyFile } = await stage(t);
  const [bad, other] = await store(database, db, await locals(), owner, 3);
  const [row] = await rowsOf(db.pool, [other?.id ?? ""]);
  await db.pool.query("update public.user_credentials set encrypted_value = $2 where id = $1", [
    bad?.id,
    row?.encrypted_value,
  ]);
  await addKey(keyFile);
  const { stdout, exitCode } = await keyrow(["rewrap"], env);
  t.is(stdout, `moved  2 rows\nclosed 1 row: ${bad?.id}\n`);
  t.is(exitCode, 1);
});

ava("rewrap says what it needs, and is refused for any other login than the worker's", async (t) => {
  const { database, env } = await stage(t);
  for (const [args, message] of [
    [["--to", "nowhere"], /^error: there is no such place to move values to/],
    [["--to", "transit"], /^error: values can't be moved there: no OpenBao is configured/],
    [["--rate", "0"], /^error: .*--rate/],
    [["--rate", "10000000"], /^error: .*from 1 to 9999999/],
    [["--from-legacy"], /^error: --from-legacy goes with the legacy key/],
    [["--legacy-key-file", "x"], /^error: --from-legacy goes with the legacy key/],
    [["--from-legacy", "--legacy-transit-key", "x"], /^error: that is not the name of a Transit key/],
  ] as const) {
    const { stderr, exitCode } = await keyrow(["rewrap", ...args], env);
    t.regex(stderr, message);
    t.is(exitCode, 2);
  }
  const other = await keyrow(["rewrap"], { ...env, WORKER_DATABASE_URL: database.url("keyrow_authenticator") });
  t.regex(other.stderr, /^error: the worker can't run as the login keyrow_authenticator\nhint: .*keyrow_worker/);
  const { KEYROW_KEY_FILE: _, ...without } = env;
  t.regex(
    (await keyrow(["rewrap"], without)).stderr,
    /^error: KEYROW_KEY_FILE: it is not set; with WORKER_DATABASE_URL/,
  );
});

openBaoTest("from local keys to Transit, to its next version, and back: every value opens all the way", async (t) => {
  const bao = await startOpenBao(t);
  const { database, db, owner, env, locals } = await stage(t);
  const vault = { ...env, ...settingsOf(bao.access) };
  const root = { ...env, ...settingsOf(bao.rootAccess) };
  const stored = await store(database, db, await locals(), owner, 20);
  const ids = stored.map(({ id }) => id);
  const values = stored.map(({ value }) => value);
  const { transit } = observe(t, bao.access, bao.transitKey);
  const keyIds = async () => [...new Set((await rowsOf(db.pool, ids)).map(({ key_id }) => key_id))];

  t.is((await keyrow(["rewrap"], vault)).stdout, "moved  20 rows\n");
  const [first = ""] = await keyIds();
  t.regex(first, /^transit:transit\/keyrow:v1:/);
  t.deepEqual(await opened(db, transit, ids), values);

  const refused = await keyrow(["keys", "rotate"], vault);
  t.is(refused.exitCode, 4);
  t.regex(
    refused.stderr,
    /^error: OpenBao does not allow this login to use transit\/keys\/keyrow\/rotate\nhint: .*docs\/openbao\.md/,
  );
  const second = (await keyrow(["keys", "rotate"], root)).stdout.trim();
  t.regex(second, /^transit:transit\/keyrow:v2:/);
  t.regex((await keyrow(["keys", "retire", first], root)).stderr, /^error: 20 rows need this key/);
  t.is((await keyrow(["rewrap"], vault)).stdout, "moved  20 rows\n");
  t.deepEqual(await keyIds(), [second]);
  t.deepEqual(await opened(db, transit, ids), values);
  t.regex((await keyrow(["keys", "retire", second], root)).stderr, /^error: this key seals new values/);
  t.is((await keyrow(["keys", "retire", first], root)).stdout, `retired  ${first}\n`);
  t.is((await bao.root({ path: "transit/keys/keyrow" })).data.min_decryption_version, 2);

  t.is((await keyrow(["rewrap", "--to", "local"], vault)).stdout, "moved  20 rows\n");
  t.deepEqual(await opened(db, await locals(), ids), values);
  const { rows } = await asAdmin(
    database,
    "select count(*)::int as n from public.activity_logs where action <> 'CREDENTIAL_CREATED'",
  );
  t.is(rows[0].n, 0, "no rewrap is a rotation, or on the record as one");
});

openBaoTest("while OpenBao is away the status says so, and a rewrap says what to do", async (t) => {
  const bao = await startOpenBao(t);
  const { database, db, owner, env } = await stage(t);
  const { transit } = observe(t, bao.access, bao.transitKey);
  await store(database, db, transit, owner, 3);
  await bao.stop();
  const vault = { ...env, ...settingsOf(bao.access) };
  const status = await keyrow(["keys", "status"], vault);
  t.regex(status.stdout, /transit:transit\/keyrow:v1:\w+ +3 .* not now: OpenBao is away/);
  t.is(status.exitCode, 1, "whether every key is there is not known");
  const moved = await keyrow(["rewrap"], vault);
  t.is(moved.exitCode, 5);
  const away =
    /^error: the OpenBao that BAO_ADDR names does not answer as it should.*\nhint: see that it runs and is unsealed/;
  t.regex(moved.stderr, away);
  t.regex((await keyrow(["keys", "rotate"], vault)).stderr, away);
});

openBaoTest("of two versions that are retired at once, the older one's retirement takes none back", async (t) => {
  const bao = await startOpenBao(t);
  const { database, env } = await stage(t);
  const vault = { ...env, ...settingsOf(bao.operatorAccess) };
  const { transit } = observe(t, bao.access, bao.transitKey);
  const oldest = await transit.current();
  for (const _ of [2, 3]) await keyrow(["keys", "rotate"], vault);
  const path = "transit/keys/keyrow";
  const other = await database.pool("postgres").connect();
  await other.query("begin; select pg_advisory_xact_lock(hashtextextended('keyrow keys retire transit/keyrow', 0))");
  const retiring = keyrow(["keys", "retire", oldest], vault);
  await until(async () => (await waiters(other, "advisory")).length > 0);
  await bao.root({ method: "POST", path: `${path}/config`, body: { min_decryption_version: 3 } });
  await other.query("commit");
  other.release();
  const { stderr, exitCode } = await retiring;
  t.deepEqual([exitCode, /retired already/.test(stderr)], [2, true], stderr);
  const { data } = await bao.root({ method: "GET", path });
  t.is((data as { min_decryption_version: number }).min_decryption_version, 3);
});

openBaoTest("a command names a Transit key that is not there, and an OpenBao that is silent", async (t) => {
  const bao = await startOpenBao(t);
  const { env } = await stage(t);
  // Of somebody who may do everything: other logins are refused what is not there.
  const vault = { ...env, ...settingsOf(bao.rootAccess) };
  const mistyped = { ...vault, KEYROW_TRANSIT_KEY: "keyrwo" };
  for (const args of [["rewrap"], ["keys", "rotate"], ["keys", "rotate", "transit"]]) {
    const { exitCode, stderr } = await keyrow(args, mistyped);
    t.is(exitCode, 5);
    t.regex(
      stderr,
      /^error: .* does not have the Transit key that is asked for.*\nhint: check KEYROW_TRANSIT_MOUNT and/,
    );
  }
  const resume = bao.halt();
  const { exitCode, stderr } = await keyrow(["rewrap"], { ...vault, KEYROW_TRANSIT_TIMEOUT: "300ms" });
  resume();
  t.is(exitCode, 5);
  t.regex(stderr, /^error: .* does not answer in time.*\nhint: .*KEYROW_TRANSIT_TIMEOUT/);
});

openBaoTest(
  "away from an OpenBao that was restored from an older backup moves what it has; the rest waits",
  async (t) => {
    const bao = await startOpenBao(t);
    const { database, db, owner, env, locals } = await stage(t);
    const vault = { ...env, ...settingsOf(bao.access) };
    const older = await store(database, db, observe(t, bao.access, bao.transitKey).transit, owner, 3);
    await bao.copyData();
    await bao.root({ method: "POST", path: "transit/keys/keyrow/rotate", body: {} });
    const newer = await store(database, db, observe(t, bao.access, bao.transitKey).transit, owner, 3);
    await bao.restoreData();
    const ids = (stored: typeof older) => stored.map(({ id }) => id);
    const status = await keyrow(["keys", "status"], vault);
    t.is(status.exitCode, 1);
    t.regex(status.stdout, /:v2:\w+ +3 .* no: newer than OpenBao's, which is of an older backup$/m);
    t.is(
      (await keyrow(["rewrap", "--to", "local"], vault)).stdout,
      "moved  3 rows\nkeyless 3 rows: keyrow keys status --rows\n",
    );
    t.deepEqual(
      await opened(db, await locals(), ids(older)),
      older.map(({ value }) => value),
    );
    t.regex(
      [...new Set((await rowsOf(db.pool, ids(newer))).map(({ key_id }) => key_id))].join(),
      /^transit:\S+:v2:\w+$/,
    );
  },
);
