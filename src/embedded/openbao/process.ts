import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, statSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { createOpenBaoClient, type OpenBaoClient } from "../../cipher/openbao/client.ts";
import { KeyrowError } from "../../errors.ts";
import { plainEnvironment } from "../account.ts";
import { keepWithUs, openLog, stopChild } from "../child.ts";
import type { ServerKind } from "../orphan.ts";
import { CONFIGURATION, configuration, PID_FILE, SOCKET } from "./configuration.ts";
import type { Credentials } from "./home.ts";

const STOP_PATIENCE = 5_000;
const READY_PATIENCE = 60_000;

/** What it takes to run an OpenBao. */
export interface OpenBaoOptions {
  readonly home: string;
  readonly program: string;
  /** The socket's path. */
  readonly socket: string;
  /** Who it sets itself up for, at its first start. */
  readonly setUpFor?: Credentials | undefined;
  /** Gives up a start that is under way. */
  readonly signal?: AbortSignal;
}

/** A running OpenBao; `stop` ends it in order and may be called again, `exited` resolves when it has gone, asked or not. */
export interface OpenBaoProcess {
  readonly pid: number;
  readonly exited: Promise<void>;
  stop(): Promise<void>;
}

/** By what an OpenBao is known, beside the name of its program now; its working directory is its own. */
export function openBaoServer(program = "bao"): ServerKind {
  const signals = ["SIGTERM", "SIGKILL"] as const;
  return {
    name: "OpenBao",
    code: "EMBEDDED_OPENBAO",
    programs: ["bao", basename(program)],
    pidFile: PID_FILE,
    signals,
  };
}

/** The path of its log below `home`. */
export const logFileOf = (home: string): string => join(home, "openbao.log");

/** How clients name a socket. */
export const addressOf = (socket: string): string => `unix://${socket.split("/").map(encodeURIComponent).join("/")}`;

/** Runs an OpenBao until it answers. Throws EMBEDDED_OPENBAO, naming the log file, when it does not. */
export async function runOpenBao(options: OpenBaoOptions): Promise<OpenBaoProcess> {
  await writeConfiguration(options);
  // That of one that was killed: who reads it next must not be told a pid that may be another's.
  await rm(join(options.home, PID_FILE), { force: true });
  const child = launch(options);
  const exited = keepWithUs(child, "SIGTERM");
  let stopping: Promise<void> | undefined;
  const stop = () => {
    stopping ??= stopChild(child, exited, ["SIGTERM", "SIGKILL"], STOP_PATIENCE);
    return stopping;
  };
  try {
    await ready(exited, options);
  } catch (error) {
    if (child.pid !== undefined) await stop();
    throw error;
  }
  // What else the process does decides how long it lives.
  child.unref();
  return { pid: child.pid ?? 0, exited, stop };
}

/**
 * Writes it anew each time, for it names the socket; without `setUpFor` what OpenBao was set up with is nowhere but where
 * it is needed.
 */
export async function writeConfiguration({ home, socket, setUpFor }: OpenBaoOptions): Promise<void> {
  const path = join(home, CONFIGURATION);
  const temporary = `${path}.tmp`;
  const file = await open(temporary, "w", 0o600);
  await file
    .writeFile(configuration(socket === join(home, SOCKET) ? SOCKET : socket, setUpFor))
    .finally(() => file.close());
  await rename(temporary, path);
}

function launch({ home, program }: OpenBaoOptions): ChildProcess {
  const log = openLog(logFileOf(home));
  try {
    // A process group of its own: Ctrl-C reaches us, and we stop it when the last request is done.
    const options = { cwd: home, env: plainEnvironment, stdio: ["ignore", log, log] as ["ignore", number, number] };
    const args = ["server", `-config=${join(home, CONFIGURATION)}`, "-exit-on-core-shutdown"];
    return spawn(program, args, { ...options, detached: true });
  } finally {
    closeSync(log);
  }
}

async function ready(exited: Promise<void>, options: OpenBaoOptions): Promise<void> {
  const { home, socket, signal } = options;
  let gone = false;
  const leave = () => {
    gone = true;
  };
  const watch = exited.then(leave, leave);
  const client = clientOf(socket);
  try {
    for (const deadline = Date.now() + READY_PATIENCE; ; await Promise.race([watch, sleep(10)])) {
      if (hasSaidPid(home) && (await isReady(client))) return;
      if (gone || signal?.aborted || Date.now() > deadline) {
        throw new KeyrowError("EMBEDDED_OPENBAO", { hint: `Its log ${logFileOf(home)} says why.` });
      }
    }
  } finally {
    await client.close();
  }
}

/** It does that when it listens, and a moment after. */
function hasSaidPid(home: string): boolean {
  return (statSync(join(home, PID_FILE), { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** A client of the server behind a socket. */
export function clientOf(socket: string): OpenBaoClient {
  const login = { token: "" };
  return createOpenBaoClient({ address: addressOf(socket), login, caFile: undefined, namespace: undefined });
}

/** Whether it is unsealed and active; it listens only when it has set itself up. */
function isReady(client: OpenBaoClient): Promise<boolean> {
  return client.call({ method: "GET", path: "sys/health" }).then(
    () => true,
    () => false,
  );
}
