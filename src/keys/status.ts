import type pg from "pg";
import type { Cipher, KeyState } from "../cipher/cipher.ts";
import { countByKey } from "../reseal/rows.ts";

/** A key that rows are sealed under. */
export interface KeyInUse {
  readonly keyId: string;
  readonly rows: number;
  /** When the oldest and the newest of its values were given; null where it has none yet. */
  readonly oldest: Date | null;
  readonly newest: Date | null;
  readonly state: KeyState;
  /** Whether new values are sealed under it. */
  readonly seals: boolean;
}

/** A row whose value does not open here. */
export interface LostRow {
  readonly id: string;
  readonly keyId: string;
  readonly state: KeyState;
  readonly scope: string;
  readonly provider: string;
  readonly name: string;
  readonly userId: string;
  readonly workspaceId: string | null;
}

/** Every key id in use, as a DB admin sees them, and `current`, the one that seals now, where that can be told. */
export async function keysInUse(
  client: pg.ClientBase,
  cipher: Pick<Cipher, "state">,
  current: string | undefined,
): Promise<KeyInUse[]> {
  const { rows } = await client.query<{ key_id: string; rows: string; oldest: Date; newest: Date }>(`
    select key_id, count(*) as rows, min(coalesce(rotated_at, created_at)) as oldest,
      max(coalesce(rotated_at, created_at)) as newest
    from public.user_credentials group by key_id order by key_id`);
  const found = rows.map(({ key_id: keyId, rows: count, oldest, newest }) => ({
    keyId,
    rows: Number(count),
    oldest,
    newest,
    state: cipher.state(keyId),
    seals: keyId === current,
  }));
  if (current === undefined || found.some(({ seals }) => seals)) return found;
  return [...found, { keyId: current, rows: 0, oldest: null, newest: null, state: "held", seals: true }];
}

/** The rows under some keys, by provider and name. */
export async function rowsUnder(
  client: pg.ClientBase,
  cipher: Pick<Cipher, "state">,
  keyIds: readonly string[],
): Promise<LostRow[]> {
  const { rows } = await client.query<Omit<LostRow, "state">>(
    `select id::text, key_id as "keyId", scope::text, provider, name, user_id::text as "userId",
       workspace_id::text as "workspaceId"
     from public.user_credentials where key_id = any ($1) order by provider, name, id`,
    [keyIds],
  );
  return rows.map((row) => ({ ...row, state: cipher.state(row.keyId) }));
}

/** How many rows need a key, and how many an older version of the same Transit key. */
export async function countRows(client: pg.ClientBase, needs: (keyId: string) => boolean): Promise<number> {
  return [...(await countByKey(client))].reduce((sum, [keyId, rows]) => (needs(keyId) ? sum + rows : sum), 0);
}
