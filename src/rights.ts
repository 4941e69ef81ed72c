import type pg from "pg";
import { KeyrowError } from "./errors.ts";
import { type Attributes, attributes, grantor, had, refuseExcess, serving } from "./excess.ts";

/** What the migrations let the server's login call, in the schema keyrow. */
const callable = [
  "key_census",
  "key_rows",
  "touch",
  "identified_user",
  "provision_identity",
  "identified_machines",
  "is_machine",
];

// What has been granted to the login by name, less what the setup and the migrations grant to the server's. Each as
// `grant` and `revoke` write it.
const grantedToIt = `
  select string_agg(lower(acl.privilege_type), ', ' order by acl.privilege_type)
      || case c.relkind when 'S' then ' on sequence ' else ' on table ' end || format('%I.%I', n.nspname, c.relname)
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
      pg_catalog.aclexplode(c.relacl) acl
    where acl.grantee = r.oid and c.relowner <> r.oid
      and (n.nspname, c.relname, acl.privilege_type) <> ('graphile_migrate', 'migrations', 'SELECT')
    group by c.relkind, n.nspname, c.relname
  union all
  select string_agg(format('%s (%I)', lower(acl.privilege_type), a.attname), ', ' order by a.attnum)
      || ' on table ' || format('%I.%I', n.nspname, c.relname)
    from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace, pg_catalog.aclexplode(a.attacl) acl
    where acl.grantee = r.oid and c.relowner <> r.oid
    group by n.nspname, c.relname
  union all
  select 'execute on routine ' || f.name
    from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace,
      format('%I.%I(%s)', n.nspname, p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid)) f (name),
      pg_catalog.aclexplode(p.proacl) acl
    where acl.grantee = r.oid and p.proowner <> r.oid
      and (n.nspname <> 'keyrow' or p.proname not in (${callable.map((name) => `'${name}'`).join(", ")}))
  union all
  select 'create on schema ' || quote_ident(n.nspname)
    from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) acl
    where acl.grantee = r.oid and n.nspowner <> r.oid and acl.privilege_type = 'CREATE'
  union all
  select lower(acl.privilege_type) || ' on database ' || quote_ident(d.datname)
    from pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) acl
    where d.datname = current_database() and acl.grantee = r.oid and d.datdba <> r.oid
      and acl.privilege_type <> 'CONNECT'
  union all
  select lower(acl.privilege_type) || ' on parameter ' || p.parname
    from pg_catalog.pg_parameter_acl p, pg_catalog.aclexplode(p.paracl) acl where acl.grantee = r.oid`;

const allowed = (role: string) => `${role}::regrole::text in ('keyrow_user', 'keyrow_anonymous')`;

const query = `
  select
    session_user as login,
    quote_ident(session_user) as "quotedLogin",
    ${attributes.map(({ column }) => `r.${column}`).join(", ")},
    -- In this database, whatever it is: tables, schemas, functions, types; or a tablespace. Its default privileges are of
    -- what it would make, and large objects are what anybody may make: neither lets it do more.
    exists (
      select from pg_catalog.pg_shdepend d
      where d.refclassid = 'pg_catalog.pg_authid'::regclass and d.refobjid = r.oid and d.deptype = 'o'
        and d.classid not in (
          'pg_catalog.pg_database'::regclass, 'pg_catalog.pg_default_acl'::regclass, 'pg_catalog.pg_largeobject'::regclass)
        and d.dbid in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
    ) as owner,
    array(
      select quote_ident(d.datname) from pg_catalog.pg_database d where d.datdba = r.oid order by 1
    ) as databases,
    pg_catalog.pg_has_role(r.oid, 'keyrow_user', 'MEMBER') as member,
    pg_catalog.pg_has_role(r.oid, 'keyrow_user', 'USAGE') as inherits,
    array(
      select other.rolname::text from pg_catalog.pg_roles other
      where other.oid <> r.oid
        -- The last is whoever owns the database, which is told as that.
        and other.rolname not in ('keyrow_user', 'keyrow_anonymous', 'pg_database_owner')
        and pg_catalog.pg_has_role(r.oid, other.oid, 'MEMBER')
      order by 1) as others,
    -- Where the way to the others begins: the login's own memberships, and those of what it may become.
    array(
      select format('%s from %s%s', m.roleid::regrole, m.member::regrole, ${grantor})
      from pg_catalog.pg_auth_members m
      where (m.member = r.oid or ${allowed("m.member")}) and not ${allowed("m.roleid")}
      order by 1) as surplus,
    -- From 16 on a membership inherits or not by itself, whatever its login does; before, it has no such column.
    array(
      select format('%s to %s with inherit false%s', m.roleid::regrole, m.member::regrole, ${grantor})
      from pg_catalog.pg_auth_members m
      where m.member = r.oid and ${allowed("m.roleid")} and (to_jsonb(m) ->> 'inherit_option')::boolean
      order by 1) as inheriting,
    -- Who may give away what they are.
    array(
      select format('%s from %s%s', m.roleid::regrole, m.member::regrole, ${grantor})
      from pg_catalog.pg_auth_members m
      where (m.member = r.oid or ${allowed("m.member")}) and ${allowed("m.roleid")} and m.admin_option
      order by 1) as giving,
    array(${grantedToIt} order by 1) as granted
  from pg_catalog.pg_roles r where r.rolname = session_user`;

interface Rights extends Attributes {
  readonly login: string;
  readonly quotedLogin: string;
  readonly owner: boolean;
  readonly databases: readonly string[];
  readonly member: boolean;
  readonly inherits: boolean;
  readonly others: readonly string[];
  readonly surplus: readonly string[];
  readonly inheriting: readonly string[];
  readonly giving: readonly string[];
  readonly granted: readonly string[];
}

/** Refuses a login that may do more than a server needs: throws DATABASE_RIGHTS with what is too much and the remedy. */
export async function checkRights(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<Rights>(query);
  const [rights] = rows;
  if (rights === undefined) throw new KeyrowError("DATABASE_RIGHTS");
  const wrong = reasons(rights);
  // Of the login nothing is left to refuse: what is, is in the roles that it may become.
  if (wrong.length === 0) return refuseExcess(pool, serving);
  throw new KeyrowError("DATABASE_RIGHTS", {
    message: `The server can't run as the login ${rights.login}: ${wrong.join("; ")}.`,
    hint: remedy(rights),
  });
}

function reasons(it: Rights): string[] {
  return [
    ...had(it).map(({ means }) => `it ${means}`),
    it.owner && "it owns things in the database",
    it.databases.length > 0 && `it owns the database ${some(it.databases, ", ")}`,
    // A superuser may become anybody: the list would tell nothing.
    !it.rolsuper && it.others.length > 0 && `it may become ${it.others.join(", ")}`,
    it.giving.length > 0 && `it may let others be ${[...new Set(it.giving.map(roleOf))].join(", ")}`,
    it.granted.length > 0 && `it has rights of its own: ${some(it.granted, ", ")}`,
    !it.member && "it may not become keyrow_user",
    it.member && it.inherits && "it inherits the rights of keyrow_user",
  ].filter((reason) => reason !== false);
}

/** For the server's own login, what makes it right again; any other may be what it is for a reason. */
function remedy(it: Rights): string {
  if (it.login !== "keyrow_authenticator")
    return "Connect as keyrow_authenticator, or as a login with its rights alone.";
  const taken = had(it).map((attribute) => attribute.taken);
  const statements = [
    taken.length > 0 && `alter role ${it.quotedLogin} ${taken.join(" ")}`,
    ...it.surplus.map((membership) => `revoke ${membership}`),
    ...it.giving.map((membership) => `revoke admin option for ${membership}`),
    ...it.granted.map((right) => `revoke ${right} from ${it.quotedLogin}`),
    ...it.databases.map((name) => `alter database ${name} owner to whoever should own it`),
    it.owner && `reassign owned by ${it.quotedLogin} to whoever should own it`,
    !it.member && `grant keyrow_user to ${it.quotedLogin}`,
    it.member && it.inherits && !it.rolsuper && `alter role ${it.quotedLogin} noinherit`,
    ...it.inheriting.map((membership) => `grant ${membership}`),
  ].filter((statement) => statement !== false);
  if (statements.length === 0)
    return "Make the login anew: drop it, and let an admin run `keyrow setup --print` again.";
  return `Let an admin of the database run: ${some(statements, "; ")}.`;
}

/** The role of a membership as the query writes it: `<role> from <member>`. */
function roleOf(membership: string): string {
  return membership.split(" from ", 1)[0] as string;
}

const MOST_NAMED = 5;

function some(texts: readonly string[], separator: string): string {
  const more = texts.length - MOST_NAMED;
  return [...texts.slice(0, MOST_NAMED), ...(more > 0 ? [`and ${more} more`] : [])].join(separator);
}
