import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Logger } from "@graphile/logger";
import { migrate as migrateCommitted } from "graphile-migrate";
import pg from "pg";
import { KeyrowError } from "./errors.ts";
import { packageRoot } from "./root.ts";

/** Where the migrations are: an absolute path. */
export const migrationsFolder = join(packageRoot, "migrations");

/** The logins, and the passwords they are given. */
export interface LoginPasswords {
  readonly keyrow_authenticator: string;
  readonly keyrow_worker: string;
  readonly keyrow_migrate: string;
}

/** A password as PostgreSQL stores it (RFC 5803), so that the password itself is in no statement and no log. */
export function scramVerifier(password: string): string {
  const salt = randomBytes(16);
  const iterations = 4096;
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const hmac = (text: string) => createHmac("sha256", salted).update(text).digest();
  const stored = createHash("sha256").update(hmac("Client Key")).digest("base64");
  return `SCRAM-SHA-256$${iterations}:${salt.toString("base64")}$${stored}:${hmac("Server Key").toString("base64")}`;
}

/** Options of pg's for a server elsewhere: what takes a connection and says nothing is no PostgreSQL. */
export const elsewhere: pg.ClientConfig = { connectionTimeoutMillis: 10_000 };

/** Runs `work` on a connection of its own and closes it, whatever happens; `options` are pg's. */
export async function withConnection<T>(
  url: string,
  work: (client: pg.Client) => Promise<T>,
  options: pg.ClientConfig = {},
): Promise<T> {
  const client = new pg.Client({ connectionString: url, ...options });
  // Without a listener, a connection that is lost between two statements ends the process.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function runFile(url: string, name: string): Promise<void> {
  const text = await readFile(`${migrationsFolder}/${name}`, "utf8");
  await withConnection(url, (client) => client.query(text));
}

/** Makes the roles, and gives the three logins their passwords. `url`: a login with CREATEROLE. */
export async function setUpRoles(url: string, passwords: LoginPasswords): Promise<void> {
  await runFile(url, "roles.sql");
  await withConnection(url, async (client) => {
    for (const [login, password] of Object.entries(passwords)) {
      await client.query(`alter role ${login} password '${scramVerifier(password)}'`);
      // A login may change its own defaults, and so may whoever had its password.
      await client.query(`alter role ${login} reset all`);
    }
    // Those in one database as well.
    const { rows } = await client.query<{ login: string; database: string }>(
      `select r.rolname as login, d.datname as database from pg_catalog.pg_db_role_setting s
       join pg_catalog.pg_roles r on r.oid = s.setrole join pg_catalog.pg_database d on d.oid = s.setdatabase
       where r.rolname = any ($1)`,
      [Object.keys(passwords)],
    );
    for (const { login, database } of rows) {
      await client.query(`alter role ${login} in database ${client.escapeIdentifier(database)} reset all`);
    }
  });
}

/** Makes the database if it is missing; true where it was made. `url`: a login with CREATEDB, in another database. */
export async function createDatabase(url: string, name: string, template = "template1"): Promise<boolean> {
  return withConnection(url, async (client) => {
    const { rowCount } = await client.query("select from pg_catalog.pg_database where datname = $1", [name]);
    if (rowCount !== 0) return false;
    await client.query(
      `create database ${client.escapeIdentifier(name)} template ${client.escapeIdentifier(template)}`,
    );
    return true;
  });
}

/** Does once what a database needs before it can be migrated. `url`: its owner. */
export async function setUpDatabase(url: string): Promise<void> {
  await runFile(url, "database.sql");
}

/** Makes the tables that an application brings, where they are missing. `url`: as `migrate`. */
export async function layFoundation(url: string): Promise<void> {
  await runFile(url, "foundation.sql");
}

/** An address whose sessions are in a role from the start; `reset role` returns there. */
export function asRole(url: string, role: string): string {
  const address = new URL(url);
  address.searchParams.set("options", `-c role=${role}`);
  // A connection string reads `+` as it stands, not as a space.
  return address.href.replaceAll("+", "%20");
}

/** The address of keyrow_migrate that makes everything as keyrow_owner. */
export function asOwner(url: string): string {
  return asRole(url, "keyrow_owner");
}

// What servers and workers ask at their start, and what keeps the log's partitions ahead of the calendar.
const afterwards = `
  grant usage on schema graphile_migrate to keyrow_authenticator, keyrow_worker;
  grant select on graphile_migrate.migrations to keyrow_authenticator, keyrow_worker;
  do $$ begin
    if to_regprocedure('keyrow.extend_activity_logs(integer)') is not null then
      perform keyrow.extend_activity_logs(12);
    end if;
  end $$`;

/** Applies the committed migrations that are not there yet. `url`: keyrow_migrate as the owner (`asOwner`). */
export async function migrate(url: string, progress: (line: string) => void = () => undefined): Promise<void> {
  const logger = new Logger(() => (level, message) => {
    const line = message.replace(/^graphile-migrate: /, "");
    if (level === "info" && line.startsWith("Running migration")) progress(`${line}...`);
  });
  try {
    await migrateCommitted({ connectionString: url, migrationsFolder, logger });
    await withConnection(url, (client) => client.query(afterwards));
  } catch (cause) {
    throw new KeyrowError("MIGRATION_FAILED", { cause });
  }
}
