import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { ExecutionContext } from "ava";
import { type Embedded, startEmbedded } from "../../src/embedded/server.ts";
import { withConnection } from "../../src/setup.ts";
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
  /** Kills one process that serves a connection of a login, as a system without memory does; all others end with it. */
  killOne(login: Login): Promise<void>;
  /** Stops all its processes where they are; gives the way to let them go on. */
  halt(): Promise<() => void>;
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
  const url = (login: Login) =>
    server.url({ user: login, password: login === "postgres" ? SUPERUSER : passwords[login] }, templateName);
  const postmaster = () =>
    Number.parseInt(readFileSync(join(dirname(server.logFile), "data/postmaster.pid"), "utf8"), 10);
  const pidsOf = (condition: string, value: string) =>
    withConnection(url("postgres"), async (client) => {
      const { rows } = await client.query(`select pid from pg_stat_activity where ${condition}`, [value]);
      return rows.map(({ pid }) => pid as number);
    });
  return {
    url,
    socketFile: join(server.socket, `.s.PGSQL.${server.port}`),
    async kill() {
      process.kill(postmaster(), "SIGKILL");
      await server.exited;
    },
    async killOne(login) {
      const [pid] = await pidsOf("usename = $1 order by state = 'idle'", login);
      if (pid === undefined) throw new Error(`${login} has no connection`);
      process.kill(pid, "SIGKILL");
    },
    async halt() {
      const pids = await pidsOf("pid <> pg_backend_pid() and $1 <> ''", "all");
      // First who would make more of them.
      pids.unshift(postmaster());
      for (const pid of pids) process.kill(pid, "SIGSTOP");
      return () => {
        for (const pid of pids.splice(0)) process.kill(pid, "SIGCONT");
      };
    },
    async start() {
      await server.stop();
      server = await startEmbedded(options);
    },
  };
}
