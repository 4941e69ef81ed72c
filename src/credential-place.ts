import type pg from "pg";
import type { Place } from "../plugins/encrypted-columns/seal.ts";
import { parseTag } from "../plugins/encrypted-columns/tag.ts";

/** Where the ciphertexts of credentials are, as the column's comment says it. */
export async function credentialPlace(client: pg.ClientBase): Promise<Place> {
  const { rows } = await client.query<{ comment: string }>(
    `select pg_catalog.col_description(attrelid, attnum) as comment from pg_catalog.pg_attribute
     where attrelid = 'public.user_credentials'::regclass and attname = 'encrypted_value'`,
  );
  const text = /^@encrypted (.*)$/m.exec(rows[0]?.comment ?? "")?.[1] ?? "";
  return { tag: parseTag(text), table: "public.user_credentials", column: "encrypted_value" };
}
