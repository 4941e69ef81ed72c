import type pg from "pg";
import { KeyrowError } from "./errors.ts";

/** A task at the database, the login that is made for it, and what that login may become. */
export interface Task {
  /** As a sentence about it begins. */
  readonly name: string;
  readonly login: string;
  readonly mayBecome: readonly string[];
}

/** What the server's requests do; `checkRights` knows more of its login. */
export const serving: Task = {
  name: "The server",
  login: "keyrow_authenticator",
  mayBecome: ["keyrow_user", "keyrow_anonymous"],
};
export const migrating: Task = {
  name: "Migrations",
  login: "keyrow_migrate",
  mayBecome: ["keyrow_owner", "keyrow_reveal", "keyrow_upkeep", "keyrow_worker"],
};
export const working: Task = { name: "The worker", login: "keyrow_worker", mayBecome: [] };

/** From 16 on whoever takes a membership `m` back has to say who gave it, unless a superuser did: SQL for that. */
export const grantor = "case when m.grantor <> 10 then format(' granted by %s', m.grantor::regrole) end";

/** What makes a role strong: its column in `pg_roles`, what that means, and what takes it away. */
export const attributes = [
  { column: "rolsuper", means: "is a superuser", taken: "nosuperuser" },
  { column: "rolbypassrls", means: "bypasses row level security", taken: "nobypassrls" },
  { column: "rolcreaterole", means: "may make roles and let itself into others", taken: "nocreaterole" },
  { column: "rolcreatedb", means: "may make databases", taken: "nocreatedb" },
  { column: "rolreplication", means: "may replicate the whole server", taken: "noreplication" },
] as const;

// The login, what it may become, and whose rights Keyrow's functions run with; those of a seam may be an application's. A superuser may become anybody, which tells nothing.
const rolesQuery = `
  select r.rolname::text as name, quote_ident(r.rolname) as quoted, r.rolname = session_user as "isLogin",
    me.reaches as reached, ${attributes.map(({ column }) => `r.${column}`).join(", ")}
  from pg_catalog.pg_roles r, lateral (
    select not l.rolsuper and r.rolname <> 'pg_database_owner' and pg_catalog.pg_has_role(l.oid, r.oid, 'MEMBER') as reaches
    from pg_catalog.pg_roles l where l.rolname = session_user) me
  where r.rolname = session_user or me.reaches or exists (
    select from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
    where n.nspname = 'keyrow' and p.prosecdef and p.proowner = r.oid and starts_with(r.rolname, 'keyrow_'))
  order by r.rolname <> session_user, r.rolname`;

// Where the way to the others begins: the login's own memberships, and those of what it may become.
const surplusQuery = `
  select format('revoke %s from %s%s', m.roleid::regrole, m.member::regrole, ${grantor}) as statement
  from pg_catalog.pg_auth_members m
    join pg_catalog.pg_roles member on member.oid = m.member join pg_catalog.pg_roles role on role.oid = m.roleid
  where (member.rolname = session_user or member.rolname = any ($1)) and role.rolname <> all ($1)
  order by 1`;

/** The attributes of a role, by their columns. */
export type Attributes = Readonly<Record<(typeof attributes)[number]["column"], boolean>>;

type Role = { name: string; quoted: string; isLogin: boolean; reached: boolean } & Attributes;

/**
 * Refuses a login that may do more than its task: by itself, by what it may become, or by the roles whose functions it
 * calls. Throws DATABASE_RIGHTS with the reason and what takes it back.
 */
export async function refuseExcess(client: Pick<pg.ClientBase, "query">, task: Task): Promise<void> {
  const { rows: roles } = await client.query<Role>(rolesQuery);
  const login = roles.find(({ isLogin }) => isLogin)?.name ?? "";
  const others = roles.filter(({ name, isLogin, reached }) => reached && !isLogin && !task.mayBecome.includes(name));
  const strong = roles.filter((role) => !others.includes(role) && had(role).length > 0);
  if (others.length === 0 && strong.length === 0) return;
  const reasons = [
    ...strong.flatMap((role) => told(role).map(({ means }) => `${subject(role)} ${means}`)),
    ...(others.length > 0 ? [`it may become ${others.map(({ name }) => name).join(", ")}`] : []),
  ];
  const { rows: surplus } = await client.query<{ statement: string }>(surplusQuery, [task.mayBecome]);
  const statements = [
    ...strong.map((role) => [`alter role ${role.quoted}`, ...had(role).map(({ taken }) => taken)].join(" ")),
    ...surplus.map(({ statement }) => statement),
  ];
  // Any other login may be what it is for a reason.
  const another = login !== task.login && (others.length > 0 || strong.some(({ isLogin }) => isLogin));
  throw new KeyrowError("DATABASE_RIGHTS", {
    message: `${task.name} can't run as the login ${login}: ${reasons.join("; ")}.`,
    hint: another
      ? `Connect as ${task.login}, whom an admin gives a password.`
      : `Let an admin of the database run: ${statements.join("; ")}.`,
  });
}

/** Those of the attributes that a role has. */
export function had(role: Attributes) {
  return attributes.filter(({ column }) => role[column]);
}

/** A superuser may all the rest as well. */
function told(role: Role) {
  return role.rolsuper ? attributes.slice(0, 1) : had(role);
}

function subject({ name, isLogin, reached }: Role): string {
  if (isLogin) return "it";
  return reached ? `${name}, which it may become,` : `${name}, whose functions it calls,`;
}
