import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KeyrowError } from "../errors.ts";
import { type Account, asAccount } from "./account.ts";
import { keepWithUs, openLog, stopChild } from "./child.ts";
import { clusterDirectory } from "./cluster.ts";
import type { ServerKind } from "./orphan.ts";
import { PORT } from "./socket.ts";

const STOP_PATIENCE = 5000;

/** What it takes to run a cluster. */
export interface PostmasterOptions {
  readonly home: string;
  readonly binaries: string;
  readonly account: Account | undefined;
  readonly socket: string;
  readonly settings: Record<string, string>;
  readonly progress: (line: string) => void;
}

/** A running server: `stop` ends it in order and may be called again; `exited` resolves when it has gone, asked or not. */
export interface Postmaster {
  readonly exited: Promise<void>;
  stop(): Promise<void>;
}

/** No statement, parameter or offending row gets into the log, so no value does. Callers may choose otherwise. */
const quiet = {
  log_destination: "stderr",
  logging_collector: "off",
  log_statement: "none",
  log_min_duration_statement: "-1",
  log_min_error_statement: "panic",
  log_min_messages: "log",
  log_checkpoints: "off",
  log_error_verbosity: "terse",
  log_parameter_max_length: "0",
  log_parameter_max_length_on_error: "0",
  log_line_prefix: "%m [%p] ",
  timezone: "UTC",
  log_timezone: "UTC",
};

/** By what a PostgreSQL is known; its working directory is the cluster. */
export const postgresServer: ServerKind = {
  name: "PostgreSQL",
  code: "EMBEDDED_POSTGRES",
  programs: ["postgres"],
  pidFile: "postmaster.pid",
  signals: ["SIGINT", "SIGQUIT"],
};

/** The path of the server's log below `home`. */
export const logFileOf = (home: string): string => join(home, "postgres.log");

/** Runs the cluster until it takes connections. Throws EMBEDDED_POSTGRES, naming the log file, when it does not. */
export async function runPostmaster(options: PostmasterOptions): Promise<Postmaster> {
  const child = launch(options);
  const exited = keepWithUs(child, "SIGINT");
  await ready(child, exited, options);
  // What else the process does decides how long it lives.
  child.unref();
  let stopping: Promise<void> | undefined;
  return {
    exited,
    stop() {
      stopping ??= stopChild(child, exited, postgresServer.signals, STOP_PATIENCE);
      return stopping;
    },
  };
}

function launch({ home, binaries, account, socket, settings }: PostmasterOptions): ChildProcess {
  const all = {
    ...quiet,
    ...settings,
    listen_addresses: "",
    unix_socket_directories: `"${socket.replaceAll('"', '""')}"`,
    unix_socket_permissions: "0700",
    port: String(PORT),
  };
  const flags = Object.entries(all).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const log = openLog(logFileOf(home), account);
  try {
    // A process group of its own: Ctrl-C reaches us, and we stop it when the last request is done.
    const stdio = ["ignore", log, log] as const;
    const args = ["-D", clusterDirectory(home), ...flags];
    return spawn(join(binaries, "bin/postgres"), args, { ...asAccount(account), stdio: [...stdio], detached: true });
  } finally {
    closeSync(log);
  }
}

async function ready(child: ChildProcess, exited: Promise<void>, { home, progress }: PostmasterOptions): Promise<void> {
  let gone = false;
  const leave = () => {
    gone = true;
  };
  const watch = exited.then(leave, leave);
  let patience = Date.now() + STOP_PATIENCE;
  while (!isReady(child, home)) {
    if (gone) {
      throw new KeyrowError("EMBEDDED_POSTGRES", {
        hint: `Its log ${logFileOf(home)} says why.`,
      });
    }
    if (Date.now() > patience) {
      progress("PostgreSQL is still starting; after a crash it first recovers what was committed.");
      patience = Number.POSITIVE_INFINITY;
    }
    await Promise.race([watch, sleep(10)]);
  }
}

/** PostgreSQL writes its state into the eighth line of this file; its own tools wait for that as well. */
function isReady(child: ChildProcess, home: string): boolean {
  try {
    const lines = readFileSync(join(clusterDirectory(home), "postmaster.pid"), "utf8").split("\n");
    return Number(lines[0]) === child.pid && lines[7]?.trim() === "ready";
  } catch {
    return false;
  }
}
