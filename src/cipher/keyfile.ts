import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { createDurably, syncDirectory } from "../durable-file.ts";
import { KeyrowError } from "../errors.ts";
import { decodeBase64, LOCAL_KEY_ID, type LocalKey } from "./local.ts";

/** A key as the file has it: `key` is base64 of 32 bytes, `check` 16 hex digits of HMAC-SHA256(key, id). */
interface Entry {
  readonly id: string;
  readonly key: string;
  readonly check: string;
  readonly createdAt: string;
  /** When it was retired: it is kept, and used no more. */
  readonly retiredAt?: string;
}

const KEY_BYTES = 32;
const MAX_FILE_BYTES = 1024 * 1024;
const RESTORE = "Restore it from a backup: values sealed under its keys can't be opened by new ones.";

/** What a key file says. */
export interface KeyFileState {
  /** Its keys but the retired ones, newest first by their dates, in whatever order the file has them; one at least. */
  readonly keys: readonly LocalKey[];
  /** The ids of the others. */
  readonly retired: readonly string[];
}

/** Reads a key file; throws KEY_FILE_INVALID, which names the file, what is wrong and the remedy. */
export async function readKeyFileState(path: string): Promise<KeyFileState> {
  const { entries } = await readEntries(path);
  const isRetired = ({ retiredAt }: Entry) => retiredAt !== undefined;
  const keys = newestFirst(entries).filter((entry) => !isRetired(entry));
  if (keys.length === 0) throw fault(path, "has no key that is not retired", RESTORE);
  return { keys: keys.map(toKey), retired: entries.filter(isRetired).map(({ id }) => id) };
}

/** The keys of a key file that are not retired, newest first; throws as `readKeyFileState` does. */
export async function readKeyFile(path: string): Promise<readonly LocalKey[]> {
  return (await readKeyFileState(path)).keys;
}

/** A text that is another whenever a key file was changed or replaced, or can't be reached; it never throws. */
export async function keyFileMark(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  } catch (error) {
    return errno(error);
  }
}

/** Every key of a key file, the retired ones as well; throws as `readKeyFileState` does. */
export async function everyKey(path: string): Promise<LocalKey[]> {
  const { entries } = await readEntries(path);
  return entries.map(toKey);
}

function toKey({ id, key }: Entry): LocalKey {
  return { id, key: createSecretKey(decodeBase64(key)) };
}

function newestFirst(entries: readonly Entry[]): Entry[] {
  return entries.toSorted((a, b) => Date.parse(b.createdAt) - Date.parse(a.createdAt));
}

/**
 * Makes a key file with one new key, mode 0600, whole or not at all, and gives its keys; throws KEY_FILE_INVALID where
 * there is one already or it can't be written.
 */
export async function createKeyFile(path: string): Promise<readonly LocalKey[]> {
  try {
    await createDurably(path, textOf([newEntry([])]));
  } catch (error) {
    throw writeFault(path, error);
  }
  return await readKeyFile(path);
}

/**
 * Puts a new key before the others, so that it seals from the next reading on, and gives all keys. Throws
 * KEY_FILE_INVALID, also while another change is under way.
 */
export async function addKey(path: string): Promise<readonly LocalKey[]> {
  await changeEntries(path, async (entries) => [newEntry(entries), ...entries]);
  return await readKeyFile(path);
}

/**
 * Retires a key after `mayRetire`, which is asked while nobody else can change the file and throws where it may not. The
 * key stays in the file, for taking this back by hand. Gives false where it has no such key in use. Throws
 * KEY_FILE_INVALID.
 */
export async function retireKey(path: string, keyId: string, mayRetire: () => Promise<void>): Promise<boolean> {
  let found = false;
  await changeEntries(path, async (entries) => {
    found = entries.some(({ id, retiredAt }) => id === keyId && retiredAt === undefined);
    if (!found) return entries;
    await mayRetire();
    return entries.map((entry) => (entry.id === keyId ? { ...entry, retiredAt: new Date().toISOString() } : entry));
  });
  return found;
}

/** Changes the entries; the file is replaced whole or not at all, and is on the disk when this returns. */
async function changeEntries(path: string, change: (entries: Entry[]) => Promise<Entry[]>): Promise<void> {
  // Behind a symbolic link it is the file that is replaced, not the link.
  const target = await realpath(path).catch((error: unknown) => {
    throw readFault(path, error);
  });
  const next = `${target}.new`;
  // The next file is the lock as well: two changes at once would lose a key that has sealed something.
  const handle = await open(next, "wx", 0o600).catch((error: unknown) => {
    throw errno(error) === "EEXIST" ? lockFault(path, next) : writeFault(path, error);
  });
  try {
    const { entries, uid, gid } = await readEntries(target);
    // An administrator as root must not take the file away from the server's user.
    if (process.getuid?.() === 0) await handle.chown(uid, gid);
    await writeEntries(handle, await change(entries));
    await rename(next, target);
  } catch (error) {
    await handle.close();
    await rm(next, { force: true }).catch(() => {});
    // What the change itself throws is no fault of the file's.
    throw errno(error).startsWith("E") ? writeFault(path, error) : error;
  }
  // Out of the block above: once renamed, a next file there is another process's lock, and not ours to remove.
  await syncDirectory(dirname(target)).catch((error: unknown) => {
    throw writeFault(path, error);
  });
}

async function readEntries(path: string): Promise<{ entries: Entry[]; uid: number; gid: number }> {
  let handle: FileHandle | undefined;
  try {
    // Non-blocking, for opening a FIFO would wait for ever.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    // Asked of the open file, not of its path: what is checked is what is read.
    const stats = await handle.stat();
    if (!stats.isFile()) throw fault(path, "is not a file", "Set KEYROW_KEY_FILE to the key file itself.");
    if (stats.mode & 0o077) throw fault(path, "is open to other users", `Run: chmod 600 ${path}`);
    if (stats.size > MAX_FILE_BYTES) throw fault(path, "is too large to be one", RESTORE);
    return { entries: parseEntries(path, await handle.readFile("utf8")), uid: stats.uid, gid: stats.gid };
  } catch (error) {
    throw readFault(path, error);
  } finally {
    await handle?.close();
  }
}

function parseEntries(path: string, text: string): Entry[] {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch {
    // Its cause is dropped: JSON.parse quotes what it could not read, and that may be a key.
    throw fault(path, "is not JSON", RESTORE);
  }
  const keys: unknown = isRecord(file) ? file.keys : undefined;
  if (!Array.isArray(keys)) throw fault(path, 'has no list "keys"', RESTORE);
  if (keys.length === 0) throw fault(path, "has no key in it", RESTORE);
  const ids = new Set<string>();
  return keys.map((key: unknown, index) => {
    const entry = parseEntry(path, `key ${index + 1}`, key);
    if (ids.has(entry.id))
      throw fault(path, `has two keys with the id ${entry.id}`, "Remove the one that is not used.");
    ids.add(entry.id);
    return entry;
  });
}

/** An entry as it stands, unknown fields and all, so that adding a key keeps the others as they were. */
function parseEntry(path: string, position: string, entry: unknown): Entry {
  if (!isRecord(entry)) throw fault(path, `has a ${position} that is not an object`, RESTORE);
  const { id, key, check, createdAt, retiredAt } = entry;
  // A bad id is not repeated: someone may have put the key there.
  if (typeof id !== "string" || !LOCAL_KEY_ID.test(id)) throw fault(path, `has a bad id in ${position}`, RESTORE);
  const named = `${position} (${id})`;
  const bytes = typeof key === "string" ? keyBytes(key) : undefined;
  if (!bytes) throw fault(path, `has no base64 in "key" of ${named}`, RESTORE);
  if (bytes.length !== KEY_BYTES) throw fault(path, `has ${bytes.length} bytes, not 32, in ${named}`, RESTORE);
  if (check !== checkValue(bytes, id)) throw fault(path, `has a damaged ${named}: its check value differs`, RESTORE);
  if (typeof createdAt !== "string" || Number.isNaN(Date.parse(createdAt))) {
    throw fault(
      path,
      `has no date in "createdAt" of ${named}`,
      "Put in the date of its id, as in 2026-01-31T00:00:00Z.",
    );
  }
  if (retiredAt !== undefined && (typeof retiredAt !== "string" || Number.isNaN(Date.parse(retiredAt)))) {
    throw fault(path, `has no date in "retiredAt" of ${named}`, "Put in a date, or remove it to use the key again.");
  }
  return entry as unknown as Entry;
}

function keyBytes(text: string): Buffer | undefined {
  try {
    return decodeBase64(text);
  } catch {
    return undefined;
  }
}

/** 64 bits: enough to notice a damaged or swapped key, and nothing that helps to find one of 256. */
function checkValue(key: Uint8Array, id: string): string {
  return createHmac("sha256", key).update(id).digest("hex").slice(0, 16);
}

function newEntry(others: readonly Entry[]): Entry {
  // Later than the others, whatever the clock says: the newest is the one that seals.
  const latest = Math.max(0, ...others.map((other) => Date.parse(other.createdAt)));
  const createdAt = new Date(Math.max(Date.now(), latest + 1)).toISOString();
  const id = `local:${createdAt.slice(0, 10).replaceAll("-", "")}-${randomBytes(4).toString("hex")}`;
  if (others.some((other) => other.id === id)) return newEntry(others);
  const key = randomBytes(KEY_BYTES);
  return { id, key: key.toString("base64"), check: checkValue(key, id), createdAt };
}

/** Writes and closes; on the disk when it returns, for a key must not be lost after it has sealed something. */
async function writeEntries(handle: FileHandle, keys: readonly Entry[]): Promise<void> {
  try {
    await handle.writeFile(textOf(keys));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function textOf(keys: readonly Entry[]): string {
  return `${JSON.stringify({ keys }, null, 2)}\n`;
}

function fault(path: string, what: string, hint: string): KeyrowError {
  return new KeyrowError("KEY_FILE_INVALID", { message: `The key file ${path} ${what}.`, hint });
}

function readFault(path: string, error: unknown): KeyrowError {
  if (error instanceof KeyrowError) return error;
  const code = errno(error);
  if (code === "ENOENT")
    return fault(
      path,
      "does not exist",
      `Check KEYROW_KEY_FILE. ${RESTORE} For a new database: \`keyrow keys create\`.`,
    );
  if (code === "EACCES") return fault(path, "can't be read by this user", "Make the server's user its owner.");
  return fault(path, `can't be read (${code})`, "Check the path and the file system.");
}

function writeFault(path: string, error: unknown): KeyrowError {
  if (error instanceof KeyrowError) return error;
  const code = errno(error);
  if (code === "EEXIST") return fault(path, "exists already", "Use it, or add a key to it; it is never overwritten.");
  if (code === "ENOENT") return fault(path, "has no directory to be in", `Run: mkdir -p ${dirname(path)}`);
  return fault(path, `can't be written (${code})`, "Check the rights of its directory and the space on the disk.");
}

function lockFault(path: string, next: string): KeyrowError {
  return fault(path, "is being changed by another process", `If none is running, run: rm ${next}`);
}

function errno(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown error";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
