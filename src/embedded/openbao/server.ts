import { realpathSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { OpenBaoAccess, TransitKey } from "../../cipher/openbao/access.ts";
import type { Config } from "../../config.ts";
import { inDirectory, makeDirectory } from "../lock.ts";
import { stopOrphan } from "../orphan.ts";
import { socketDirectory } from "../socket.ts";
import { SOCKET } from "./configuration.ts";
import { type Credentials, completeFirstStart, OPENBAO, prepareHome, readCredentials } from "./home.ts";
import { addressOf, logFileOf, openBaoServer, runOpenBao, writeConfiguration } from "./process.ts";
import { findProgram } from "./program.ts";
import { supervise } from "./supervisor.ts";

/** What of the configuration concerns it; whoever starts holds the data directory by `acquireLock`. */
export type EmbeddedOpenBaoOptions = Reached & Pick<Config, "openBaoProgram" | "transitKey">;

type Reached = Pick<Config, "dataDirectory" | "transitTimeoutMs">;

/** How to use an embedded OpenBao. */
export interface OpenBaoCoordinates {
  /** For the server: seals and opens, and no more. */
  readonly access: OpenBaoAccess;
  /** For `keyrow keys`: adds versions of the key and retires old ones, and opens nothing. */
  readonly operatorAccess: OpenBaoAccess;
  readonly transitKey: TransitKey;
}

/** A running embedded OpenBao, which is started again when it ends by itself; `stop` may be called again. */
export interface EmbeddedOpenBao extends OpenBaoCoordinates {
  readonly firstRun: boolean;
  readonly socket: string;
  readonly logFile: string;
  stop(): Promise<void>;
}

// Where a running one can be reached, for the commands beside it. It holds no secret.
const COORDINATES = "running.json";
const coordinates = z.strictObject({ socket: z.string() });

/**
 * Starts the OpenBao of the data directory: finds or installs its program, makes what is missing at the first start, and
 * stops what a killed process left running. Throws EMBEDDED_OPENBAO, DATA_DIRECTORY, or file system errors as they are.
 */
export async function startEmbeddedOpenBao(
  { dataDirectory, openBaoProgram, transitKey, transitTimeoutMs }: EmbeddedOpenBaoOptions,
  progress: (line: string) => void = () => {},
): Promise<EmbeddedOpenBao> {
  return inDirectory(dataDirectory, async () => {
    makeDirectory(dataDirectory);
    const directory = realpathSync(dataDirectory);
    const program = await findProgram({ program: openBaoProgram, directory }, progress);
    const path = join(directory, OPENBAO);
    await stopOrphan(openBaoServer(realpathSync(program)), path, progress);
    const { credentials, isFirst } = await prepareHome(path, transitKey);
    progress(isFirst ? `Making an OpenBao in ${path}...` : "Starting OpenBao...");
    const socket = join(socketDirectory(path, SOCKET), SOCKET);
    const options = { home: path, program, socket };
    const server = await runOpenBao({ ...options, setUpFor: isFirst ? credentials : undefined });
    try {
      if (isFirst) {
        await completeFirstStart(path);
        await writeConfiguration(options);
      }
      const running = join(path, COORDINATES);
      await writeFile(running, JSON.stringify({ socket }), { mode: 0o600 });
      const supervised = supervise(server, options, progress);
      return {
        ...coordinatesOf(socket, credentials, transitTimeoutMs),
        firstRun: isFirst,
        socket,
        logFile: logFileOf(path),
        async stop() {
          await rm(running, { force: true });
          await supervised.stop();
        },
      };
    } catch (error) {
      await server.stop();
      throw error;
    }
  });
}

/** The OpenBao of a data directory as it last ran, whether it answers or not; undefined where none was started. */
export async function lastOpenBao(reached: Reached): Promise<OpenBaoCoordinates | undefined> {
  const { dataDirectory, transitTimeoutMs } = reached;
  const path = join(dataDirectory, OPENBAO);
  const text = await readFile(join(path, COORDINATES), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const { socket } = coordinates.parse(JSON.parse(text));
  return coordinatesOf(socket, await readCredentials(path), transitTimeoutMs);
}

function coordinatesOf(socket: string, credentials: Credentials, timeoutMs: number): OpenBaoCoordinates {
  const { server, operator, transitKey } = credentials;
  const reach = { address: addressOf(socket), caFile: undefined, namespace: undefined, timeoutMs };
  const access = (login: OpenBaoAccess["login"]): OpenBaoAccess =>
    Object.freeze({ ...reach, login: Object.freeze(login) });
  return { access: access(server), operatorAccess: access(operator), transitKey };
}
