/**
 * What a ciphertext is bound to, field by field: table, column, id, then the row's own context columns.
 * `null` is a field without a value and differs from the empty string.
 */
export type Context = ReadonlyArray<string | null>;

const VERSION = 1;
const NULL_LENGTH = 0xffff_ffff;

/**
 * The context as bytes: a version byte, then each field as a big-endian 32-bit length and its UTF-8 bytes.
 * The length prefixes keep any two contexts apart: ("github", "aws/x") never reads like ("github/aws", "x").
 */
export function encodeContext(context: Context): Buffer {
  const parts: Buffer[] = [Buffer.of(VERSION)];
  for (const field of context) {
    const length = Buffer.alloc(4);
    const bytes = field === null ? Buffer.alloc(0) : Buffer.from(field, "utf8");
    length.writeUInt32BE(field === null ? NULL_LENGTH : bytes.length);
    parts.push(length, bytes);
  }
  return Buffer.concat(parts);
}
