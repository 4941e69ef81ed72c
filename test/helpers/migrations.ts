import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmod, copyFile, cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type pg from "pg";
import {
  asOwner,
  createDatabase,
  layFoundation,
  migrationsFolder,
  setUpDatabase,
  withConnection,
} from "../../src/setup.ts";
import { testUrl } from "./database.ts";

const graphileMigrate = fileURLToPath(new URL("../../node_modules/graphile-migrate/dist/cli.js", import.meta.url));
const gmrc = fileURLToPath(new URL("../../.gmrc", import.meta.url));

/** A database with roles and extensions, and nothing of Keyrow's in it. */
export interface BareDatabase {
  readonly name: string;
  /** Its address as keyrow_migrate, in the role of the owner. */
  readonly owner: string;
  /** Its address as the superuser. */
  readonly superuser: string;
  drop(): Promise<void>;
}

/** The address of a database that is not there yet, and the way to drop it. */
function nextDatabase(): BareDatabase {
  const name = `keyrow_test_${randomBytes(6).toString("hex")}`;
  return {
    name,
    owner: asOwner(testUrl("keyrow_migrate", name)),
    superuser: testUrl("postgres", name),
    // Not by force: graphile-migrate keeps its pool for a moment, and ends the process when a connection of it is cut.
    // Postgres waits for it.
    drop: () =>
      withConnection(testUrl("postgres", "postgres"), async (client) => {
        await client.query(`drop database if exists ${name}`);
      }),
  };
}

/** Makes a database that is ready for `foundation.sql` and the migrations. */
export async function createBareDatabase(): Promise<BareDatabase> {
  const database = nextDatabase();
  await createDatabase(testUrl("postgres", "postgres"), database.name);
  await setUpDatabase(database.superuser);
  return database;
}

/** A copy of the migrations, a database to develop in, and the commands of graphile-migrate between them. */
export interface Workshop {
  /** Where the copy is: `migrations/` and `.gmrc` in it. */
  readonly folder: string;
  readonly database: BareDatabase;
  /** Runs a command, on another database if one is given, and gives what it printed; rejects when it fails. */
  run(args: readonly string[], other?: BareDatabase): Promise<string>;
  close(): Promise<void>;
}

/** Makes a workshop in a temporary directory. Its database has the foundation, and no migration. */
export async function openWorkshop(): Promise<Workshop> {
  const folder = await mkdtemp(`${tmpdir()}/keyrow-migrations-`);
  await cp(migrationsFolder, `${folder}/migrations`, { recursive: true });
  await copyFile(gmrc, `${folder}/.gmrc`);
  // A checkout may hold files that can't be written: graphile-migrate makes its own so.
  for (const name of await readdir(`${folder}/migrations/committed`)) {
    await chmod(`${folder}/migrations/committed/${name}`, 0o644);
  }
  const database = await createBareDatabase();
  await layFoundation(database.owner);
  const shadow = nextDatabase();
  const env = {
    PATH: process.env.PATH,
    SHADOW_DATABASE_URL: shadow.owner,
    ROOT_DATABASE_URL: testUrl("postgres", "postgres"),
    FORCE_COLOR: "0",
  };
  return {
    folder,
    database,
    async run(args, other = database) {
      const options = { cwd: folder, env: { ...env, DATABASE_URL: other.owner } };
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [graphileMigrate, ...args], options);
      return stdout + stderr;
    },
    async close() {
      await database.drop();
      await shadow.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** An access control list, in an order of its own, for grants taken and given back change the catalogue's. */
const acl = (list: string) => `(
  select coalesce(jsonb_agg(entry order by entry), '[]') from (
    select concat_ws(' ', case when grantee = 0 then 'public' else pg_get_userbyid(grantee) end, privilege_type,
      is_grantable, 'by', pg_get_userbyid(grantor)) as entry
    from aclexplode(${list})) entries)`;

const ours = "in ('public'::regnamespace, 'keyrow'::regnamespace)";

const queries = {
  functions: `
    select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition, pg_get_userbyid(proowner) as owner,
      ${acl("coalesce(proacl, acldefault('f', proowner))")} as acl, obj_description(p.oid, 'pg_proc') as comment
    from pg_proc p where pronamespace ${ours}
      and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') order by 1`,
  policies: `
    select polrelid::regclass::text as table, polname as name, polcmd as command, polpermissive as permissive,
      array(select case r when 0 then 'public' else pg_get_userbyid(r) end from unnest(polroles) r order by 1)::text as roles,
      pg_get_expr(polqual, polrelid) as using, pg_get_expr(polwithcheck, polrelid) as check,
      obj_description(oid, 'pg_policy') as comment
    from pg_policy order by 1, 2`,
  tables: `
    select c.oid::regclass::text as name, pg_get_userbyid(relowner) as owner, relrowsecurity, relforcerowsecurity,
      ${acl("coalesce(relacl, acldefault('r', relowner))")} as acl, obj_description(c.oid, 'pg_class') as comment
    from pg_class c where relnamespace ${ours} and relkind in ('r', 'p', 'v', 'm') order by 1`,
  columns: `
    select attrelid::regclass::text as table, attname as name, format_type(atttypid, atttypmod) as type, attnotnull,
      pg_get_expr(adbin, adrelid) as default, ${acl("attacl")} as acl, col_description(attrelid, attnum) as comment
    from pg_attribute join pg_class c on c.oid = attrelid left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where relnamespace ${ours} and relkind in ('r', 'p') and attnum > 0 and not attisdropped order by 1, attnum`,
  triggers: `
    select tgrelid::regclass::text as table, tgname as name, pg_get_triggerdef(oid) as definition, tgenabled
    from pg_trigger where not tgisinternal order by 1, 2`,
  constraints: `
    select conrelid::regclass::text as table, conname as name, pg_get_constraintdef(oid) as definition
    from pg_constraint where connamespace ${ours} order by 1, 2`,
  indexes: `
    select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
    from pg_index join pg_class c on c.oid = indrelid where relnamespace ${ours} order by 1`,
  types: `
    select t.oid::regtype::text as name, pg_get_userbyid(typowner) as owner, obj_description(t.oid, 'pg_type') as comment,
      array(select enumlabel from pg_enum where enumtypid = t.oid order by enumsortorder)::text as values
    from pg_type t where typnamespace ${ours} and typtype = 'e' order by 1`,
  schemas: `
    select nspname as name, ${acl("nspacl")} as acl, obj_description(oid, 'pg_namespace') as comment
    from pg_namespace where oid ${ours} order by 1`,
  defaults: `
    select pg_get_userbyid(defaclrole) as role, defaclobjtype as type, ${acl("defaclacl")} as acl
    from pg_default_acl order by 1, 2`,
};

/** What a database's catalogue says of `public` and `keyrow`, for comparison. */
export type Snapshot = Record<keyof typeof queries, pg.QueryResultRow[]>;

/** Takes a snapshot. `url`: any login's that may read the catalogue. */
export async function snapshot(url: string): Promise<Snapshot> {
  return withConnection(url, async (client) => {
    const taken: Partial<Snapshot> = {};
    for (const [name, query] of Object.entries(queries))
      taken[name as keyof Snapshot] = (await client.query(query)).rows;
    return taken as Snapshot;
  });
}
