import type pg from "pg";

/** A column as the catalogue has it. */
export interface Column {
  readonly name: string;
  /** As SQL writes it, with its schema where that is not pg_catalog: `character varying(255)`. */
  readonly type: string;
  /** What an enum may be; null for another type. */
  readonly labels: readonly string[] | null;
  readonly notNull: boolean;
  /** By default, identity or expression: it need not be given. */
  readonly filled: boolean;
  /** By itself, in every row: a foreign key can point to it. */
  readonly unique: boolean;
  /** The table that it points to, without `public`, and what happens when the row there goes (`c` cascade, `a` nothing). */
  readonly refers: { readonly table: string; readonly onDelete: string } | null;
  /** Whether its default has the login of the session. */
  readonly saysLogin: boolean;
  /** The names of the constraints that check it. */
  readonly checks: readonly string[];
}

/** A policy: of which command (`*` is all), and for whom (`public` is everybody). */
export interface Policy {
  readonly name: string;
  readonly command: string;
  readonly roles: readonly string[];
  /** Permissive policies add up; the others must all say yes. */
  readonly permissive: boolean;
}

/** A table of `public`, or what else has its name. */
export interface Table {
  readonly name: string;
  readonly owner: string;
  /** Not a view, a foreign table or another thing. */
  readonly ordinary: boolean;
  readonly rowSecurity: boolean;
  /** Whether row level security holds for the login that asks. */
  readonly securedHere: boolean;
  readonly readable: boolean;
  readonly columns: readonly Column[];
  readonly policies: readonly Policy[];
  /** Their names, in `public` as the table. */
  readonly indexes: readonly string[];
}

/** A function, and what the check asks of it. */
export interface Routine {
  readonly schema: string;
  readonly name: string;
  /** `uuid, uuid` */
  readonly types: string;
  readonly argumentNames: readonly string[];
  readonly returns: string;
  readonly owner: string;
  readonly definer: boolean;
  readonly searchPath: boolean;
  readonly forEverybody: boolean;
  readonly source: string;
}

/** A sequence that the default of one of the log's columns draws from. */
export interface Sequence {
  readonly column: string;
  readonly schema: string;
  readonly name: string;
  /** Whether keyrow_reveal, which writes the log, may draw from it. */
  readonly usable: boolean;
}

/** A function that the default of one of the log's columns calls. */
export interface Default {
  readonly column: string;
  readonly schema: string;
  readonly name: string;
  /** The types of its arguments, each with its schema first. */
  readonly types: ReadonlyArray<readonly [schema: string, name: string]>;
  /** Whether keyrow_reveal, which writes the log, may execute it. */
  readonly usable: boolean;
}

/** What a function uses with the rights of whoever calls it: a schema to call another in, or a table to read. */
export interface Use {
  readonly routine: string;
  readonly name: string;
  /** Who calls it and lacks the right to it. */
  readonly lacking: readonly string[];
}

/** An enum of `public`. */
export interface Enum {
  readonly name: string;
  readonly owner: string;
  readonly labels: readonly string[];
}

/** What a database is, as far as adopting it depends on it. */
export interface Facts {
  /** As `server_version_num` has it: 150018. */
  readonly version: number;
  readonly login: string;
  readonly uuidOssp: { readonly schema: string | null; readonly available: boolean };
  /** Whether `keyrow setup` has run. */
  readonly setUp: boolean;
  /** Whether `keyrow migrate` has made the functions that policies name. */
  readonly migrated: boolean;
  /** Who owns tables here and may not name what is in the schema keyrow. */
  readonly withoutUsage: readonly string[];
  /** Who owns the schema `public`, where the database's owner may not say who creates in it; else null. */
  readonly publicOwner: string | null;
  /** Whether everybody may create in `public`, and who owns tables here by that right alone. */
  readonly createdByEverybody: readonly string[];
  readonly tables: readonly Table[];
  readonly routines: readonly Routine[];
  readonly enums: readonly Enum[];
  readonly sequences: readonly Sequence[];
  readonly defaults: readonly Default[];
  readonly reach: readonly Use[];
  readonly reads: readonly Use[];
  /** What Keyrow's roles may do, as in `keyrow_owner references users.id`. */
  readonly rights: ReadonlySet<string>;
  /** Other tables of `public` that everybody may read or change. */
  readonly openTables: readonly string[];
  /** Functions of `public` that anybody may run with their owner's rights. */
  readonly openRoutines: readonly string[];
}

/** The names of tables that the check looks at. */
export const tableNames = [
  "users",
  "workspaces",
  "workspace_members",
  "activity_logs",
  "user_credentials",
  "user_credentials_before_keyrow",
] as const;

/** Which of Keyrow's roles call the application's functions. */
export const callers: Readonly<Record<string, readonly string[]>> = {
  current_user_id: ["keyrow_owner", "keyrow_user", "keyrow_reveal", "keyrow_worker", "keyrow_admin"],
  is_workspace_admin: ["keyrow_reveal"],
};

const tables = `
  select c.relname as name, pg_get_userbyid(c.relowner) as owner, c.relkind in ('r', 'p') as ordinary,
    c.relrowsecurity as "rowSecurity", row_security_active(c.oid) as "securedHere",
    has_table_privilege(c.oid, 'select') as readable,
    array(
      select json_build_object(
        'name', a.attname,
        'type', format_type(a.atttypid, a.atttypmod),
        'labels', (select array_agg(e.enumlabel::text) from pg_enum e where e.enumtypid = a.atttypid),
        'notNull', a.attnotnull,
        'filled', a.atthasdef or a.attidentity <> '',
        'saysLogin', exists (
          select from pg_attrdef f
          where f.adrelid = c.oid and f.adnum = a.attnum
            and pg_get_expr(f.adbin, f.adrelid) like '%SESSION_USER%'),
        'checks', array(
          select f.conname::text from pg_constraint f
          where f.conrelid = c.oid and f.contype = 'c' and a.attnum = any (f.conkey) order by 1),
        'unique', exists (
          select from pg_index i
          where i.indrelid = c.oid and i.indisunique and i.indisvalid and i.indimmediate
            and i.indpred is null and i.indnkeyatts = 1 and i.indkey[0] = a.attnum),
        'refers', (
          select json_build_object(
            'table', regexp_replace(f.confrelid::regclass::text, '^public\\.', ''), 'onDelete', f.confdeltype)
          from pg_constraint f
          where f.conrelid = c.oid and f.contype = 'f' and f.conkey = array[a.attnum] order by f.conname limit 1))
      from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
    array(
      select json_build_object('name', p.polname, 'command', p.polcmd, 'permissive', p.polpermissive, 'roles', array(
        select case r when 0 then 'public' else pg_get_userbyid(r)::text end from unnest(p.polroles) r))
      from pg_policy p where p.polrelid = c.oid order by p.polname) as policies,
    array(
      select x.relname::text from pg_index i join pg_class x on x.oid = i.indexrelid
      where i.indrelid = c.oid order by 1) as indexes
  from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relname = any ($1) and c.relkind in ('r', 'p', 'v', 'm', 'f')`;

const routines = `
  select n.nspname as schema, p.proname as name, oidvectortypes(p.proargtypes) as types,
    coalesce(p.proargnames, '{}') as "argumentNames", format_type(p.prorettype, null) as returns,
    pg_get_userbyid(p.proowner) as owner, p.prosecdef as definer,
    coalesce(array_to_string(p.proconfig, ' ') like '%search_path=%', false) as "searchPath",
    exists (
      select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0) as "forEverybody",
    coalesce(p.prosrc, '') || coalesce(pg_get_function_sqlbody(p.oid), '') as source
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where (n.nspname, p.proname) in (
    ('public', 'current_user_id'), ('public', 'is_workspace_admin'),
    ('public', 'update_user_credentials_updated_at'), ('keyrow', 'log_credential_events'), ('keyrow', 'admin_workspace_ids'))`;

const enums = `
  select t.typname as name, pg_get_userbyid(t.typowner) as owner,
    array(select e.enumlabel::text from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder) as labels
  from pg_type t
  where t.typnamespace = 'public'::regnamespace and t.typtype = 'e'
    and t.typname in ('EntityType', 'ActivityAction', 'CredentialType', 'CredentialScope')`;

const server = `
  select current_setting('server_version_num')::int as version, current_user as login,
    (select n.nspname from pg_extension e join pg_namespace n on n.oid = e.extnamespace
     where e.extname = 'uuid-ossp') as "uuidSchema",
    exists (select from pg_available_extensions where name = 'uuid-ossp') as "uuidAvailable",
    9 = (select count(*) from pg_roles where rolname in (
      'keyrow_owner', 'keyrow_authenticator', 'keyrow_user', 'keyrow_anonymous', 'keyrow_reveal', 'keyrow_upkeep',
      'keyrow_worker', 'keyrow_admin', 'keyrow_migrate'))
    and exists (select from pg_namespace where nspname = 'keyrow') as "setUp",
    exists (
      select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      where n.nspname = 'keyrow' and p.proname = 'machine_workspace_id') as migrated`;

// Rights that everybody has count as well: what a role may do is what matters.
const rights = `
  select r.rolname || ' ' || needed.privilege || ' ' || needed.thing as right
  from pg_roles r, (
    select c.relname || '.' || a.attname as thing, p.privilege, c.oid as relation, a.attnum
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped,
    unnest(array['select', 'insert', 'references']) p (privilege)
    where c.relnamespace = 'public'::regnamespace and c.relname = any ($1) and c.relkind in ('r', 'p')
  ) needed
  where r.rolname in ('keyrow_owner', 'keyrow_reveal', 'keyrow_user')
    and has_column_privilege(r.oid, needed.relation, needed.attnum, needed.privilege)
  union all
  select r.rolname || ' execute ' || p.proname
  from pg_roles r, pg_proc p
  where r.rolname in ('keyrow_owner', 'keyrow_user', 'keyrow_reveal', 'keyrow_worker', 'keyrow_admin')
    and p.oid in (to_regprocedure('public.current_user_id()'), to_regprocedure('public.is_workspace_admin(uuid, uuid)'))
    and has_function_privilege(r.oid, p.oid, 'execute')`;

// Of `serial` and of defaults by hand. An identity's needs no right, and depends on its column by itself.
const sequences = `
  select a.attname as column, n.nspname as schema, s.relname as name,
    exists (
      select from pg_roles r
      where r.rolname = 'keyrow_reveal' and has_sequence_privilege(r.oid, s.oid, 'usage, update')) as usable
  from pg_attrdef f
  join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
  join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_class'::regclass
  join pg_class s on s.oid = d.refobjid and s.relkind = 'S'
  join pg_namespace n on n.oid = s.relnamespace
  where f.adrelid = to_regclass('public.activity_logs') order by 1, 2, 3`;

// Of expressions that make a column's value as well. What is PostgreSQL's own is no dependency, and everybody's.
const defaults = `
  select distinct a.attname as column, n.nspname as schema, p.proname as name,
    coalesce((
      select jsonb_agg(jsonb_build_array(tn.nspname, t.typname) order by given.place)
      from unnest(p.proargtypes::oid[]) with ordinality given (type, place)
      join pg_type t on t.oid = given.type join pg_namespace tn on tn.oid = t.typnamespace), '[]') as types,
    has_function_privilege('public', p.oid, 'execute') or exists (
      select from pg_roles r
      where r.rolname = 'keyrow_reveal' and has_function_privilege(r.oid, p.oid, 'execute')) as usable
  from pg_attrdef f
  join pg_attribute a on a.attrelid = f.adrelid and a.attnum = f.adnum
  join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = f.oid and d.refclassid = 'pg_proc'::regclass
  join pg_proc p on p.oid = d.refobjid
  join pg_namespace n on n.oid = p.pronamespace
  where f.adrelid = to_regclass('public.activity_logs') order by 1, 2, 3`;

// What a function calls is in its text alone, and what that calls in its own: all that is named there with a schema.
const called = `
  with recursive called as (
    select p.oid, p.proname::text as routine from pg_proc p
    where p.oid in (
      to_regprocedure('public.current_user_id()'), to_regprocedure('public.is_workspace_admin(uuid, uuid)'))
    union
    select other.oid, c.routine
    from called c join pg_proc p on p.oid = c.oid and not p.prosecdef
    cross join regexp_matches(
      coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), '([[:alnum:]_$]+)"?\\s*\\.\\s*"?([[:alnum:]_$]+)', 'g') written (names)
    join pg_namespace n on n.nspname in (names[1], lower(names[1]))
    join pg_proc other on other.pronamespace = n.oid and other.proname in (names[2], lower(names[2]))
    where n.nspname not in ('pg_catalog', 'information_schema')
  ), callers as (
    select c.routine, caller.role, caller.place
    from jsonb_each($1) c (routine, roles), jsonb_array_elements_text(c.roles) with ordinality caller (role, place)
  )`;

const reach = `${called}
  select c.routine, n.nspname as name, array_agg(caller.role order by caller.place) as lacking
  from (
    select distinct c.routine, p.pronamespace as oid from called c join pg_proc p on p.oid = c.oid
  ) c
  join pg_namespace n on n.oid = c.oid and n.nspname <> 'public'
  join callers caller on caller.routine = c.routine
  where not has_schema_privilege('public', n.oid, 'usage')
    and not exists (
      select from pg_roles r where r.rolname = caller.role and has_schema_privilege(r.oid, n.oid, 'usage'))
  group by 1, 2 order by 1, 2`;

// Of workspace_members, `rights` asks which columns.
const reads = `${called}
  select c.routine, n.nspname || '.' || t.relname as name, array_agg(distinct caller.role) as lacking
  from called c join pg_proc p on p.oid = c.oid and not p.prosecdef
  cross join regexp_matches(
    coalesce(pg_get_function_sqlbody(p.oid), p.prosrc),
    '\\m(?:from|join)\\s+(?:only\\s+)?(?:"?([[:alnum:]_$]+)"?\\s*\\.\\s*)?"?([[:alnum:]_$]+)', 'gi') written (names)
  join pg_class t on t.relname in (names[2], lower(names[2])) and t.relkind in ('r', 'p', 'v', 'm', 'f')
  join pg_namespace n on n.oid = t.relnamespace and n.nspname in (coalesce(names[1], 'public'), lower(names[1]))
  join callers caller on caller.routine = c.routine
  where (n.nspname, t.relname) <> ('public', 'workspace_members')
    and n.nspname not in ('pg_catalog', 'information_schema')
    and not has_table_privilege('public', t.oid, 'select')
    and not exists (
      select from pg_roles r where r.rolname = caller.role and has_any_column_privilege(r.oid, t.oid, 'select'))
  group by 1, 2 order by 1, 2`;

const publicOwner = `
  select pg_get_userbyid(n.nspowner) as name
  from pg_namespace n, pg_database d
  where n.nspname = 'public' and d.datname = current_database() and not pg_has_role(d.datdba, n.nspowner, 'USAGE')
    and (
      exists (select from aclexplode(n.nspacl) where grantee = 0 and privilege_type = 'CREATE')
      or not exists (
        select from pg_roles r
        where r.rolname = 'keyrow_owner' and has_schema_privilege(r.oid, n.oid, 'create with grant option')))`;

const createdByEverybody = `
  select distinct pg_get_userbyid(c.relowner) as name
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = 'public' and c.relkind in ('r', 'p')
    and exists (select from aclexplode(n.nspacl) where grantee = 0 and privilege_type = 'CREATE')
    and not pg_has_role(c.relowner, n.nspowner, 'USAGE')
    and not exists (
      select from aclexplode(n.nspacl)
      where grantee <> 0 and privilege_type = 'CREATE' and pg_has_role(c.relowner, grantee, 'USAGE'))
  order by 1`;

const withoutUsage = `
  select distinct pg_get_userbyid(c.relowner) as name
  from pg_class c join pg_namespace n on n.nspname = 'keyrow'
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    and c.relname in ('users', 'workspaces', 'workspace_members', 'activity_logs')
    and not has_schema_privilege(c.relowner, n.oid, 'usage')
  order by 1`;

const openTables = `
  select c.oid::regclass::text as name from pg_class c
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
    and exists (select from aclexplode(c.relacl) where grantee = 0)
    and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e') order by 1`;

const openRoutines = `
  select p.oid::regprocedure::text as name from pg_proc p
  where p.pronamespace = 'public'::regnamespace and p.prosecdef and p.prorettype <> 'trigger'::regtype
    and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) where grantee = 0)
    and p.proname not in ('current_user_id', 'is_workspace_admin')
    and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e') order by 1`;

/** Reads the catalogue. `client` is in a read-only transaction whose search path is `pg_catalog`, so that all else is named with its schema. */
export async function readFacts(client: pg.ClientBase): Promise<Facts> {
  const read = async <T extends pg.QueryResultRow>(text: string, values?: unknown[]): Promise<T[]> =>
    (await client.query<T>(text, values)).rows;
  const named = async (text: string) => (await read<{ name: string }>(text)).map(({ name }) => name);
  const [it] = await read<{
    version: number;
    login: string;
    uuidSchema: string | null;
    uuidAvailable: boolean;
    setUp: boolean;
    migrated: boolean;
  }>(server);
  if (it === undefined) throw new Error("the server says nothing of itself");
  return {
    version: it.version,
    login: it.login,
    uuidOssp: { schema: it.uuidSchema, available: it.uuidAvailable },
    setUp: it.setUp,
    migrated: it.migrated,
    withoutUsage: await named(withoutUsage),
    publicOwner: (await named(publicOwner))[0] ?? null,
    createdByEverybody: await named(createdByEverybody),
    tables: await read<Table>(tables, [tableNames]),
    routines: await read<Routine>(routines),
    enums: await read<Enum>(enums),
    sequences: await read<Sequence>(sequences),
    defaults: await read<Default>(defaults),
    reach: await read<Use>(reach, [JSON.stringify(callers)]),
    reads: await read<Use>(reads, [JSON.stringify(callers)]),
    rights: new Set((await read<{ right: string }>(rights, [tableNames])).map(({ right }) => right)),
    openTables: await named(openTables),
    openRoutines: await named(openRoutines),
  };
}
