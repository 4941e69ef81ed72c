import type pg from "pg";
import { KeyrowError } from "../errors.ts";
import { UUID } from "../uuid.ts";

/** The id of a workspace by id, or by a name that one alone has, as a DB admin sees them; throws NOT_FOUND and CONFLICT. */
export async function knownWorkspace(client: pg.ClientBase, idOrName: string): Promise<string> {
  // The foreign key knows whether there is one, whoever may read the table.
  if (UUID.test(idOrName)) return idOrName.toLowerCase();
  if (!(await namesAreReadable(client))) {
    throw new KeyrowError("VALIDATION", {
      message:
        "Workspaces can't be looked up by name here: keyrow_admin may not read id and name of public.workspaces.",
      hint: "Give the workspace's id, a UUID.",
    });
  }
  const { rows } = await client.query<{ id: string }>(
    "select id::text from public.workspaces where name::text = $1 order by 1 limit 2",
    [idOrName],
  );
  const [found, another] = rows;
  if (another !== undefined) {
    throw new KeyrowError("CONFLICT", {
      message: "Several workspaces have this name.",
      hint: "Give the workspace's id, a UUID.",
    });
  }
  if (found === undefined) throw unknownWorkspace();
  return found.id;
}

/** NOT_FOUND, for a workspace that somebody named. */
export function unknownWorkspace(): KeyrowError {
  return new KeyrowError("NOT_FOUND", {
    message: "No workspace has this id or name.",
    hint: "An id is a UUID; names are compared letter by letter.",
  });
}

/** Whether workspaces have names that keyrow_admin may read: an application's own may lack them, or hide both. */
export async function namesAreReadable(client: pg.ClientBase): Promise<boolean> {
  const { rowCount } = await client.query(`
    select from pg_catalog.pg_attribute
    where attrelid = 'public.workspaces'::regclass and attname in ('id', 'name') and not attisdropped
      and has_column_privilege(attrelid, attnum, 'select')`);
  return rowCount === 2;
}
