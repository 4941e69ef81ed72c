import type pg from "pg";
import { KeyrowError } from "./errors.ts";

const query = `
  select
    session_user as login,
    r.rolsuper as superuser,
    r.rolbypassrls as bypass,
    exists (select from pg_catalog.pg_class c where c.relowner = r.oid) as owner,
    pg_catalog.pg_has_role(r.oid, 'keyrow_user', 'MEMBER') as member,
    pg_catalog.pg_has_role(r.oid, 'keyrow_user', 'USAGE') as inherits,
    array(
      select other.rolname::text from pg_catalog.pg_roles other
      where other.oid <> r.oid
        and other.rolname not in ('keyrow_user', 'keyrow_anonymous')
        and pg_catalog.pg_has_role(r.oid, other.oid, 'MEMBER')
      order by 1) as others
  from pg_catalog.pg_roles r where r.rolname = session_user`;

/** Refuses a login that may do more than a server needs: throws DATABASE_RIGHTS with what is too much and the remedy. */
export async function checkRights(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query(query);
  const { login, superuser, bypass, owner, member, inherits, others } = rows[0];
  const wrong = [
    superuser && "it is a superuser",
    bypass && "it bypasses row level security",
    owner && "it owns tables",
    // A superuser may become anybody: the list would tell nothing.
    !superuser && others.length > 0 && `it may become ${others.join(", ")}`,
    !member && "it may not become keyrow_user",
    member && inherits && "it inherits the rights of keyrow_user",
  ].filter((reason) => reason !== false);
  if (wrong.length === 0) return;
  throw new KeyrowError("DATABASE_RIGHTS", {
    message: `The server can't run as the login ${login}: ${wrong.join("; ")}.`,
    hint: "Connect as keyrow_authenticator, or as a login with its rights alone.",
  });
}
