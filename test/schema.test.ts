import test from "ava";
import { createTestDatabase } from "./helpers/database.ts";
import { templateName } from "./helpers/template.ts";
import { ids, inWorld, type Persona, rolledBack } from "./policies/world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");

// ------------------------------------------------------------------------------------------ rules, asked of the catalogue

/** What is Keyrow's: tables of its roles in its two schemas; partitions are told apart by `relispartition`. */
const tables = `
  select c.*, c.oid::regclass::text as name from pg_catalog.pg_class c
  where c.relnamespace in ('public'::regnamespace, 'keyrow'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
    and pg_get_userbyid(c.relowner) like 'keyrow\\_%'`;
/** Its functions: whatever is there and came with no extension. */
const functions = `
  select p.*, p.oid::regprocedure::text as name from pg_catalog.pg_proc p
  where p.pronamespace in ('public'::regnamespace, 'keyrow'::regnamespace)
    and not exists (select from pg_catalog.pg_depend d where d.objid = p.oid and d.deptype = 'e')`;
const policies = `
  select p.*, p.polname || ' on ' || p.polrelid::regclass as name,
    concat(pg_get_expr(p.polqual, p.polrelid), ' ', pg_get_expr(p.polwithcheck, p.polrelid)) as expression
  from pg_catalog.pg_policy p`;
const types = `
  select t.*, t.oid::regtype::text as name from pg_catalog.pg_type t
  where t.typnamespace in ('public'::regnamespace, 'keyrow'::regnamespace) and t.typtype in ('e', 'd', 'r')`;
const roles = `select r.*, r.rolname as name from pg_catalog.pg_roles r where r.rolname like 'keyrow\\_%'`;

/** A rule about the schema: a query that names what breaks it, and something that would. */
interface Rule {
  readonly offenders: string;
  readonly breach: string;
}

const aFunction =
  "create function keyrow.breach() returns int language sql as 'select 1'; alter function keyrow.breach() owner to keyrow_owner";
const aTable = "create table public.breach (id int); alter table public.breach owner to keyrow_owner";

const rules: Record<string, Rule> = {
  "every table has row level security, and forces it on its owner": {
    offenders: `select name from (${tables}) t where relkind in ('r', 'p') and not (relrowsecurity and relforcerowsecurity)`,
    breach: "alter table public.users no force row level security",
  },
  "there is no view: it would read with its owner's rights": {
    offenders: `select name from (${tables}) t where relkind in ('v', 'm')`,
    breach: "create view public.breach as select 1; alter view public.breach owner to keyrow_owner",
  },
  "every backslash in a function stands in E'': elsewhere the asking session says what it means": {
    offenders: `select name from (${functions}) p
      where pg_get_userbyid(proowner) like 'keyrow\\_%'
        and position('\\' in regexp_replace(prosrc, 'E''[^'']*''', '', 'g')) > 0`,
    breach: `create function keyrow.breach() returns boolean language sql as $$ select 'a' ~ '\\w' $$;
      alter function keyrow.breach() owner to keyrow_owner`,
  },
  "every policy has a comment": {
    offenders: `select name from (${policies}) p where obj_description(oid, 'pg_policy') is null`,
    breach: "create policy breach on public.users to keyrow_user using (false)",
  },
  "every permissive policy says to whom": {
    offenders: `select name from (${policies}) p where polpermissive and 0 = any (polroles)`,
    breach: "alter policy users_select_self on public.users to public",
  },
  "every policy for a role names one of Keyrow's": {
    offenders: `select name from (${policies}) p where exists (
      select from unnest(polroles) r where r <> 0 and pg_get_userbyid(r) not like 'keyrow\\_%')`,
    breach: "alter policy users_select_self on public.users to postgres",
  },
  "every policy that lets write says what may be written": {
    offenders: `select name from (${policies}) p where polcmd in ('*', 'a', 'w') and polwithcheck is null`,
    breach: "create policy breach on public.users for update to keyrow_user using (true)",
  },
  "policies call functions once per statement: (select f()), never f()": {
    offenders: `select name from (${policies}) p
      where regexp_replace(expression, 'SELECT (public\\.|keyrow\\.)?\\w+\\((''\\w+''::text)?\\)', '', 'g')
        ~ '\\m(current_user_id|is_workspace_admin|is_unlimited|limits|limit_patterns|machine_workspace_id|current_setting|\\w+_ids)\\('`,
    breach: "alter policy users_select_self on public.users using (id = current_user_id())",
  },
  // A restrictive policy finds no rows: it looks at those that another has found.
  "every column that a permissive policy asks about leads an index": {
    offenders: `
      select distinct p.name || ': ' || a.attname as name
      from (${policies}) p
      join pg_depend d on d.classid = 'pg_policy'::regclass and d.objid = p.oid
        and d.refclassid = 'pg_class'::regclass and d.refobjid = p.polrelid and d.refobjsubid > 0
      join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
      where p.polpermissive
        and not exists (select from pg_index i where i.indrelid = p.polrelid and i.indkey[0] = a.attnum)`,
    breach: "alter policy users_select_self on public.users using (name = 'Ana')",
  },
  // A function with a body in SQL's own syntax looked its names up when it was made.
  "every function has a search path that ends in pg_temp, or needs none": {
    offenders: `select name from (${functions}) f where prosqlbody is null and not coalesce(
      (select setting ~ '^search_path=(.*, )?pg_temp$' from unnest(proconfig) setting where setting ~ '^search_path='), false)`,
    breach: aFunction,
  },
  "every definer has a search path of pg_catalog and pg_temp alone": {
    offenders: `select name from (${functions}) f
      where prosecdef and not coalesce(proconfig @> array['search_path=pg_catalog, pg_temp'], false)`,
    breach: "alter function keyrow.touch(uuid[]) reset all",
  },
  "every definer belongs to keyrow_reveal or keyrow_upkeep, never to the tables' owner": {
    offenders: `select name from (${functions}) f
      where prosecdef and pg_get_userbyid(proowner) not in ('keyrow_reveal', 'keyrow_upkeep')`,
    breach: "alter function keyrow.touch(uuid[]) owner to keyrow_owner",
  },
  "no function is executable by everybody": {
    offenders: `select name from (${functions}) f
      where exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) where grantee = 0)`,
    breach: "grant execute on function keyrow.touch(uuid[]) to public",
  },
  "everybody has no right on a table": {
    offenders: `select name from (${tables}) t where exists (select from aclexplode(relacl) where grantee = 0)`,
    breach: "grant select on public.users to public",
  },
  "everybody has no right on a column": {
    offenders: `select t.name || '.' || a.attname as name from (${tables}) t join pg_attribute a on a.attrelid = t.oid
      where exists (select from aclexplode(a.attacl) where grantee = 0)`,
    breach: "grant select (id) on public.users to public",
  },
  "everybody has no right on a schema, but to use public": {
    offenders: `select nspname || ': ' || privilege_type as name from pg_namespace, aclexplode(nspacl)
      where nspname in ('public', 'keyrow') and grantee = 0 and (nspname, privilege_type) <> ('public', 'USAGE')`,
    breach: "grant create on schema public to public",
  },
  "no API role may make anything in a schema": {
    offenders: `select r.name || ' in ' || n.nspname as name from (${roles}) r, pg_namespace n
      where r.name not in ('keyrow_owner', 'keyrow_migrate') and n.nspname !~ '^pg_temp|^pg_toast'
        and has_schema_privilege(r.oid, n.oid, 'create')`,
    breach: "grant create on schema keyrow to keyrow_user",
  },
  "the database lets nobody make temporary tables": {
    offenders: `select datname as name from pg_database
      where datname in (current_database(), '${templateName}')
        and exists (select from aclexplode(datacl) where grantee = 0 and privilege_type = 'TEMPORARY')`,
    breach: `grant temporary on database ${database.name} to public`,
  },
  "default privileges give everybody no function": {
    offenders: `select r.name from (${roles}) r
      where r.name in ('keyrow_owner', 'keyrow_reveal', 'keyrow_upkeep') and not exists (
        select from pg_default_acl d where d.defaclrole = r.oid and d.defaclobjtype = 'f' and d.defaclnamespace = 0
          and not exists (select from aclexplode(d.defaclacl) where grantee = 0))`,
    breach: "alter default privileges for role keyrow_owner grant execute on functions to public",
  },
  "no role that may log in owns anything": {
    offenders: `
      select r.name || ': ' || d.classid::regclass as name from (${roles}) r
      join pg_shdepend d on d.refclassid = 'pg_authid'::regclass and d.refobjid = r.oid and d.deptype = 'o'
        and d.dbid = (select oid from pg_database where datname = current_database())
      where r.rolcanlogin and d.classid <> 'pg_default_acl'::regclass`,
    breach: "alter table public.users owner to keyrow_worker",
  },
  "no role has an attribute that goes past rights": {
    offenders: `select name from (${roles}) r
      where rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication`,
    breach: "create role keyrow_breach noinherit bypassrls",
  },
  "no role inherits": {
    offenders: `select name from (${roles}) r where rolinherit`,
    breach: "create role keyrow_breach inherit",
  },
  "every role has a comment": {
    offenders: `select name from (${roles}) r where shobj_description(oid, 'pg_authid') is null`,
    breach: "create role keyrow_breach noinherit",
  },
  "every table has a comment": {
    offenders: `select name from (${tables}) t where obj_description(oid, 'pg_class') is null`,
    breach: aTable,
  },
  // A partition's columns are its parent's.
  "every column has a comment": {
    offenders: `select t.name || '.' || a.attname as name from (${tables}) t join pg_attribute a on a.attrelid = t.oid
      where not t.relispartition and a.attnum > 0 and not a.attisdropped and col_description(t.oid, a.attnum) is null`,
    breach: aTable,
  },
  "every function has a comment": {
    offenders: `select name from (${functions}) f where obj_description(oid, 'pg_proc') is null`,
    breach: aFunction,
  },
  "every type has a comment": {
    offenders: `select name from (${types}) t where obj_description(oid, 'pg_type') is null`,
    breach: "create type keyrow.breach as enum ('a')",
  },
  "Keyrow's schema has a comment": {
    offenders: `select 'keyrow' as name where obj_description('keyrow'::regnamespace, 'pg_namespace') is null`,
    breach: "comment on schema keyrow is null",
  },
};

for (const [title, { offenders, breach }] of Object.entries(rules)) {
  test(title, async (t) => {
    const { rows } = await pool.query<{ name: string }>(offenders);
    t.deepEqual(
      rows.map(({ name }) => name),
      [],
    );
  });

  test(`a breach is seen: ${title}`, async (t) => {
    const seen = await rolledBack(pool, async (client) => {
      await client.query("select pg_advisory_xact_lock(1)");
      await client.query(breach);
      return (await client.query(offenders)).rowCount;
    });
    t.true((seen ?? 0) > 0);
  });
}

test("only DB admins execute the function that reveals SYSTEM credentials, its owner aside", async (t) => {
  const { rows } = await pool.query<{ name: string }>(
    `select name from (${roles}) r
     where has_function_privilege(r.oid, 'keyrow.reveal_system_credentials(uuid[])', 'execute') order by 1`,
  );
  t.deepEqual(
    rows.map(({ name }) => name),
    ["keyrow_admin", "keyrow_reveal"],
  );
});

test("who may become whom", async (t) => {
  const { rows } = await pool.query(`
    select pg_get_userbyid(member) as who, pg_get_userbyid(roleid) as becomes, admin_option as admin
    from pg_auth_members where pg_get_userbyid(member) like 'keyrow\\_%' order by 1, 2`);
  t.deepEqual(
    rows.map(({ who, becomes, admin }) => [who, becomes, admin]),
    [
      ["keyrow_authenticator", "keyrow_anonymous", false],
      ["keyrow_authenticator", "keyrow_user", false],
      ["keyrow_migrate", "keyrow_owner", false],
      ["keyrow_migrate", "keyrow_reveal", false],
      ["keyrow_migrate", "keyrow_upkeep", false],
      ["keyrow_migrate", "keyrow_worker", false],
    ],
  );
});

test("who may log in", async (t) => {
  const { rows } = await pool.query<{ name: string }>(`select name from (${roles}) r where rolcanlogin order by 1`);
  t.deepEqual(
    rows.map(({ name }) => name),
    ["keyrow_authenticator", "keyrow_migrate", "keyrow_worker"],
  );
});

test("a membership gives nothing until the role is set", async (t) => {
  const { rows } = await pool.query(`
    select who, pg_has_role(who, becomes, 'usage') as inherits, pg_has_role(who, becomes, 'member') as member
    from (values ('keyrow_authenticator', 'keyrow_user'), ('keyrow_authenticator', 'keyrow_anonymous'),
      ('keyrow_migrate', 'keyrow_owner'), ('keyrow_migrate', 'keyrow_reveal'), ('keyrow_migrate', 'keyrow_upkeep'),
      ('keyrow_migrate', 'keyrow_worker')
    ) as roles (who, becomes)`);
  for (const row of rows) t.like(row, { inherits: false, member: true });
  const { rows: never } = await pool.query(`
    select pg_has_role(who, becomes, 'member') as member
    from (values ('keyrow_authenticator', 'keyrow_reveal'), ('keyrow_authenticator', 'keyrow_worker'),
      ('keyrow_authenticator', 'keyrow_owner'), ('keyrow_authenticator', 'keyrow_admin'),
      ('keyrow_owner', 'keyrow_reveal'), ('keyrow_owner', 'keyrow_worker'), ('keyrow_worker', 'keyrow_user'),
      ('keyrow_authenticator', 'keyrow_upkeep'), ('keyrow_owner', 'keyrow_upkeep'), ('keyrow_worker', 'keyrow_upkeep'),
      ('keyrow_migrate', 'keyrow_admin'), ('keyrow_user', 'keyrow_reveal')
    ) as roles (who, becomes)`);
  for (const row of never) t.like(row, { member: false });
});

// --------------------------------------------------------------------------------------- the specification, to the letter

const table = "'public.user_credentials'::regclass";

test("the columns are the specification's, in its order, and key_id comes last", async (t) => {
  const { rows } = await pool.query(`
    select attname as name, format_type(atttypid, atttypmod) as type, attnotnull as "notNull",
      pg_get_expr(adbin, adrelid) as "default"
    from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
    where attrelid = ${table} and attnum > 0 and not attisdropped order by attnum`);
  t.deepEqual(
    rows.map(({ name, type, notNull, default: value }) => [name, type, notNull, value]),
    [
      ["id", "uuid", true, "uuid_generate_v4()"],
      ["user_id", "uuid", true, null],
      ["workspace_id", "uuid", false, null],
      ["name", "character varying(255)", true, null],
      ["provider", "character varying(100)", true, null],
      ["type", '"CredentialType"', true, null],
      ["scope", '"CredentialScope"', true, `'USER'::"CredentialScope"`],
      ["encrypted_value", "text", true, null],
      ["masked_value", "character varying(20)", false, null],
      ["description", "text", false, null],
      ["expires_at", "timestamp with time zone", false, null],
      ["last_used_at", "timestamp with time zone", false, null],
      ["metadata", "jsonb", true, "'{}'::jsonb"],
      ["is_active", "boolean", true, "true"],
      ["rotated_at", "timestamp with time zone", false, null],
      ["created_at", "timestamp with time zone", true, "now()"],
      ["updated_at", "timestamp with time zone", true, "now()"],
      ["key_id", "text", true, "'legacy'::text"],
    ],
  );
});

/** The values of an enum, in their order. */
async function values(type: string): Promise<string[]> {
  const query = `select enumlabel as label from pg_enum where enumtypid = 'public."${type}"'::regtype order by enumsortorder`;
  return (await pool.query<{ label: string }>(query)).rows.map(({ label }) => label);
}

test("the enums are the specification's", async (t) => {
  t.deepEqual(await values("CredentialType"), [
    "API_KEY",
    "OAUTH_TOKEN",
    "ACCESS_TOKEN",
    "SECRET",
    "PASSWORD",
    "CUSTOM",
  ]);
  t.deepEqual(await values("CredentialScope"), ["USER", "WORKSPACE", "SYSTEM"]);
});

test("the two existing enums are extended, at their ends", async (t) => {
  t.deepEqual((await values("EntityType")).slice(-1), ["CREDENTIAL"]);
  t.deepEqual((await values("ActivityAction")).slice(-4), [
    "CREDENTIAL_CREATED",
    "CREDENTIAL_ACCESSED",
    "CREDENTIAL_ROTATED",
    "CREDENTIAL_REVOKED",
  ]);
});

test("the keys are the specification's, and what else is checked has a name", async (t) => {
  const { rows } = await pool.query(`
    select conname as name, pg_get_constraintdef(oid) as definition, convalidated as valid from pg_constraint
    where conrelid = ${table} and contype in ('p', 'f', 'u', 'c') order by contype desc, conname`);
  const checks = rows.filter(({ definition }) => definition.startsWith("CHECK"));
  t.deepEqual(
    rows.filter((row) => !checks.includes(row)).map(({ name, definition, valid }) => [name, definition, valid]),
    [
      ["user_credentials_pkey", "PRIMARY KEY (id)", true],
      [
        "user_credentials_user_id_fkey",
        "FOREIGN KEY (user_id) REFERENCES users(id) ON UPDATE CASCADE ON DELETE CASCADE",
        true,
      ],
      [
        "user_credentials_workspace_id_fkey",
        "FOREIGN KEY (workspace_id) REFERENCES workspaces(id) ON UPDATE CASCADE ON DELETE CASCADE",
        true,
      ],
    ],
  );
  t.deepEqual(
    checks.map(({ name, valid }) => [name, valid]),
    [
      ["user_credentials_encrypted_value_form", true],
      ["user_credentials_workspace_scope", true],
    ],
  );
});

test("the indexes are the specification's and the five of design.md", async (t) => {
  const { rows } = await pool.query(`
    select indexrelid::regclass::text as name, indisunique as "unique", indisvalid as valid,
      regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '') as definition
    from pg_index where indrelid = ${table} order by 1`);
  t.true(rows.every(({ valid }) => valid));
  t.deepEqual(
    Object.fromEntries(rows.map(({ name, unique, definition }) => [name, `${unique ? "unique " : ""}${definition}`])),
    {
      // The specification's.
      user_credentials_pkey: "unique btree (id)",
      user_credentials_user_id_idx: "btree (user_id)",
      user_credentials_workspace_id_idx: "btree (workspace_id)",
      user_credentials_user_id_scope_idx: "btree (user_id, scope)",
      user_credentials_workspace_id_scope_idx: "btree (workspace_id, scope)",
      user_credentials_scope_is_active_idx: "btree (scope, is_active)",
      user_credentials_user_id_workspace_id_provider_name_key:
        "unique btree (user_id, workspace_id, provider, name) NULLS NOT DISTINCT",
      // Additions.
      user_credentials_workspace_id_provider_name_key: `unique btree (workspace_id, provider, name) WHERE (scope = 'WORKSPACE'::"CredentialScope")`,
      user_credentials_user_id_created_at_idx: "btree (user_id, created_at DESC, id DESC)",
      user_credentials_workspace_id_created_at_idx: "btree (workspace_id, created_at DESC, id DESC)",
      user_credentials_key_id_id_idx: "btree (key_id, id)",
    },
  );
});

test("the specification's three policies have its names, are permissive and for all commands", async (t) => {
  const { rows } = await pool.query(
    `select polname as name, polpermissive as permissive, polcmd as command, array(
        select pg_get_userbyid(r) from unnest(polroles) r order by 1) as roles
     from pg_policy where polrelid = ${table} and polname = any ($1) order by 1`,
    [["user_credentials_owner_bypass", "user_credentials_user_access", "user_credentials_workspace_access"]],
  );
  t.deepEqual(rows, [
    { name: "user_credentials_owner_bypass", permissive: true, command: "*", roles: "{keyrow_admin,keyrow_owner}" },
    { name: "user_credentials_user_access", permissive: true, command: "*", roles: "{keyrow_reveal,keyrow_user}" },
    { name: "user_credentials_workspace_access", permissive: true, command: "*", roles: "{keyrow_reveal,keyrow_user}" },
  ]);
});

test("the trigger and its function have the specification's names and words", async (t) => {
  const { rows } = await pool.query(`
    select pg_get_triggerdef(oid) as definition from pg_trigger
    where tgrelid = ${table} and tgname = 'user_credentials_updated_at'`);
  t.deepEqual(rows, [
    {
      definition:
        "CREATE TRIGGER user_credentials_updated_at BEFORE UPDATE ON public.user_credentials FOR EACH ROW EXECUTE FUNCTION update_user_credentials_updated_at()",
    },
  ]);
  const { rows: bodies } = await pool.query<{ body: string }>(
    "select prosrc as body from pg_proc where oid = 'public.update_user_credentials_updated_at()'::regprocedure",
  );
  t.is(bodies[0]?.body.replaceAll(/\s+/g, " ").trim().toLowerCase(), "begin new.updated_at = now(); return new; end;");
});

// --------------------------------------------------------------------- every function that an API role may execute, called

/** How a function is called, what comes of it without claims, and what with a stranger's. */
interface Call {
  readonly role: "keyrow_user" | "keyrow_authenticator";
  readonly call: string;
  /** An SQLSTATE, or the rows. */
  readonly withoutClaims: unknown;
  readonly asStranger: unknown;
}

const owners = `array['${ids.USER}', '${ids.WORKSPACE}', '${ids.SYSTEM}']::uuid[]`;

const says = (answer: unknown) => ({ withoutClaims: [{ answer }], asStranger: [{ answer }] });

const calls: Record<string, Call> = {
  "current_user_id()": {
    role: "keyrow_user",
    call: "current_user_id()",
    withoutClaims: [{ answer: null }],
    asStranger: [{ answer: ids.stranger }],
  },
  "is_workspace_admin(uuid,uuid)": {
    role: "keyrow_user",
    call: `public.is_workspace_admin('${ids.team}', '${ids.workspaceOwner}')`,
    withoutClaims: "28000",
    asStranger: [{ answer: false }],
  },
  "keyrow.admin_workspace_ids()": {
    role: "keyrow_user",
    call: "keyrow.admin_workspace_ids()",
    withoutClaims: "28000",
    asStranger: [{ answer: ids.otherTeam }],
  },
  "keyrow.member_workspace_ids()": {
    role: "keyrow_user",
    call: "keyrow.member_workspace_ids()",
    withoutClaims: "28000",
    asStranger: [{ answer: ids.otherTeam }],
  },
  "keyrow.co_member_ids()": {
    role: "keyrow_user",
    call: "keyrow.co_member_ids()",
    withoutClaims: "28000",
    asStranger: [{ answer: ids.stranger }],
  },
  "keyrow.provision_user(text,text)": {
    role: "keyrow_user",
    call: "keyrow.provision_user('ana@example.org', 'Stranger')",
    withoutClaims: "28000",
    asStranger: [{ answer: false }],
  },
  "keyrow.reveal_user_credentials(uuid[],bigint)": {
    role: "keyrow_user",
    call: `keyrow.reveal_user_credentials(${owners})`,
    withoutClaims: "28000",
    asStranger: [],
  },
  // What the policies ask of the token's limits, which have nobody's data.
  "keyrow.is_limit(jsonb)": { role: "keyrow_user", call: "keyrow.is_limit('{}')", ...says(true) },
  "keyrow.is_unlimited()": { role: "keyrow_user", call: "keyrow.is_unlimited()", ...says(true) },
  "keyrow.is_within(text[],text,text,uuid)": {
    role: "keyrow_user",
    call: "keyrow.is_within(array[''], 'github', 'mine', null)",
    ...says(false),
  },
  "keyrow.limit_patterns(text)": { role: "keyrow_user", call: "keyrow.limit_patterns('read')", ...says([]) },
  "keyrow.limit_workspace_ids()": {
    role: "keyrow_user",
    call: "keyrow.limit_workspace_ids()",
    withoutClaims: [],
    asStranger: [],
  },
  "keyrow.said_limits()": { role: "keyrow_user", call: "keyrow.said_limits()", ...says(null) },
  "keyrow.token_limits(uuid)": {
    role: "keyrow_user",
    call: `keyrow.token_limits('${ids.token}')`,
    ...says(null),
  },
  "keyrow.visible_tokens()": {
    role: "keyrow_user",
    call: "keyrow.visible_tokens()",
    withoutClaims: "28000",
    asStranger: [],
  },
  "keyrow.create_token(text,jsonb,timestamp with time zone)": {
    role: "keyrow_user",
    call: "(select user_id from keyrow.create_token('x', '{}', now() + interval '1 hour'))",
    withoutClaims: "28000",
    asStranger: [{ answer: ids.stranger }],
  },
  "keyrow.revoke_token(uuid)": {
    role: "keyrow_user",
    call: `keyrow.revoke_token('${ids.token}')`,
    withoutClaims: "28000",
    asStranger: [],
  },
  "keyrow.limits()": { role: "keyrow_user", call: "keyrow.limits()", ...says(null) },
  // The server's own, of which no request has any: counts, the ids of a key's first rows, and no answer at all.
  "keyrow.key_census()": {
    role: "keyrow_authenticator",
    call: "keyrow.key_census()",
    withoutClaims: [{ answer: "(local:20260101-0000000a,3)" }],
    asStranger: [{ answer: "(local:20260101-0000000a,3)" }],
  },
  "keyrow.key_rows(text)": {
    role: "keyrow_authenticator",
    call: "keyrow.key_rows('local:20260101-0000000b')",
    withoutClaims: [],
    asStranger: [],
  },
  "keyrow.identified_user(text,text)": {
    role: "keyrow_authenticator",
    call: "keyrow.identified_user('https://id.example', 'nobody')",
    withoutClaims: [{ answer: null }],
    asStranger: [{ answer: null }],
  },
  // A new user, who is nobody else.
  "keyrow.provision_identity(text,text,jsonb)": {
    role: "keyrow_authenticator",
    call: `keyrow.provision_identity('https://id.example', 'nobody', '{}') not in ('${ids.ana}', '${ids.stranger}')`,
    withoutClaims: [{ answer: true }],
    asStranger: [{ answer: true }],
  },
  "keyrow.identified_machines(text,jsonb)": {
    role: "keyrow_authenticator",
    call: `keyrow.identified_machines('https://id.example', '{"repository": "acme/app"}')`,
    withoutClaims: [],
    asStranger: [],
  },
  "keyrow.is_machine(uuid)": {
    role: "keyrow_authenticator",
    call: `keyrow.is_machine('${ids.ana}')`,
    ...says(false),
  },
  "keyrow.machine_limit()": { role: "keyrow_user", call: "keyrow.machine_limit()", ...says(null) },
  "keyrow.current_machine()": {
    role: "keyrow_user",
    call: "keyrow.current_machine()",
    withoutClaims: [],
    asStranger: [],
  },
  "keyrow.machine_workspace_id()": { role: "keyrow_user", call: "keyrow.machine_workspace_id()", ...says(null) },
  "keyrow.touch(uuid[])": {
    role: "keyrow_authenticator",
    call: `keyrow.touch(${owners})`,
    withoutClaims: [{ answer: null }],
    asStranger: [{ answer: null }],
  },
};

const apiRoles = ["keyrow_user", "keyrow_anonymous", "keyrow_authenticator"];

test("every function that an API role may execute is in the table of calls", async (t) => {
  const { rows } = await pool.query<{ name: string }>(
    `select name from (${functions}) f
     where exists (select from unnest($1::text[]) role where has_function_privilege(role, f.oid, 'execute')) order by 1`,
    [apiRoles],
  );
  t.deepEqual(
    rows.map(({ name }) => name),
    Object.keys(calls).toSorted(),
  );
});

for (const [name, { role, call, withoutClaims, asStranger }] of Object.entries(calls)) {
  const as = (user: string | null): Persona => ({ login: "keyrow_authenticator", role, user });
  const query = `select ${call} as answer`;
  const came = (user: string | null) =>
    inWorld(pool, async (s) => {
      const outcome = await s.try(as(user), query);
      return typeof outcome === "string" ? outcome : s.rows(as(user), query);
    });

  test(`without claims, ${name} raises or answers nothing of anybody's`, async (t) => {
    t.deepEqual(await came(null), withoutClaims);
  });

  test(`a stranger gets nothing of the owner's from ${name}`, async (t) => {
    t.deepEqual(await came(ids.stranger), asStranger);
  });

  test(`only its role executes ${name}`, async (t) => {
    const { rows } = await pool.query<{ role: string }>(
      "select role from unnest($1::text[]) role where has_function_privilege(role, $2::regprocedure, 'execute')",
      [apiRoles, name],
    );
    const may = rows.map((row) => row.role);
    t.deepEqual(may, name === "current_user_id()" ? ["keyrow_user", "keyrow_anonymous"] : [role]);
  });
}
