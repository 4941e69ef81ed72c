import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { KeyrowError } from "../errors.ts";
import type { Bound, Cipher, Plain, Sealed } from "./cipher.ts";
import { type Context, encodeContext } from "./context.ts";

/** A key of the key file: 32 secret bytes, and the id that `key_id` names it by. */
export interface LocalKey {
  readonly id: string;
  readonly key: KeyObject;
}

/** The form of a local key's id: `local:<YYYYMMDD>-<8 hex>`. */
export const LOCAL_KEY_ID = /^local:[0-9]{8}-[0-9a-f]{8}$/;

const KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;
// How long a batch may hold the event loop: 64 MiB of values would otherwise stop every other request for a while.
const TURN_MS = 5;

/**
 * Encrypts bytes by AES-256-GCM (NIST SP 800-38D) under a 32-byte key and a 12-byte iv, which must never meet twice
 * under one key; throws a RangeError for other lengths.
 */
export function sealBytes(
  key: Uint8Array,
  iv: Uint8Array,
  aad: Uint8Array,
  plain: Uint8Array,
): { tag: Buffer; body: Buffer } {
  assertLengths(key, iv);
  // As a KeyObject: with the bytes, Node 24 takes three times as long.
  const cipher = createCipheriv("aes-256-gcm", createSecretKey(key), iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(aad);
  // GCM is a stream mode: `update` gives all of the body and `final` none, so nothing needs joining.
  const body = cipher.update(plain);
  cipher.final();
  return { tag: cipher.getAuthTag(), body };
}

/** Gives back what `sealBytes` encrypted; throws unless the tag is 16 bytes and everything is as it was. */
export function openBytes(key: Uint8Array, iv: Uint8Array, aad: Uint8Array, tag: Uint8Array, body: Uint8Array): Buffer {
  assertLengths(key, iv);
  // Without a fixed tag length Node accepts a tag cut to 4 bytes, which is forged in 2^32 tries.
  if (tag.length !== TAG_BYTES) throw new RangeError("the tag is not 16 bytes");
  const decipher = createDecipheriv("aes-256-gcm", createSecretKey(key), iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(aad).setAuthTag(tag);
  const plain = decipher.update(body);
  // `final` checks the tag: not a byte of `plain` may be used before it.
  decipher.final();
  return plain;
}

/** The bytes of text in standard base64 with padding; throws for every other spelling, so that bytes have one text. */
export function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, "base64");
  // Node skips what is not base64, takes the URL alphabet and ignores spare bits: only encoding again tells.
  if (bytes.toString("base64") !== text) throw new RangeError("not canonical base64");
  return bytes;
}

/** A value as UTF-8; throws VALIDATION for a lone surrogate, which has no UTF-8 and would not come back. */
export function encodeValue(value: string): Buffer {
  if (!value.isWellFormed()) {
    throw new KeyrowError("VALIDATION", { message: "A value is not valid Unicode: it holds half a surrogate pair." });
  }
  return Buffer.from(value, "utf8");
}

// `ignoreBOM` keeps a leading U+FEFF: without it a value that starts with one comes back shorter.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The value of UTF-8 bytes; throws a TypeError where they are not valid UTF-8. */
export function decodeValue(bytes: Uint8Array): string {
  return utf8.decode(bytes);
}

/** The cipher of one local key: AES-256-GCM under a key of the row's own, stored as `iv:authTag:encrypted` in base64. */
export function createLocalCipher(key: LocalKey): Cipher {
  if (!LOCAL_KEY_ID.test(key.id)) throw new RangeError("not the id of a local key");
  if (key.key.symmetricKeySize !== KEY_BYTES) throw new RangeError("a local key has 32 bytes");
  return {
    seal: (items) => inTurns(items, (item) => sealItem(key, item)),
    open: (items) => inTurns(items, (item) => openItem(key, item)),
    state: (keyId) => (keyId === key.id ? "held" : "missing"),
    current: async () => key.id,
    check: async () => checkItem(key),
  };
}

function assertLengths(key: Uint8Array, iv: Uint8Array): void {
  if (key.length !== KEY_BYTES) throw new RangeError("the key is not 32 bytes");
  if (iv.length !== IV_BYTES) throw new RangeError("the iv is not 12 bytes");
}

/** The row's own key by HKDF-SHA256 (RFC 5869): a random iv then has to be unique among one row's values alone. */
function rowKey({ id, key }: LocalKey, context: Buffer): Uint8Array {
  // The hash, for Node takes 1,024 bytes of info at most and a context has no limit.
  return new Uint8Array(hkdfSync("sha256", key, id, hash("sha256", context, "buffer"), KEY_BYTES));
}

function sealItem(key: LocalKey, { context, value }: Plain): Sealed {
  const plain = encodeValue(value);
  const aad = encodeContext(context);
  const iv = randomBytes(IV_BYTES);
  const { tag, body } = sealBytes(rowKey(key, aad), iv, aad, plain);
  return { encrypted: [iv, tag, body].map((part) => part.toString("base64")).join(":"), keyId: key.id };
}

function openItem(key: LocalKey, { context, encrypted, keyId }: Bound): string | KeyrowError {
  try {
    if (keyId !== key.id) throw new RangeError("another key's");
    const { iv, tag, body } = parse(encrypted);
    const aad = encodeContext(context);
    return decodeValue(openBytes(rowKey(key, aad), iv, aad, tag, body));
  } catch {
    // One error for every reason and without its cause: a caller must not learn which check failed.
    return new KeyrowError("CANNOT_OPEN");
  }
}

/** The parts of the stored form; their lengths are `openBytes`'s to check. */
function parse(encrypted: string): { iv: Buffer; tag: Buffer; body: Buffer } {
  const [iv, tag, body, more] = encrypted.split(":", 4);
  if (iv === undefined || tag === undefined || body === undefined || more !== undefined) {
    throw new RangeError("not iv:authTag:encrypted");
  }
  return { iv: decodeBase64(iv), tag: decodeBase64(tag), body: decodeBase64(body) };
}

function checkItem(key: LocalKey): void {
  const context: Context = ["keyrow", "check"];
  const sealed = sealItem(key, { context, value: "probe" });
  const opened = openItem(key, { ...sealed, context });
  const elsewhere = openItem(key, { ...sealed, context: ["keyrow", "elsewhere"] });
  if (opened !== "probe" || typeof elsewhere === "string") throw new KeyrowError("CIPHER_UNAVAILABLE");
}

/** Does the work item by item, in order, and lets the event loop go on every few milliseconds. */
async function inTurns<T, R>(items: readonly T[], work: (item: T) => R): Promise<R[]> {
  const results: R[] = [];
  let turnEnds = performance.now() + TURN_MS;
  for (const item of items) {
    if (performance.now() >= turnEnds) {
      await nextTurn();
      turnEnds = performance.now() + TURN_MS;
    }
    results.push(work(item));
  }
  return results;
}
