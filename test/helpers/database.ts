import { randomBytes } from "node:crypto";
import pg from "pg";
import { socketUrl } from "../../src/embedded/server.ts";
import { createDatabase, withConnection } from "../../src/setup.ts";
import { testCluster } from "./cluster.ts";
import { passwords, templateName } from "./template.ts";

/** A login of the tests' server. */
export type Login = "postgres" | keyof typeof passwords;

/** A database of a test file's own, copied from the template. */
export interface TestDatabase {
  readonly name: string;
  /** The address of this database for a login. */
  url(login: Login): string;
  /** A pool of a login's connections, closed by `drop`. */
  pool(login: Login): pg.Pool;
  /** Ends the pools and drops the database. */
  drop(): Promise<void>;
}

/** The address of a database on the tests' server. */
export function testUrl(login: Login, database: string): string {
  const cluster = testCluster();
  const password = login === "postgres" ? cluster.password : passwords[login];
  return socketUrl(cluster, { user: login, password }, database);
}

/** Makes a database for one test file. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `keyrow_test_${randomBytes(6).toString("hex")}`;
  await createDatabase(testUrl("postgres", "postgres"), name, templateName);
  // What `create database` does not copy from a template: the rights on the database itself.
  await withConnection(testUrl("postgres", name), (client) =>
    client.query(`
      revoke temporary on database ${name} from public;
      grant connect on database ${name} to keyrow_authenticator, keyrow_worker, keyrow_migrate;
      grant create on database ${name} to keyrow_owner`),
  );
  const pools: pg.Pool[] = [];
  return {
    name,
    url: (login) => testUrl(login, name),
    pool(login) {
      const pool = new pg.Pool({ connectionString: testUrl(login, name) });
      // An idle client that loses its server would end the process.
      pool.on("error", () => undefined);
      pools.push(pool);
      return pool;
    },
    async drop() {
      await Promise.all(pools.map((pool) => pool.end()));
      await withConnection(testUrl("postgres", "postgres"), (client) =>
        client.query(`drop database if exists ${name} with (force)`),
      );
    },
  };
}
