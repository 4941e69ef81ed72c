import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ExecutionContext } from "ava";
import { type Embedded, startEmbedded } from "../../src/embedded/server.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import type { Login } from "../helpers/database.ts";
import { passwords, prepareTemplate, templateName } from "../helpers/template.ts";

/** A PostgreSQL of one test's own that keeps what it acknowledges, with the schema in one database. */
export interface Postgres {
  /** The address of the database for a login; it stays the same over restarts. */
  url(login: Login): string;
  /** The Unix socket that it listens on. */
  readonly socketFile: string;
  /** Ends the postmaster as a machine that loses its power does: nothing is flushed, nobody is told. */
  kill(): Promise<void>;
  /** Ends it if it runs, and starts it again on what it left; resolves when it takes connections. */
  start(): Promise<void>;
}

const SUPERUSER = "test-superuser";

/** Starts one in a directory of its own, or in `within`, which must be empty; ended and removed with the test. */
export async function startPostgres(
  t: ExecutionContext,
  { settings = {}, within }: { settings?: Record<string, string>; within?: string } = {},
): Promise<Postgres> {
  const directory = within ?? makeTemporaryDirectory("keyrow-faults-");
  // A directory that was given is removed by whoever gave it.
  if (within === undefined) t.teardown(() => removeWithServers(directory));
  const options = { directory: join(directory, "cluster"), password: SUPERUSER, settings };
  let server: Embedded = await startEmbedded(options);
  t.teardown(() => server.stop());
  await prepareTemplate(server);
  return {
    url: (login) =>
      server.url({ user: login, password: login === "postgres" ? SUPERUSER : passwords[login] }, templateName),
    socketFile: join(server.socket, `.s.PGSQL.${server.port}`),
    async kill() {
      const [pid] = readFileSync(join(dirname(server.logFile), "data/postmaster.pid"), "utf8").split("\n");
      process.kill(Number(pid), "SIGKILL");
      await server.exited;
    },
    async start() {
      await server.stop();
      server = await startEmbedded(options);
    },
  };
}
