/**
 * What a ciphertext is bound to, field by field: table, column, id, then the row's own context columns.
 * `null` is a field without a value and differs from the empty string.
 */
export type Context = ReadonlyArray<string | null>;

const VERSION = 1;
const LENGTH_BYTES = 4;
const NULL_LENGTH = 0xffff_ffff;

/**
 * The context as bytes: a version byte, then each field as a big-endian 32-bit length and its UTF-8 bytes.
 * The length prefixes keep any two contexts apart: ("github", "aws/x") never reads like ("github/aws", "x").
 */
export function encodeContext(context: Context): Buffer {
  const lengths = context.map((field) => (field === null ? 0 : Buffer.byteLength(field)));
  const bytes = Buffer.allocUnsafe(lengths.reduce((sum, length) => sum + LENGTH_BYTES + length, 1));
  bytes[0] = VERSION;
  let at = 1;
  for (const [index, field] of context.entries()) {
    const length = lengths[index] as number;
    at = bytes.writeUInt32BE(field === null ? NULL_LENGTH : length, at);
    if (field !== null) at += bytes.write(field, at, "utf8");
  }
  return bytes;
}
