import { execFileSync } from "node:child_process";
import { createHmac } from "node:crypto";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import test, { type ExecutionContext } from "ava";
import { addKey, createKeyFile, readKeyFile } from "../../src/cipher/keyfile.ts";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import { KeyrowError } from "../../src/errors.ts";
import { sealOne, userContext } from "./contract.ts";

const root = process.getuid?.() === 0;

/** A directory of the test's own, gone after it, and the path of a key file that is not there yet. */
function place(t: ExecutionContext): { directory: string; path: string } {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), "keyrow-keyfile-")));
  t.teardown(() => rmSync(directory, { recursive: true }));
  return { directory, path: join(directory, "keys.json") };
}

/** Asserts a KEY_FILE_INVALID with a hint that names the file as it was given and shows no key. */
async function isFault(t: ExecutionContext, path: string, work: Promise<unknown>, message: RegExp, hint = /./) {
  const error = (await t.throwsAsync(work)) as KeyrowError;
  t.true(error instanceof KeyrowError);
  t.is(error.code, "KEY_FILE_INVALID");
  t.true(error.message.startsWith(`The key file ${path} `), error.message);
  t.regex(error.message, message);
  t.regex(error.hint ?? "", hint);
  t.notRegex(inspect(error, { depth: 9, showHidden: true }), /[\w+/]{43}=|SECRET/);
}

interface FileEntry {
  id: string;
  key: string;
  check: string;
  createdAt: string;
}

const entriesOf = (path: string) => (JSON.parse(readFileSync(path, "utf8")) as { keys: FileEntry[] }).keys;

function write(path: string, text: string | Buffer): void {
  writeFileSync(path, text, { mode: 0o600 });
}

const bytes = Buffer.alloc(32, "SECRET");
const id = "local:20250101-00000001";
const check = createHmac("sha256", bytes).update(id).digest("hex").slice(0, 16);
const good: FileEntry = { id, key: bytes.toString("base64"), check, createdAt: "2025-01-01T00:00:00.000Z" };

test("a new key file has one key, in a form to read, for its owner alone", async (t) => {
  const { directory, path } = place(t);
  const keys = await createKeyFile(path);
  t.is(statSync(path).mode & 0o777, 0o600);
  t.deepEqual(readdirSync(directory), ["keys.json"]);
  const [entry, ...others] = entriesOf(path);
  t.deepEqual(others, []);
  t.regex(entry?.id ?? "", /^local:[0-9]{8}-[0-9a-f]{8}$/);
  t.is(entry?.id.slice(6, 14), entry?.createdAt.slice(0, 10).replaceAll("-", ""));
  t.is(Buffer.from(entry?.key ?? "", "base64").length, 32);
  t.deepEqual(
    keys.map((key) => ({ id: key.id, key: key.key.export().toString("base64") })),
    [{ id: entry?.id, key: entry?.key }],
  );
});

test("a key file written by its description alone is read", async (t) => {
  const { path } = place(t);
  write(path, JSON.stringify({ keys: [good] }));
  const [key] = await readKeyFile(path);
  t.is(key?.id, id);
  t.deepEqual(key?.key.export(), bytes);
});

test("keys that were read are not shown when printed", async (t) => {
  const { path } = place(t);
  write(path, JSON.stringify({ keys: [good] }));
  const keys = await readKeyFile(path);
  t.notRegex(inspect(keys, { depth: 9, showHidden: true }) + JSON.stringify(keys), /SECRET|U0VDUkVU|534543524554/);
});

test("a key file that is there is never overwritten", async (t) => {
  const { directory, path } = place(t);
  await createKeyFile(path);
  const before = readFileSync(path, "utf8");
  await isFault(t, path, createKeyFile(path), /exists already/);
  t.is(readFileSync(path, "utf8"), before);
  t.deepEqual(readdirSync(directory), ["keys.json"]);
});

test("of several makers at once one makes the file, and it stays", async (t) => {
  const { directory, path } = place(t);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => createKeyFile(path)));
  const made = results.filter((result) => result.status === "fulfilled");
  t.is(made.length, 1);
  t.is(made[0]?.value[0]?.id, entriesOf(path)[0]?.id);
  t.deepEqual(readdirSync(directory), ["keys.json"]);
});

test("a key file without a directory to be in is not made", async (t) => {
  const path = join(place(t).directory, "no", "keys.json");
  await isFault(t, path, createKeyFile(path), /has no directory/, /mkdir/);
});

test("a key file below a file is not made, nor read", async (t) => {
  const { path } = place(t);
  await createKeyFile(path);
  const below = join(path, "keys.json");
  await isFault(t, below, createKeyFile(below), /can't be written \(ENOTDIR\)/);
  await isFault(t, below, readKeyFile(below), /can't be read \(ENOTDIR\)/);
  await isFault(t, below, addKey(below), /can't be read \(ENOTDIR\)/);
});

test("an added key stands first and seals, and what was sealed before still opens", async (t) => {
  const { directory, path } = place(t);
  const context = userContext();
  const before = await sealOne(createKeyring((await createKeyFile(path)).map(createLocalCipher)), context, "old");
  const [old] = entriesOf(path);
  const keys = await addKey(path);
  t.is(keys.length, 2);
  t.deepEqual(entriesOf(path)[1], old);
  t.is(statSync(path).mode & 0o777, 0o600);
  t.deepEqual(readdirSync(directory), ["keys.json"]);

  const ring = createKeyring(keys.map(createLocalCipher));
  const after = await sealOne(ring, context, "new");
  t.true(after.keyId === keys[0]?.id);
  t.not(after.keyId, before.keyId);
  t.deepEqual(await ring.open([before, after].map((sealed) => ({ ...sealed, context }))), ["old", "new"]);
});

test("of keys added at the same time none is lost: who comes second is turned away", async (t) => {
  const { directory, path } = place(t);
  const [first] = await createKeyFile(path);
  const results = await Promise.allSettled(Array.from({ length: 8 }, () => addKey(path)));
  const added = results.filter((result) => result.status === "fulfilled");
  const refused = results.filter((result) => result.status === "rejected");
  t.true(added.length >= 1);
  for (const { reason } of refused) t.regex(reason.message, /is being changed by another process/);
  const ids = entriesOf(path).map((entry) => entry.id);
  t.is(ids.length, added.length + 1);
  t.true(ids.at(-1) === first?.id);
  t.deepEqual(readdirSync(directory), ["keys.json"]);
});

test("what a killed addition left is named, with the remedy", async (t) => {
  const { path } = place(t);
  await createKeyFile(path);
  write(`${path}.new`, "");
  await isFault(t, path, addKey(path), /is being changed/, new RegExp(`rm ${path}.new`));
  t.is(entriesOf(path).length, 1);
  rmSync(`${path}.new`);
  t.is((await addKey(path)).length, 2);
});

test("a damaged file gets no key, and stays as it was", async (t) => {
  const { directory, path } = place(t);
  write(path, JSON.stringify({ keys: [{ ...good, check: "0000000000000000" }] }));
  const before = readFileSync(path, "utf8");
  await isFault(t, path, addKey(path), /damaged/);
  t.is(readFileSync(path, "utf8"), before);
  t.deepEqual(readdirSync(directory), ["keys.json"]);
});

test("behind a symbolic link the file is replaced and the link stays", async (t) => {
  const { directory, path } = place(t);
  const link = join(directory, "link.json");
  await createKeyFile(path);
  symlinkSync(path, link);
  await addKey(link);
  t.is(entriesOf(path).length, 2);
  t.is((await readKeyFile(link)).length, 2);
});

(root ? test : test.skip)("a key that root adds leaves the file to its owner", async (t) => {
  const { path } = place(t);
  await createKeyFile(path);
  chownSync(path, 65534, 65534);
  await addKey(path);
  const { uid, gid, mode } = statSync(path);
  t.deepEqual({ uid, gid, mode: mode & 0o777 }, { uid: 65534, gid: 65534, mode: 0o600 });
});

for (const mode of [0o640, 0o604, 0o644, 0o620, 0o601]) {
  test(`a file of mode ${mode.toString(8)} is refused`, async (t) => {
    const { path } = place(t);
    await createKeyFile(path);
    chmodSync(path, mode);
    await isFault(t, path, readKeyFile(path), /is open to other users/, /chmod 600/);
  });
}

test("a file of mode 400 is read", async (t) => {
  const { path } = place(t);
  await createKeyFile(path);
  chmodSync(path, 0o400);
  t.is((await readKeyFile(path)).length, 1);
});

(root ? test.skip : test)("a file that may not be read says so", async (t) => {
  const { path } = place(t);
  await createKeyFile(path);
  chmodSync(path, 0);
  await isFault(t, path, readKeyFile(path), /can't be read by this user/, /owner/);
});

test("a file that is not there is named, and not made", async (t) => {
  const { directory, path } = place(t);
  await isFault(t, path, readKeyFile(path), /does not exist/, /KEYROW_KEY_FILE.*backup/);
  await isFault(t, path, addKey(path), /does not exist/);
  t.deepEqual(readdirSync(directory), []);
});

test("a directory or a FIFO is not taken for a key file, nor waited for", async (t) => {
  const { path } = place(t);
  mkdirSync(path, { mode: 0o700 });
  await isFault(t, path, readKeyFile(path), /is not a file/);
  execFileSync("mkfifo", ["-m", "600", `${path}.fifo`]);
  await isFault(t, `${path}.fifo`, readKeyFile(`${path}.fifo`), /is not a file/);
});

const entry = (change: Record<string, unknown>) => JSON.stringify({ keys: [{ ...good, ...change }] });
const short = Buffer.alloc(31, "SECRET").toString("base64");
const swapped = "local:20250101-00000002";

const faults: Array<[what: string, text: string | Buffer, message: RegExp]> = [
  ["an empty file", "", /is not JSON/],
  ["a bare key", good.key, /is not JSON/],
  ["a file cut short", JSON.stringify({ keys: [good] }).slice(0, -3), /is not JSON/],
  ["bytes of no meaning", Buffer.from([0xff, 0xfe, 0, 1]), /is not JSON/],
  ["null", "null", /has no list "keys"/],
  ["a list alone", JSON.stringify([good]), /has no list "keys"/],
  ["an object of keys", JSON.stringify({ keys: { [id]: good } }), /has no list "keys"/],
  ["an empty ring", JSON.stringify({ keys: [] }), /has no key in it/],
  ["null as a key", JSON.stringify({ keys: [null] }), /a key 1 that is not an object/],
  ["a bare key in the list", JSON.stringify({ keys: [good, good.key] }), /a key 2 that is not an object/],
  ["no id", entry({ id: undefined }), /has a bad id in key 1/],
  ["the id of another kind", entry({ id: "legacy" }), /has a bad id in key 1/],
  ["the key as id", entry({ id: good.key }), /has a bad id in key 1/],
  ["an id and a line end", entry({ id: `${id}\n` }), /has a bad id in key 1/],
  ["two keys of one id", JSON.stringify({ keys: [good, good] }), /has two keys with the id local:20250101-00000001/],
  ["no key", entry({ key: undefined }), /has no base64 in "key" of key 1 \(local:20250101-00000001\)/],
  ["a key in hex", entry({ key: bytes.toString("hex") }), /has 48 bytes, not 32/],
  ["a key of 31 bytes", entry({ key: short }), /has 31 bytes, not 32, in key 1/],
  ["an empty key", entry({ key: "" }), /has 0 bytes, not 32, in key 1/],
  ["a key without its padding", entry({ key: good.key.slice(0, -1) }), /has no base64 in "key"/],
  ["a key with a line end", entry({ key: `${good.key}\n` }), /has no base64 in "key"/],
  ["a key with one character changed", entry({ key: `V${good.key.slice(1)}` }), /has a damaged key 1 \(local:/],
  ["a key under another key's id", entry({ id: swapped }), /has a damaged key 1 \(local:20250101-00000002\)/],
  ["no check value", entry({ check: undefined }), /has a damaged key 1/],
  ["no date", entry({ createdAt: undefined }), /has no date in "createdAt" of key 1/],
  ["no date but words", entry({ createdAt: "yesterday" }), /has no date in "createdAt" of key 1/],
  ["a file of 2 MiB", " ".repeat(2 * 1024 * 1024), /is too large/],
];
for (const [what, text, message] of faults) {
  test(`it is named and shows no key: ${what}`, async (t) => {
    const { path } = place(t);
    write(path, text);
    await isFault(t, path, readKeyFile(path), message);
  });
}
