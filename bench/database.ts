import { join } from "node:path";
import { startEmbedded } from "../src/embedded/server.ts";
import { createDatabase, withConnection } from "../src/setup.ts";
import { makeTemporaryDirectory, removeWithServers } from "../test/helpers/cluster.ts";
import { passwords, prepareTemplate, templateName } from "../test/helpers/template.ts";

/** A migrated database, by the address that each login has. */
export interface BenchDatabase {
  url(login: "postgres" | "keyrow_authenticator" | "keyrow_worker"): string;
}

/** A throw-away PostgreSQL. */
export interface BenchCluster {
  /** A directory that goes with it. */
  readonly directory: string;
  /** Makes an empty, migrated database. */
  database(name: string): Promise<BenchDatabase>;
  stop(): Promise<void>;
}

/** Starts a PostgreSQL for one run. It waits for the disk as a real one does: a commit without fsync costs nothing. */
export async function startCluster(settings: Record<string, string> = {}): Promise<BenchCluster> {
  const directory = makeTemporaryDirectory("keyrow-bench-");
  const password = "bench-superuser";
  const cluster = await startEmbedded({
    directory: join(directory, "cluster"),
    password,
    // Checkpoints that begin in the middle of a round would hit whoever is being measured.
    settings: { max_connections: "200", shared_buffers: "512MB", max_wal_size: "8GB", ...settings },
  }).catch(async (error: unknown) => {
    await removeWithServers(directory);
    throw error;
  });
  const url = (login: keyof typeof passwords | "postgres", database: string) =>
    cluster.url({ user: login, password: login === "postgres" ? password : passwords[login] }, database);
  await prepareTemplate(cluster);
  return {
    directory,
    async database(name) {
      await createDatabase(url("postgres", "postgres"), name, templateName);
      // What `create database` does not copy from a template: the rights on the database itself.
      await withConnection(url("postgres", name), (client) =>
        client.query(`
          revoke temporary on database ${name} from public;
          grant connect on database ${name} to keyrow_authenticator, keyrow_worker`),
      );
      return { url: (login) => url(login, name) };
    },
    async stop() {
      await cluster.stop();
      await removeWithServers(directory);
    },
  };
}
