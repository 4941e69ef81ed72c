import { createCipheriv, createSecretKey, randomBytes, randomUUID } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ava, { type ExecutionContext } from "ava";
import type { Bound, Cipher } from "../../src/cipher/cipher.ts";
import { addKey, createKeyFile, readKeyFile } from "../../src/cipher/keyfile.ts";
import { createOpenBaoClient } from "../../src/cipher/openbao/client.ts";
import { createTokenKeeper } from "../../src/cipher/openbao/token.ts";
import { KeyrowError } from "../../src/errors.ts";
import { createLegacyOpener } from "../../src/reseal/legacy.ts";
import { boundOf } from "../../src/reseal/reseal.ts";
import { createRing } from "../../src/ring.ts";
import type { WorkerDatabase } from "../../src/worker-database.ts";
import { createLogin, keyrow } from "../helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { surroundings } from "../helpers/command.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { collectLog } from "../helpers/log.ts";
import { openBaoTest, settingsOf, startOpenBao, type TestOpenBao } from "../helpers/openbao.ts";
import { asAdmin, startTestServer, type TestServer } from "../helpers/server.ts";
import { makeOwner, type Owner, opened, rowsOf, type Stored, store, worker } from "./stage.ts";

// Rows as the specification's own application made them: by plain OpenBao calls under a key that is not derived, and by
// plain node:crypto without AAD. No code of Keyrow's seals one of them.

/** `iv:authTag:encrypted`, as Node's own documentation makes it. */
function encryptPlainly(key: Buffer, value: string, encoding: "hex" | "base64", ivBytes: 12 | 16): string {
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv("aes-256-gcm", key, iv);
  const body = Buffer.concat([cipher.update(value, "utf8"), cipher.final()]);
  return [iv, cipher.getAuthTag(), body].map((part) => part.toString(encoding)).join(":");
}

const values = ["sk_live_0123456789abcdef", "", "pässwörd ✓\nof two lines 🔑", "\u0000", "x".repeat(64 * 1024)];

/** Every form of node:crypto's, each with every value. */
function aesRows(key: Buffer): Array<{ value: string; encrypted: string }> {
  return (["hex", "base64"] as const).flatMap((encoding) =>
    ([12, 16] as const).flatMap((ivBytes) =>
      values.map((value) => ({ value, encrypted: encryptPlainly(key, value, encoding, ivBytes) })),
    ),
  );
}

/** The other application's Transit key `app`, in two versions, with every value under each. */
async function transitRows(bao: TestOpenBao): Promise<Array<{ value: string; encrypted: string }>> {
  await bao.root({ method: "POST", path: "transit/keys/app", body: { type: "aes256-gcm96" } });
  const rows: Array<{ value: string; encrypted: string }> = [];
  for (const version of [1, 2]) {
    if (version === 2) await bao.root({ method: "POST", path: "transit/keys/app/rotate", body: {} });
    for (const value of values) {
      const body = { plaintext: Buffer.from(value).toString("base64") };
      const { data } = await bao.root({ method: "POST", path: "transit/encrypt/app", body });
      rows.push({ value, encrypted: data.ciphertext });
    }
  }
  return rows;
}

const scopes = ["USER", "WORKSPACE", "SYSTEM"] as const;

/** Inserts rows as the specification does, which names no key: they come in under `legacy`. */
async function load(
  database: TestDatabase,
  { user, workspace }: Owner,
  rows: ReadonlyArray<{ value: string; encrypted: string }>,
): Promise<Stored[]> {
  const stored: Stored[] = [];
  for (const [index, { value, encrypted }] of rows.entries()) {
    const scope = scopes[index % scopes.length] as string;
    const id = randomUUID();
    await asAdmin(
      database,
      `insert into "user_credentials" ("id", "user_id", "workspace_id", "name", "provider", "type", "scope", "encrypted_value")
       values ($1, $2, $3, $1::uuid::text, 'app', 'API_KEY', $4::text::"CredentialScope", $5)`,
      [id, user, scope === "WORKSPACE" ? workspace : null, scope, encrypted],
    );
    stored.push({ id, value });
  }
  return stored;
}

/** A database, the keys of a server on it, and the environment of an operator's commands. */
async function stage(t: ExecutionContext) {
  const database = await createTestDatabase();
  const login = await createLogin(database, "keyrow_admin");
  const directory = makeTemporaryDirectory("keyrow-legacy-");
  let server: TestServer | undefined;
  t.teardown(async () => {
    await login.drop();
    // A server takes its database along.
    await (server ?? { stop: () => database.drop() }).stop();
    await removeWithServers(directory);
  });
  const keyFile = join(directory, "keys.json");
  await createKeyFile(keyFile);
  const env = {
    ...surroundings,
    ADMIN_DATABASE_URL: login.url,
    WORKER_DATABASE_URL: database.url("keyrow_worker"),
    KEYROW_KEY_FILE: keyFile,
    KEYROW_DATA_DIR: join(directory, "none"),
  };
  /** A file of the other application's key. */
  const file = (text: string) => {
    const path = join(directory, `${randomUUID()}.key`);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const serve = async (cipher: Cipher) => {
    server = await startTestServer({ database, cipher, env: { KEYROW_ALLOW_MISSING_KEYS: "on" } });
    return server;
  };
  return { database, db: await worker(t, database), owner: await makeOwner(database), keyFile, env, file, serve };
}

type Stage = Awaited<ReturnType<typeof stage>>;

/** The ring of a server: with an OpenBao, that seals. */
async function ringOf(t: ExecutionContext, { keyFile }: Stage, bao?: TestOpenBao): Promise<Cipher> {
  const openBao = bao && { access: bao.access, place: bao.transitKey };
  const localKeys = await readKeyFile(keyFile);
  const ring = createRing({ localKeys, openBao, fallback: "local", log: collectLog().log });
  t.teardown(() => ring.close());
  return ring.cipher;
}

/** The settings of the other commands, and a login that may use the legacy key `app` as well. */
async function withLegacy({ env }: Stage, bao: TestOpenBao): Promise<Record<string, string>> {
  const policy = 'path "transit/decrypt/app" { capabilities = ["update"] }';
  await bao.root({ method: "POST", path: "sys/policies/acl/keyrow-legacy", body: { policy } });
  const body = { policies: ["keyrow-server", "keyrow-legacy"], no_default_policy: true, ttl: "1h" };
  const { auth } = await bao.root({ method: "POST", path: "auth/token/create", body });
  return { ...env, ...settingsOf({ ...bao.access, login: { token: auth.client_token } }) };
}

const idsOf = (stored: readonly Stored[]) => stored.map(({ id }) => id);
const valuesOf = (stored: readonly Stored[]) => stored.map(({ value }) => value);
const closed = (count: number) => Array(count).fill(undefined);

async function keyIdsOf({ pool }: WorkerDatabase, ids: readonly string[]): Promise<string[]> {
  return [...new Set((await rowsOf(pool, ids)).map(({ key_id }) => key_id))];
}

/** Each value in the place of the next one: what is bound to a row opens in no other. */
async function openedElsewhere({ pool, place }: WorkerDatabase, cipher: Cipher, ids: readonly string[]) {
  const bound = (await rowsOf(pool, ids)).map((row) => boundOf(place, row));
  const moved = bound.map((one, index): Bound => ({ ...(bound.at(index - 1) as Bound), context: one.context }));
  return (await cipher.open(moved)).map((answer) => (typeof answer === "string" ? answer : undefined));
}

openBaoTest(
  "what plain OpenBao calls and plain node:crypto have made moves in, bound to its rows, and no server opens it before",
  async (t) => {
    const bao = await startOpenBao(t);
    const it = await stage(t);
    const { database, db, owner } = it;
    const key = randomBytes(32);
    const stored = await load(database, owner, [...aesRows(key), ...(await transitRows(bao))]);
    const ids = idsOf(stored);
    t.is(stored.length, 30);
    t.deepEqual(await keyIdsOf(db, ids), ["legacy"]);
    const cipher = await ringOf(t, it, bao);
    t.deepEqual(await opened(db, cipher, ids), closed(30));
    const server = await it.serve(cipher);
    const list = () => server.query(owner.user, "{ userCredentials { nodes { id value } } }");
    t.deepEqual(new Set((await list()).codes), new Set(["CANNOT_OPEN"]));

    const env = await withLegacy(it, bao);
    const before = await keyrow(["keys", "status"], env);
    t.is(before.exitCode, 1);
    t.regex(before.stdout, /^legacy +30 .* no: another application's; `keyrow rewrap --from-legacy` moves them$/m);
    const apart = "moved  0 rows\nkeyless 30 rows: keyrow keys status --rows\n";
    t.is((await keyrow(["rewrap"], env)).stdout, apart, "without --from-legacy they are let alone");

    const asked = ["rewrap", "--from-legacy", "--legacy-key-file", it.file(`${key.toString("hex")}\n`)];
    const moved = await keyrow([...asked, "--legacy-transit-key", "transit/app"], env);
    t.deepEqual([moved.stdout, moved.stderr, moved.exitCode], ["moved  30 rows\n", "", 0]);
    t.regex((await keyIdsOf(db, ids)).join(), /^transit:transit\/keyrow:v1:\w+$/);
    t.deepEqual(await opened(db, cipher, ids), valuesOf(stored));
    t.deepEqual(await openedElsewhere(db, cipher, ids), closed(30));
    const { codes, data } = await list();
    t.deepEqual(codes, []);
    const shown = new Map(data.userCredentials.nodes.map((node: Stored) => [node.id, node.value]));
    t.is(shown.size, 20, "SYSTEM rows have no API");
    for (const [id, value] of shown) t.is(value, stored.find((one) => one.id === id)?.value);
    t.is((await keyrow(["keys", "status"], env)).exitCode, 0);
    const { rows } = await asAdmin(
      database,
      `select count(*) filter (where rotated_at is not null)::int as rotated,
         (select count(*)::int from public.activity_logs where action = 'CREDENTIAL_ROTATED') as logged
       from public.user_credentials`,
    );
    t.deepEqual(rows, [{ rotated: 0, logged: 0 }], "it is the same value");
  },
);

ava("without an OpenBao they move under the local key, from a key file in hexadecimal or in base64", async (t) => {
  const it = await stage(t);
  const { database, db, owner, env, file } = it;
  const cipher = await ringOf(t, it);
  for (const encoding of ["hex", "base64"] as const) {
    const key = randomBytes(32);
    const stored = await load(database, owner, aesRows(key));
    const path = file(key.toString(encoding));
    const moved = await keyrow(["rewrap", "--from-legacy", "--legacy-key-file", path], env);
    t.deepEqual([moved.stdout, moved.exitCode], ["moved  20 rows\n", 0]);
    t.deepEqual(await keyIdsOf(db, idsOf(stored)), [await cipher.current()]);
    t.deepEqual(await opened(db, cipher, idsOf(stored)), valuesOf(stored));
    t.deepEqual(await openedElsewhere(db, cipher, idsOf(stored)), closed(20));
  }
});

openBaoTest("with a wrong legacy key, or that of the other form alone, they stay, are counted and named", async (t) => {
  const bao = await startOpenBao(t);
  const it = await stage(t);
  const { database, db, owner, file } = it;
  const [key, wrong] = [randomBytes(32), randomBytes(32)];
  const aes = await load(database, owner, aesRows(key));
  const vault = await load(database, owner, await transitRows(bao));
  const env = await withLegacy(it, bao);
  const before = await rowsOf(db.pool, idsOf([...aes, ...vault]));
  const withWrong = await keyrow(["rewrap", "--from-legacy", "--legacy-key-file", file(wrong.toString("hex"))], env);
  t.is(withWrong.exitCode, 1);
  t.regex(withWrong.stdout, /^moved {2}0 rows\nclosed 30 rows: [0-9a-f-]{36}, [0-9a-f-]{36}, [0-9a-f-]{36}\n$/);
  t.deepEqual(await rowsOf(db.pool, idsOf([...aes, ...vault])), before);

  const json = await keyrow(["rewrap", "--from-legacy", "--legacy-transit-key", "transit/app", "--json"], env);
  t.is(json.exitCode, 1);
  const { moved, failed, left } = JSON.parse(json.stdout);
  t.deepEqual([moved, failed.toSorted(), left], [10, idsOf(aes).sort(), 0]);
  t.deepEqual(await keyIdsOf(db, idsOf(aes)), ["legacy"]);
  const rest = await keyrow(["rewrap", "--from-legacy", "--legacy-key-file", file(key.toString("hex"))], env);
  t.deepEqual([rest.stdout, rest.exitCode], ["moved  20 rows\n", 0]);
  t.deepEqual(await opened(db, await ringOf(t, it, bao), idsOf([...aes, ...vault])), valuesOf([...aes, ...vault]));
});

ava("what is no legacy key file is refused, and only a file's rights are asked to be changed", async (t) => {
  const { env, file } = await stage(t);
  const shared = file(randomBytes(32).toString("hex"));
  chmodSync(shared, 0o640);
  const cases: Array<[path: string, said: RegExp]> = [
    [shared, /^error: the legacy key file .* is open to other users\nhint: Run: chmod 600 /],
    [file("short"), /^error: the legacy key file .* holds no key of 32 bytes\nhint: /],
    ["/", /^error: the legacy key file \/ can't be read \(EISDIR\)\nhint: check the path/],
    ["/nonexistent", /^error: the legacy key file .* can't be read \(ENOENT\)\nhint: check the path/],
  ];
  for (const [path, said] of cases) {
    const { stderr, stdout, exitCode } = await keyrow(["rewrap", "--from-legacy", "--legacy-key-file", path], env);
    t.regex(stderr, said);
    t.deepEqual([stdout, exitCode], ["", 1]);
  }
});

openBaoTest("the server's own keys are never legacy keys, retired ones included", async (t) => {
  const bao = await startOpenBao(t);
  const it = await stage(t);
  const { keyFile, file } = it;
  await load(it.database, it.owner, await transitRows(bao));
  const env = await withLegacy(it, bao);
  const [first] = await readKeyFile(keyFile);
  await addKey(keyFile);
  const own = (await readKeyFile(keyFile)).map(({ key }) => key.export().toString("hex"));
  t.is(own.length, 2);
  t.is((await keyrow(["keys", "retire", first?.id ?? ""], env)).exitCode, 0);
  for (const args of [
    ...own.map((text) => ["--legacy-key-file", file(text)]),
    ["--legacy-transit-key", "transit/keyrow"],
  ]) {
    const { stderr, stdout, exitCode } = await keyrow(["rewrap", "--from-legacy", ...args], env);
    t.regex(stderr, /^error: that is a key of the server's own: legacy values are under another application's\nhint: /);
    t.deepEqual([stdout, exitCode], ["", 2]);
  }
  // Nor by another spelling of its path.
  for (const spelling of [
    "./transit/keyrow",
    "x/../transit/keyrow",
    "transit/./keyrow",
    "transit//keyrow",
    "TRANSIT/keyrow",
  ]) {
    const { stdout, exitCode } = await keyrow(["rewrap", "--from-legacy", "--legacy-transit-key", spelling], env);
    t.false(/moved {2}[1-9]/.test(stdout), spelling);
    t.not(exitCode, 0, spelling);
  }
});

openBaoTest("a bound value whose row a superuser called legacy opens for nobody, before or after", async (t) => {
  const bao = await startOpenBao(t);
  const it = await stage(t);
  const { database, db, owner, keyFile } = it;
  const cipher = await ringOf(t, it, bao);
  const locals = await ringOf(t, it);
  const stored = [...(await store(database, db, cipher, owner, 6)), ...(await store(database, db, locals, owner, 6))];
  const ids = idsOf(stored);
  t.deepEqual(await opened(db, cipher, ids), valuesOf(stored));
  const superuser = database.pool("postgres");
  const update = superuser.query("update public.user_credentials set key_id = 'legacy'");
  t.is(((await t.throwsAsync(update)) as { code?: string }).code, "23001", "not without putting the trigger aside");
  await superuser.query(`begin; set local session_replication_role = replica;
    update public.user_credentials set key_id = 'legacy'; commit`);
  const server = await it.serve(cipher);
  const staysClosed = async () => {
    t.deepEqual(await opened(db, cipher, ids), closed(12));
    const { codes } = await server.query(owner.user, "{ userCredentials { nodes { value } } }");
    t.deepEqual(codes, Array(8).fill("CANNOT_OPEN"));
  };

  await staysClosed();
  const key = randomBytes(32);
  const genuine = await load(database, owner, [...aesRows(key), ...(await transitRows(bao))]);
  const asked = ["rewrap", "--from-legacy", "--legacy-key-file", it.file(key.toString("hex"))];
  const moved = await keyrow([...asked, "--legacy-transit-key", "transit/app", "--json"], await withLegacy(it, bao));
  t.is(moved.exitCode, 1);
  const result = JSON.parse(moved.stdout);
  t.deepEqual([result.moved, result.failed.toSorted(), result.left], [genuine.length, ids.toSorted(), 0]);
  t.deepEqual(await keyIdsOf(db, ids), ["legacy"]);
  t.deepEqual(await opened(db, cipher, idsOf(genuine)), valuesOf(genuine));
  await superuser.query("delete from public.user_credentials where provider = 'app'");
  await staysClosed();

  // Not even with the keys that the command refuses.
  const [local] = await readKeyFile(keyFile);
  const client = createOpenBaoClient(bao.access);
  const tokens = createTokenKeeper(client, bao.access.login);
  t.teardown(async () => {
    tokens.close();
    await client.close();
  });
  const opener = createLegacyOpener({ aes: local?.key, transit: { client, tokens, place: bao.transitKey } });
  const answers = await opener.open((await rowsOf(db.pool, ids)).map((row) => boundOf(db.place, row)));
  t.deepEqual(
    answers.map((answer) => answer instanceof KeyrowError && answer.code),
    Array(12).fill("CANNOT_OPEN"),
  );
});

openBaoTest(
  "a legacy key that this login may not use, or that is none, is told as that, and nothing moves",
  async (t) => {
    const bao = await startOpenBao(t);
    const it = await stage(t);
    const stored = await load(it.database, it.owner, await transitRows(bao));
    const env = await withLegacy(it, bao);
    const { BAO_TOKEN: _, ...rest } = env;
    const server = { ...rest, ...settingsOf(bao.access) };
    const root = { ...rest, ...settingsOf(bao.rootAccess) };
    await bao.root({ method: "POST", path: "transit/keys/bound", body: { type: "aes256-gcm96", derived: true } });
    const rewrap = (key: string, as: Record<string, string>) =>
      keyrow(["rewrap", "--from-legacy", "--legacy-transit-key", key], as);
    for (const [key, as] of [
      ["transit/app", server],
      ["transit/none", root],
      ["nowhere/app", root],
    ] as const) {
      const { stderr, stdout, exitCode } = await rewrap(key, as);
      t.regex(
        stderr,
        new RegExp(`^error: OpenBao opens nothing under the Transit key ${key} for this login\\nhint: .*openbao`),
      );
      t.deepEqual([stdout, exitCode], ["", 4], key);
    }
    t.regex(
      (await rewrap("transit/bound", root)).stdout,
      /^moved {2}0 rows\nclosed 10 rows: /,
      "a derived key opens none",
    );
    t.deepEqual(await keyIdsOf(it.db, idsOf(stored)), ["legacy"]);
  },
);

ava("an opener of legacy values knows the key id legacy alone, and one spelling of each form", async (t) => {
  const key = randomBytes(32);
  const opener = createLegacyOpener({ aes: createSecretKey(key) });
  const encrypted = encryptPlainly(key, "value", "base64", 12);
  const open = async (text: string, keyId = "legacy") => {
    const [answer] = await opener.open([{ encrypted: text, keyId, context: [] }]);
    return answer instanceof KeyrowError ? answer.code : answer;
  };
  t.is(await open(encrypted), "value");
  t.is(opener.state("legacy"), "held");
  for (const other of ["local:20260101-00000001", "transit:transit/keyrow:v1:20260101T000000Z", "Legacy", ""]) {
    t.is(opener.state(other), "missing");
    t.is(await open(encrypted, other), "CANNOT_OPEN");
  }
  const [iv = "", tag = "", body = ""] = encrypted.split(":");
  const flipped = Buffer.from(tag, "base64");
  flipped[15] = (flipped[15] ?? 0) ^ 1;
  for (const bad of [
    [iv, flipped.toString("base64"), body],
    [iv, Buffer.from(tag, "base64").subarray(0, 4).toString("base64"), body],
    [iv, tag, body, ""],
    [iv, tag],
    [Buffer.from(iv, "base64").toString("hex"), tag, body],
    [iv, tag, `${body}=`],
  ]) {
    t.is(await open(bad.join(":")), "CANNOT_OPEN", bad.join(":"));
  }
});

openBaoTest("no value is moved to a Transit key that binds nothing", async (t) => {
  const bao = await startOpenBao(t);
  const it = await stage(t);
  const { database, db, owner } = it;
  const stored = await store(database, db, await ringOf(t, it), owner, 3);
  await bao.root({ method: "POST", path: "transit/keys/unbound", body: { type: "aes256-gcm96" } });
  const env = { ...it.env, ...settingsOf(bao.rootAccess), KEYROW_TRANSIT_KEY: "unbound" };
  const { stderr, stdout, exitCode } = await keyrow(["rewrap"], env);
  t.regex(stderr, /^error: the Transit key transit\/unbound binds no value to its row.*\nhint: .*derived=true/);
  t.deepEqual([stdout, exitCode], ["", 1]);
  t.deepEqual(await opened(db, await ringOf(t, it), idsOf(stored)), valuesOf(stored));
});
