import { KeyrowError } from "../../errors.ts";
import { decodeBase64, decodeValue } from "../local.ts";
import { OpenBaoFault } from "./fault.ts";

// GCM's nonce and tag: no ciphertext is shorter than its plaintext and these.
const OVERHEAD_BYTES = 28;
// Base64 in its one canonical spelling, without spare bits: OpenBao takes others, and one value must not have many forms.
const STORED =
  /^vault:v([1-9][0-9]{0,8}):((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?)$/;
// Shorter values may stand in a ciphertext by chance.
const TELLING_BYTES = 8;

/** The version of a stored value, and its bytes in base64; undefined where it is none, in any spelling but one. */
export function parse(encrypted: string): { version: number; body: string } | undefined {
  const [, version, body = ""] = STORED.exec(encrypted) ?? [];
  if (version === undefined) return undefined;
  return { version: Number(version), body };
}

/**
 * A ciphertext as it is to be stored, of this plaintext; a fault for anything else that was answered, and for what has the
 * plaintext in it.
 */
export function checked(ciphertext: string | undefined, plain: Buffer): string {
  const bytes = bytesOf(ciphertext);
  const isOpen = plain.length >= TELLING_BYTES && bytes.includes(plain);
  if (isOpen || bytes.length < plain.length + OVERHEAD_BYTES) throw new OpenBaoFault("garbage");
  return ciphertext as string;
}

/** The new form of a ciphertext: of the same length, for a plaintext handed back instead is shorter; a fault otherwise. */
export function rewrapped(ciphertext: string | undefined, before: string): string {
  if (bytesOf(ciphertext).length !== bytesOf(before).length) throw new OpenBaoFault("garbage");
  return ciphertext as string;
}

function bytesOf(encrypted = ""): Buffer {
  return Buffer.from(parse(encrypted)?.body ?? "", "base64");
}

/** The value of an opened plaintext in base64, or CANNOT_OPEN. */
export function openedValue(plaintext: string | undefined): string | KeyrowError {
  try {
    return decodeValue(decodeBase64(plaintext as string));
  } catch {
    return new KeyrowError("CANNOT_OPEN");
  }
}
