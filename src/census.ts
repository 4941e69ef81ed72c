import type pg from "pg";
import { type Cipher, isHeld } from "./cipher/cipher.ts";
import { KeyrowError } from "./errors.ts";

/** A key that rows are sealed under and the ring doesn't hold. */
export interface MissingKey {
  readonly keyId: string;
  readonly credentials: number;
}

// It reads every row.
const census: pg.QueryConfig & pg.ClientConfig = {
  text: "select * from keyrow.key_census()",
  query_timeout: 10 * 60_000,
};

/** The keys that rows need and the cipher doesn't hold. */
export async function missingKeys(pool: pg.Pool, cipher: Cipher): Promise<MissingKey[]> {
  const { rows } = await pool.query<{ key_id: string; credentials: string }>(census);
  return rows
    .filter(({ key_id }) => !isHeld(cipher.state(key_id)))
    .map(({ key_id, credentials }) => ({ keyId: key_id, credentials: Number(credentials) }));
}

/** The refusal to start for want of keys: names each and counts its rows. */
export function keyMissing(missing: readonly MissingKey[]): KeyrowError {
  const list = missing.map(
    ({ keyId, credentials }) => `${keyId} (${credentials} ${credentials === 1 ? "row" : "rows"})`,
  );
  const legacy = missing.some(({ keyId }) => keyId === "legacy");
  const bring = "Bring the key file back that has them, or start";
  return new KeyrowError("KEY_MISSING", {
    message: `Rows are sealed under keys that are not in the key ring: ${list.join(", ")}.`,
    // No key of the server's own opens what another application has sealed.
    hint: `${legacy ? "Start" : bring} without these values: KEYROW_ALLOW_MISSING_KEYS=on.`,
  });
}
