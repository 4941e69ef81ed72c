import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { execa } from "execa";
import type pg from "pg";
import { createKeyFile } from "../../src/cipher/keyfile.ts";
import { startEmbedded } from "../../src/embedded/server.ts";
import { withConnection } from "../../src/setup.ts";
import { setupScript } from "../../src/setup-script.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { cli, surroundings } from "../helpers/command.ts";
import { startPostgres15 } from "../helpers/system-postgres.ts";

/** What tokens are signed with. */
export const JWT_SECRET = "a-secret-of-forty-eight-bytes-for-this-test-only";

/** Whom the application's log names where nobody is asking, and the workspace where none is meant. */
export const fallback = {
  user_id: "00000000-0000-4000-8000-0000000000e1",
  workspace_id: "00000000-0000-4000-8000-0000000000e2",
};

/** A PostgreSQL server: addresses of logins on it, by role and database. */
export interface Server {
  url(login: string, database: string): string;
  stop(): Promise<void>;
}

/** An embedded PostgreSQL 18 of a test's own. */
export async function startServer(): Promise<Server> {
  const directory = makeTemporaryDirectory();
  const server = await startEmbedded({
    directory: join(directory, "pg"),
    password: "super",
    settings: { fsync: "off" },
  });
  return {
    url: (login, database) => server.url({ user: login, password: login === "postgres" ? "super" : login }, database),
    async stop() {
      await server.stop();
      await removeWithServers(directory);
    },
  };
}

/** The servers that the whole way is tried on. */
export const servers = { 18: startServer, 15: startPostgres15 };

/** A file beside this one. */
export const sqlFile = (name: string): Promise<string> => readFile(new URL(name, import.meta.url), "utf8");

/** Runs SQL as a login. */
export function run(server: Server, login: string, text: string, database = "app"): Promise<pg.QueryResult> {
  return withConnection(server.url(login, database), (client) => client.query(text));
}

/** The logins of the server: `dba` may make roles and databases, `app_owner` owns the application's tables. No superuser. */
export async function makeApplication(server: Server): Promise<void> {
  await run(server, "postgres", "create role dba login createrole createdb password 'dba'", "postgres");
  await run(server, "dba", "create role app_owner login password 'app_owner'", "postgres");
  await run(server, "dba", "create database app", "postgres");
  await run(server, "dba", 'create extension "uuid-ossp"; grant create on schema public to app_owner');
  await run(server, "app_owner", await sqlFile("application.sql"));
}

/** What the database's owner does, before anything else of Keyrow's. */
export async function setUp(server: Server): Promise<void> {
  await withConnection(server.url("dba", "app"), async (client) => {
    await client.query(await setupScript({ withFoundation: false }));
    for (const login of ["keyrow_authenticator", "keyrow_worker", "keyrow_migrate"]) {
      await client.query(`alter role ${login} password '${login}'`);
    }
  });
}

/** The environment of every command, with a key file of the test's own. */
export async function environment(t: ExecutionContext, server: Server): Promise<Record<string, string>> {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const keys = join(directory, "keys.json");
  await createKeyFile(keys);
  return {
    ADOPT_DATABASE_URL: server.url("app_owner", "app"),
    DATABASE_URL: server.url("keyrow_authenticator", "app"),
    MIGRATE_DATABASE_URL: server.url("keyrow_migrate", "app"),
    KEYROW_KEY_FILE: keys,
    JWT_SECRET,
    PORT: "0",
  };
}

/** Runs the command as a process with this environment and no other. */
export function keyrow(args: string[], env: Record<string, string>) {
  return execa(process.execPath, [cli, ...args], {
    env: { ...surroundings, NO_COLOR: "1", ...env },
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    timeout: 60_000,
    forceKillAfterDelay: 5_000,
  });
}

/** The skeleton of `log_credential_events` with everything filled in, as its application's owner would. */
export function filledIn(after: string): string {
  return after
    .replace(
      /\/\* fill in: (user_id|workspace_id),.*?\*\/ null/g,
      (_, name: keyof typeof fallback) => `'${fallback[name]}'`,
    )
    .replace(/\/\* fill in: source,.*?\*\/ null/, "'keyrow'")
    .replace(/\/\* fill in: importance,.*?\*\/ null/, "3");
}
