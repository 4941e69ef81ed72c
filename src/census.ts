import type pg from "pg";
import { type Cipher, isHeld, type KeyState } from "./cipher/cipher.ts";
import { KeyrowError } from "./errors.ts";

/** A key that rows are sealed under and the ring doesn't hold. */
export interface MissingKey {
  readonly keyId: string;
  readonly credentials: number;
  readonly state: KeyState;
  /** The first of them, by id. */
  readonly ids: readonly string[];
}

// It reads every row.
const census: pg.QueryConfig & pg.ClientConfig = {
  text: "select * from keyrow.key_census()",
  query_timeout: 10 * 60_000,
};

/** Missing keys: those of the most rows, and how many more there are. */
export interface MissingKeys {
  readonly keys: readonly MissingKey[];
  readonly more: number;
}

// Whoever may write a row may name a key of its own in each.
const MOST_NAMED = 20;

/** The keys that rows need and the cipher doesn't hold. */
export async function missingKeys(pool: pg.Pool, cipher: Cipher): Promise<MissingKeys> {
  const { rows } = await pool.query<{ key_id: string; credentials: string }>(census);
  const missing = rows
    .filter(({ key_id }) => !isHeld(cipher.state(key_id)))
    .sort((a, b) => Number(b.credentials) - Number(a.credentials));
  const named = missing.slice(0, MOST_NAMED);
  const keys = await Promise.all(
    named.map(async ({ key_id: keyId, credentials }) => {
      const first = await pool.query<{ id: string }>("select id::text from keyrow.key_rows($1) as id", [keyId]);
      const ids = first.rows.map(({ id }) => id);
      return { keyId, credentials: Number(credentials), state: cipher.state(keyId), ids };
    }),
  );
  return { keys, more: missing.length - named.length };
}

const why: Readonly<Partial<Record<KeyState, string>>> = {
  "too-new": "newer than OpenBao's, which is of an older backup",
  replaced: "OpenBao has another key of this name, made later",
  retired: "retired",
};

/** The refusal to start for want of keys: names them and counts their rows. */
export function keyMissing({ keys, more }: MissingKeys): KeyrowError {
  const list = keys.map(({ keyId, credentials, state, ids }) => {
    const rows = `${credentials} ${credentials === 1 ? "row" : "rows"}: ${ids.join(", ")}${credentials > ids.length ? ", ..." : ""}`;
    const reason = why[state];
    return `${keyId} (${reason === undefined ? "" : `${reason}; `}${rows})`;
  });
  const legacy = keys.some(({ keyId }) => keyId === "legacy");
  const bring = "Bring the key file or OpenBao's state back that has them, or start";
  return new KeyrowError("KEY_MISSING", {
    message: `Rows are sealed under keys that are not in the key ring: ${[...list, ...(more > 0 ? [`and ${more} more keys`] : [])].join("; ")}.`,
    // No key of the server's own opens what another application has sealed.
    hint: `${legacy ? "Move legacy rows with `keyrow rewrap --from-legacy`, or start" : bring} without these values: KEYROW_ALLOW_MISSING_KEYS=on. \`keyrow keys status --rows\` lists them.`,
  });
}
