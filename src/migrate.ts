import type pg from "pg";
import { KeyrowError } from "./errors.ts";
import { migrating, refuseExcess } from "./excess.ts";
import { refuseUnknown, type SchemaVersion, schemaVersion } from "./schema-version.ts";
import { asOwner, elsewhere, migrate, withConnection } from "./setup.ts";
import { unreachable } from "./unreachable.ts";

/** Which migrations a database has. `url`: the login keyrow_migrate. Throws DATABASE_UNREACHABLE and DATABASE_RIGHTS. */
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
    await withConnection(
      url,
      async (client) => {
        await checkMigrator(client);
        await checkSetUp(client);
      },
      elsewhere,
    );
    return await withConnection(asOwner(url), work, elsewhere);
  } catch (error) {
    throw unreachable(url, error) ?? error;
  }
}

/** Refuses a login that can't make what the migrations make, and one that may do more, which nothing would stop anywhere. */
async function checkMigrator(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ login: string; owner: boolean; member: boolean }>(`
    select session_user as login, o.oid is not null as owner,
      -- From 16 on, whoever makes a role is a member of it that may not become it.
      coalesce(pg_catalog.pg_has_role(r.oid, o.oid,
        case when current_setting('server_version_num')::int < 160000 then 'MEMBER' else 'SET' end), false) as member
    from pg_catalog.pg_roles r left join pg_catalog.pg_roles o on o.rolname = 'keyrow_owner'
    where r.rolname = session_user`);
  const [{ login, owner, member } = { login: "", owner: false, member: false }] = rows;
  if (member) return refuseExcess(client, migrating);
  throw new KeyrowError("DATABASE_RIGHTS", {
    message: `Migrations can't run as the login ${login}: it may not become keyrow_owner.`,
    hint: owner
      ? "Connect as keyrow_migrate, whom an admin gives a password."
      : "Run what `keyrow setup --print` prints first, and connect as keyrow_migrate.",
  });
}

/** Refuses a database that was set up before there was what the migrations need by now: roles, and their way into schemas. */
async function checkSetUp(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ lacking: string }>(`
    select name as lacking
    from unnest(array['keyrow_owner', 'keyrow_reveal', 'keyrow_upkeep', 'keyrow_worker']) name
      left join pg_catalog.pg_roles r on r.rolname = name
    where not coalesce(pg_catalog.pg_has_role(session_user, r.oid, 'MEMBER')
      and pg_catalog.has_schema_privilege(r.oid, to_regnamespace('keyrow'), 'USAGE')
      and pg_catalog.has_schema_privilege(r.oid, 'public', 'USAGE'), false)`);
  if (rows.length === 0) return;
  const roles = rows.map(({ lacking }) => lacking).join(", ");
  throw new KeyrowError("DATABASE_RIGHTS", {
    message: `The database is not set up for this version of Keyrow: it lacks ${roles}, or rights of theirs.`,
    hint: "Let the admin who set it up run what `keyrow setup --print` prints now: what is there already stays as it is. Then run this again.",
  });
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
