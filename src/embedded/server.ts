import { realpathSync } from "node:fs";
import { join, resolve } from "node:path";
import { chooseAccount } from "./account.ts";
import { prepareBinaries } from "./binaries.ts";
import { clusterDirectory, ensureCluster } from "./cluster.ts";
import { acquireLock, inDirectory, makeDirectory } from "./lock.ts";
import { stopOrphan } from "./orphan.ts";
import { HOME, makeHome } from "./place.ts";
import { logFileOf, postgresServer, runPostmaster } from "./postmaster.ts";
import { PORT, removeStaleSocket, SOCKET, socketDirectory } from "./socket.ts";

/** How to start it; `settings` are PostgreSQL's own, `progress` gets lines for the person who waits. */
export interface EmbeddedOptions {
  /** The data directory, such as `.keyrow`; whoever starts holds it by `acquireLock`. */
  readonly directory: string;
  /** The superuser's; it is set when the cluster is made, so keep it before. */
  readonly password: string;
  readonly settings?: Record<string, string>;
  readonly progress?: (line: string) => void;
}

/** How to connect to an embedded server: paths are absolute, and `url` gives what pg, psql and graphile-migrate take. */
export interface Coordinates {
  readonly socket: string;
  readonly port: number;
  readonly superuser: "postgres";
  readonly password: string;
}

/** A running embedded PostgreSQL; `stop` may be called again, and `exited` resolves when the server has gone. */
export interface Embedded extends Coordinates {
  readonly firstRun: boolean;
  readonly logFile: string;
  readonly exited: Promise<void>;
  url(login: { user: string; password: string }, database: string): string;
  stop(): Promise<void>;
}

/**
 * Starts the PostgreSQL 18 of the data directory, making its cluster at the first run and stopping what a killed
 * process left running. Throws EMBEDDED_POSTGRES, DATA_DIRECTORY or DATA_DIRECTORY_BUSY.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const given = resolve(options.directory);
  return inDirectory(given, async () => {
    makeDirectory(given);
    const directory = realpathSync(given);
    const progress = options.progress ?? (() => {});
    const account = chooseAccount(join(directory, HOME), directory, progress);
    const home = makeHome(directory, account, progress);
    // A copied data directory leads to the same database elsewhere, which its own lock can't know.
    const lock = home === join(directory, HOME) ? undefined : await acquireLock(home);
    try {
      return await startIn(home, directory, account, { ...options, progress }, () => lock?.release());
    } catch (error) {
      lock?.release();
      throw error;
    }
  });
}

async function startIn(
  home: string,
  directory: string,
  account: ReturnType<typeof chooseAccount>,
  { password, settings = {}, progress }: EmbeddedOptions & { progress: (line: string) => void },
  release: () => void,
): Promise<Embedded> {
  const binaries = prepareBinaries(directory, account);
  await stopOrphan(postgresServer, clusterDirectory(home), progress);
  const firstRun = await ensureCluster({ home, binaries, account, password, sync: settings.fsync !== "off" });
  const socket = socketDirectory(home, SOCKET, account);
  removeStaleSocket(socket);
  const server = await runPostmaster({ home, binaries, account, socket, settings, progress });
  const coordinates = { socket, port: PORT, superuser: "postgres", password } as const;
  return {
    ...coordinates,
    firstRun,
    logFile: logFileOf(home),
    exited: server.exited,
    url: (login, database) => socketUrl(coordinates, login, database),
    stop: () => server.stop().finally(release),
  };
}

/** The URL of a database on the socket; the host in its authority is a placeholder, for some parsers want one. */
export function socketUrl(
  { socket, port }: Pick<Coordinates, "socket" | "port">,
  { user, password }: { user: string; password: string },
  database: string,
): string {
  const [name, secret, path, host] = [user, password, database, socket].map(encodeURIComponent);
  return `postgres://${name}:${secret}@localhost:${port}/${path}?host=${host}`;
}
