import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, existsSync } from "node:fs";
import { join } from "node:path";
import { chooseAccount } from "../../src/embedded/account.ts";
import { withConnection } from "../../src/setup.ts";
import { makeTemporaryDirectory, removeWithServers } from "./cluster.ts";
import { until } from "./until.ts";

/** Where the system's PostgreSQL 15 has its programs: the server's, psql, pg_dump and pg_restore. */
export const postgres15Bin = "/usr/lib/postgresql/15/bin";

/** Whether the system's PostgreSQL 15 is there. In CI it has to be. */
export const hasPostgres15 = existsSync(join(postgres15Bin, "postgres"));

/** A throw-away PostgreSQL 15 of the system's packages, reached by a socket; its superuser is postgres, without password. */
export async function startPostgres15(): Promise<{
  url(login: string, database: string): string;
  stop(): Promise<void>;
}> {
  const directory = makeTemporaryDirectory("keyrow-pg15-");
  const account = chooseAccount(directory, directory, () => undefined);
  if (account !== undefined) chownSync(directory, account.uid, account.gid);
  const options = { ...(account && { uid: account.uid, gid: account.gid }), stdio: "ignore" as const };
  const data = join(directory, "data");
  execFileSync(join(postgres15Bin, "initdb"), ["-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], options);
  const server: ChildProcess = spawn(
    join(postgres15Bin, "postgres"),
    ["-D", data, "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off"],
    options,
  );
  const exited = once(server, "exit");
  const url = (login: string, database: string) =>
    `postgres://${login}@localhost:5432/${database}?host=${encodeURIComponent(directory)}`;
  const stop = async () => {
    server.kill("SIGINT");
    await exited;
    await removeWithServers(directory);
  };
  try {
    await until(() => withConnection(url("postgres", "postgres"), (client) => client.query("select")));
    return { url, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
