import type pg from "pg";
import { KeyrowError } from "./errors.ts";
import { UUID } from "./uuid.ts";

/** The id of a user who must exist, by id (a UUID) or e-mail address, as a DB admin sees them; else throws NOT_FOUND. */
export async function knownUser(client: pg.ClientBase, idOrEmail: string): Promise<string> {
  const found = await findUser(client, idOrEmail);
  if (found === undefined) throw unknownUser();
  return found.id;
}

/** NOT_FOUND, for a user that somebody named. */
export function unknownUser(): KeyrowError {
  return new KeyrowError("NOT_FOUND", {
    message: "No user has this id or e-mail address.",
    hint: "An id is a UUID; addresses are compared as they were stored.",
  });
}

/** Which of `id` and `email` keyrow_admin may read: an application's own users may lack the one, and hide both. */
export async function readableUserColumns(client: pg.ClientBase): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ name: string }>(`
    select attname as name from pg_catalog.pg_attribute
    where attrelid = 'public.users'::regclass and attname in ('id', 'email') and not attisdropped
      and has_column_privilege(attrelid, attnum, 'select')`);
  return new Set(rows.map(({ name }) => name));
}

/** Finds a user by id or e-mail address, as a DB admin sees them; undefined where there is none. */
export async function findUser(client: pg.ClientBase, idOrEmail: string): Promise<{ id: string } | undefined> {
  const readable = await readableUserColumns(client);
  const byId = UUID.test(idOrEmail);
  // The foreign key knows whom nobody here may read.
  if (byId && !readable.has("id")) return { id: idOrEmail.toLowerCase() };
  if (!byId && !(readable.has("id") && readable.has("email"))) {
    throw new KeyrowError("VALIDATION", {
      message:
        "Users can't be looked up by e-mail address here: public.users has no column email that keyrow_admin may read.",
      hint: "Name the user by id, a UUID.",
    });
  }
  const { rows } = await client.query<{ id: string }>(
    `select id::text from public.users where ${byId ? "id::text" : "lower(email::text)"} = lower($1) limit 2`,
    [idOrEmail],
  );
  if (rows.length < 2) return rows[0];
  throw new KeyrowError("CONFLICT", {
    message: "Several users have this e-mail address, if upper and lower case are one.",
    hint: "Name the user by id, a UUID.",
  });
}
