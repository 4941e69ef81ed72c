import type pg from "pg";
import { KeyrowError } from "./errors.ts";
import { printable } from "./printable.ts";

// Programs and files are those of the server's system user. Before 16, whoever makes roles may grant themselves all that,
// where they may write at all.
const query = `
  select session_user as login,
    array(
      select o.rolname::text from pg_roles o
      where pg_has_role(session_user, o.oid, 'MEMBER') and o.rolname <> session_user
        and (o.rolsuper
          or o.rolname in ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files'))
      order by 1) as others,
    (select o.rolsuper from pg_roles o where o.rolname = session_user) as superuser,
    current_setting('server_version_num')::int < 160000
      and not current_setting('transaction_read_only')::boolean
      and exists (
        select from pg_roles o
        where pg_has_role(session_user, o.oid, 'MEMBER') and o.rolcreaterole) as "makesRoles"`;

interface Reach {
  readonly login: string;
  readonly others: readonly string[];
  readonly superuser: boolean;
  readonly makesRoles: boolean;
}

/**
 * Refuses a login whose rights reach beyond the database. The application's functions run with them, in policies as
 * well, and can undo whatever role was set. `client`: in a transaction whose search path is pg_catalog, in which nothing
 * of the application's has run yet. Throws DATABASE_RIGHTS with this hint.
 */
export async function refuseReach(client: pg.ClientBase, hint: string): Promise<void> {
  const { rows } = await client.query<Reach>(query);
  const { login, others = [], superuser, makesRoles } = rows[0] ?? {};
  const reason = superuser
    ? "is a superuser"
    : others.length > 0
      ? `may become ${others.join(", ")}`
      : makesRoles && "may make roles, and before PostgreSQL 16 give itself all rights but a superuser's";
  if (!reason) return;
  throw new KeyrowError("DATABASE_RIGHTS", {
    message: printable(`The login ${login} ${reason}: the application's functions, which run here, could do the same.`),
    hint,
  });
}
