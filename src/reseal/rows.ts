import type pg from "pg";
import type { Sealed } from "../cipher/cipher.ts";

/** A row as the worker sees it: a sealed value and what it is bound to. */
export interface Row {
  readonly id: string;
  readonly encrypted_value: string;
  readonly key_id: string;
  readonly scope: string;
  readonly user_id: string;
  readonly workspace_id: string | null;
}

/** A row, and what its value is to become. */
export interface Change {
  readonly row: Row;
  readonly sealed: Sealed;
}

// By the column, and not by the text of the same name that is selected: that has no index, and would be sorted anew
// for every batch.
const read = `
  select c.id::text, c.encrypted_value, c.key_id, c.scope::text, c.user_id::text, c.workspace_id::text
  from public.user_credentials c where c.key_id = $1 and c.id > $2 order by c.id limit $3`;

/** How many rows each key has sealed, by key id. */
export async function countByKey(client: Pick<pg.ClientBase, "query">): Promise<Map<string, number>> {
  const { rows } = await client.query<{ key_id: string; rows: string }>(
    "select key_id, count(*) as rows from public.user_credentials group by key_id order by key_id",
  );
  return new Map(rows.map(({ key_id, rows }) => [key_id, Number(rows)]));
}

/** The next rows of a key behind an id, in the order of their ids. */
export async function readRows(
  client: Pick<pg.Pool, "query">,
  keyId: string,
  { after, limit }: { after: string; limit: number },
): Promise<Row[]> {
  const { rows } = await client.query<Row>({ name: "reseal read", text: read, values: [keyId, after, limit] });
  return rows;
}

// Compare and swap: ciphertext, key, scope and owner together must be what they were, or whoever changed them wins. A row
// that somebody is changing right now is skipped, so that nobody waits for anybody and two of these never lock each other.
// The ids once more as an array: so they are found by index, however many rows there are.
const write = `
  with changes as (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[])
      as change (id, encrypted, key_id, scope, user_id, workspace_id, new_encrypted, new_key_id)
  ),
  free as materialized (
    select c.id from public.user_credentials c where c.id = any ($1) order by c.id for no key update skip locked
  )
  update public.user_credentials c
  set encrypted_value = change.new_encrypted, key_id = change.new_key_id
  from changes change join free using (id)
  where c.id = any ($1)
    and c.id = change.id
    and c.encrypted_value = change.encrypted
    and c.key_id = change.key_id
    and c.scope::text = change.scope
    and c.user_id = change.user_id
    and c.workspace_id is not distinct from change.workspace_id
  returning c.id::text`;

/** Writes what still holds, and gives the ids of those rows; the others were changed meanwhile, or are being changed. */
export async function writeChanges(client: Pick<pg.Pool, "query">, changes: readonly Change[]): Promise<Set<string>> {
  if (changes.length === 0) return new Set();
  const column = (read: (change: Change) => string | null) => changes.map(read);
  const { rows } = await client.query<{ id: string }>({
    // Without a name, so that it is planned for as many rows as it has.
    text: write,
    values: [
      column(({ row }) => row.id),
      column(({ row }) => row.encrypted_value),
      column(({ row }) => row.key_id),
      column(({ row }) => row.scope),
      column(({ row }) => row.user_id),
      column(({ row }) => row.workspace_id),
      column(({ sealed }) => sealed.encrypted),
      column(({ sealed }) => sealed.keyId),
    ],
  });
  return new Set(rows.map(({ id }) => id));
}
