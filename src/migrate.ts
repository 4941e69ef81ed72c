import type pg from "pg";
import { KeyrowError } from "./errors.ts";
import { refuseUnknown, type SchemaVersion, schemaVersion } from "./schema-version.ts";
import { asOwner, migrate, withConnection } from "./setup.ts";
import { unreachable } from "./unreachable.ts";

/** Which migrations a database has. `url`: the login keyrow_migrate. Throws DATABASE_UNREACHABLE. */
export function migrationStatus(url: string): Promise<SchemaVersion> {
  return asMigrator(url, schemaVersion);
}

/** Applies what is pending, as keyrow_owner; gives what was applied. Throws MIGRATION_FAILED and as `migrationStatus`. */
export async function migrateDatabase(url: string, progress: (line: string) => void): Promise<readonly string[]> {
  const { pending, unknown } = await asMigrator(url, async (client) => {
    await checkFoundation(client);
    return schemaVersion(client);
  });
  refuseUnknown(unknown);
  try {
    await migrate(asOwner(url), progress);
  } catch (cause) {
    // What is in the way of the first migrations is what an application has of its own.
    if (!(cause instanceof KeyrowError && cause.code === "MIGRATION_FAILED" && cause.hint === undefined)) throw cause;
    throw new KeyrowError("MIGRATION_FAILED", {
      hint: "Run `keyrow adopt --check`: it names what an application has that is in the way.",
      cause,
    });
  }
  return pending;
}

async function asMigrator<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  try {
    return await withConnection(asOwner(url), work);
  } catch (error) {
    throw unreachable(url, error) ?? error;
  }
}

/** What the specification's migration finds in place; made by nobody but the application or `setup --with-foundation`. */
async function checkFoundation(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ missing: string }>(`
    select name as missing from (values
      ('table users', to_regclass('public.users') is not null),
      ('table workspaces', to_regclass('public.workspaces') is not null),
      ('table workspace_members', to_regclass('public.workspace_members') is not null),
      ('table activity_logs', to_regclass('public.activity_logs') is not null),
      ('function current_user_id()', to_regprocedure('public.current_user_id()') is not null),
      ('function is_workspace_admin(uuid, uuid)', to_regprocedure('public.is_workspace_admin(uuid,uuid)') is not null)
    ) as needed (name, there) where not there`);
  if (rows.length === 0) return;
  throw new KeyrowError("MIGRATION_FAILED", {
    message: `The database has no ${rows.map(({ missing }) => missing).join(", no ")}.`,
    hint: "Bring your application's own (`keyrow adopt --check` says how), or run what `keyrow setup --print --with-foundation` prints.",
  });
}
