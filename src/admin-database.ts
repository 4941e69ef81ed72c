import type pg from "pg";
import type { Config } from "./config.ts";
import { createPool } from "./database.ts";
import { withEmbeddedDatabase } from "./embedded-database.ts";
import { KeyrowError } from "./errors.ts";
import { keyrowLogins } from "./logins.ts";
import { refuseReach } from "./reach.ts";
import { readSecrets } from "./secrets.ts";
import { fromDatabaseError } from "./sql-errors.ts";
import { unreachable } from "./unreachable.ts";
import { unknownUser } from "./users.ts";

// As for a request, only that nobody has claims. Until the transaction ends: a pooler may give the session to others.
const settings = `
  set local role keyrow_admin;
  set local jwt.claims.user_id = '';
  set local request.jwt.claims = '';
  set local synchronous_commit = on;
  set local lock_timeout = '30s';
  set local search_path = pg_catalog, public, pg_temp`;

const OWN_LOGIN = "Let an admin of the database run: create role alice login; grant keyrow_admin to alice;";

const STATEMENT_MS = 60_000;

/**
 * Runs `work` in one transaction as keyrow_admin, on the database of ADMIN_DATABASE_URL or, where that is unset, on the
 * embedded one; it is committed to disk when this returns. Throws DATABASE_UNREACHABLE, DATABASE_RIGHTS where the login
 * may not become keyrow_admin or has rights that reach beyond the database, SCHEMA_BEHIND, DATA_DIRECTORY where there is
 * no embedded database yet. `statementMs`: how long one statement may take.
 */
export async function withAdmin<T>(
  config: Config,
  work: (client: pg.ClientBase) => Promise<T>,
  statementMs: number = STATEMENT_MS,
): Promise<T> {
  const { adminDatabaseUrl } = config;
  if (adminDatabaseUrl !== undefined) {
    return connected(adminDatabaseUrl, statementMs, async (client) => {
      await refuseReach(client, OWN_LOGIN);
      return asAdmin(client, work);
    });
  }
  await checkEmbedded(config);
  // Its superuser: what it calls there is Keyrow's own foundation, and who changes that has this login as well.
  return withEmbeddedDatabase(config, (addresses) =>
    connected(addresses.url("postgres"), statementMs, (client) => asAdmin(client, work)),
  );
}

/** Refuses a data directory that was never started: an admin's command makes no database in passing. */
export async function checkEmbedded({ dataDirectory }: Config): Promise<void> {
  if ((await readSecrets(dataDirectory)) !== undefined) return;
  throw new KeyrowError("DATA_DIRECTORY", {
    message: `There is no database yet: the data directory ${dataDirectory} has none.`,
    hint: "Run `keyrow start` once, or set KEYROW_DATA_DIR or ADMIN_DATABASE_URL to where the server's is.",
  });
}

async function connected<T>(url: string, statementMs: number, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  // A function can go on after the server has ended its statement.
  const pool = createPool(url, { max: 1, application_name: "keyrow admin", query_timeout: statementMs * 1.1 });
  try {
    const client = await pool.connect().catch((error: unknown) => {
      throw unreachable(url, error) ?? error;
    });
    // A client that is lost while it is checked out would end the process.
    client.on("error", () => undefined);
    try {
      return await inTransaction(client, statementMs, work);
    } catch (error) {
      throw explained(error);
    } finally {
      // Never to be used again, so that nothing has to be rolled back.
      client.release(true);
    }
  } finally {
    await pool.end();
  }
}

async function inTransaction<T>(
  client: pg.PoolClient,
  statementMs: number,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  // Nothing that the login's or the database's own search path has is called before it is checked.
  await client.query(`
    begin isolation level read committed read write;
    set local search_path = pg_catalog, pg_temp;
    set local statement_timeout = ${statementMs}`);
  const result = await work(client);
  // After an error, PostgreSQL answers `commit` with the tag ROLLBACK and no error.
  const { command } = await client.query("commit");
  if (command !== "COMMIT") throw new KeyrowError("INTERNAL");
  return result;
}

async function asAdmin<T>(client: pg.PoolClient, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
  const { rows } = await client.query<{ login: string }>("select session_user as login");
  await client.query(settings).catch((error: unknown) => {
    throw noAdmin(client, rows[0]?.login ?? "", error) ?? error;
  });
  return work(client);
}

function noAdmin(client: pg.PoolClient, login: string, error: unknown): KeyrowError | undefined {
  const { code } = error as { code?: unknown };
  if (code === "22023") return behind(error);
  if (code !== "42501") return undefined;
  return new KeyrowError("DATABASE_RIGHTS", {
    message: `The login ${login} may not become keyrow_admin.`,
    hint: keyrowLogins.has(login)
      ? "Connect as a login of your own that may become keyrow_admin: the ones that `keyrow setup --print` makes must not."
      : `Let an admin of the database run: grant keyrow_admin to ${client.escapeIdentifier(login)};`,
    cause: error,
  });
}

/** Missing functions, tables, columns, types, schemas or roles. */
const missing = new Set(["42883", "42P01", "42703", "42704", "3F000"]);

function explained(error: unknown): unknown {
  if (error instanceof KeyrowError) return error;
  const { code, constraint } = error as { code?: string; constraint?: unknown };
  if (missing.has(code ?? "")) return behind(error);
  if (constraint === "user_credentials_user_id_fkey") return unknownUser();
  return fromDatabaseError(error) ?? error;
}

function behind(cause: unknown): KeyrowError {
  return new KeyrowError("SCHEMA_BEHIND", {
    message: "The database lacks what this version needs.",
    hint: "Run `keyrow setup --print` and `keyrow migrate` for it; the embedded one is brought up to date by `keyrow start`.",
    cause,
  });
}
