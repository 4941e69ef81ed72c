import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, KeyrowError } from "../errors.ts";

/** A kind of server that this process runs as a child, and by what its processes are known. */
export interface ServerKind {
  readonly name: string;
  /** What it is when one can't be stopped. */
  readonly code: ErrorCode;
  /** The names that its program may have. */
  readonly programs: readonly string[];
  /** In its working directory. */
  readonly pidFile: string;
  /** What asks it to end, and what makes it. */
  readonly signals: readonly [NodeJS.Signals, NodeJS.Signals];
}

/** How long a server may take to stop before it is made to, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Stops what a killed process left running in this working directory; what was answered stays. A pid file whose pid now
 * belongs to something else is removed, and that process left alone. Throws the kind's code when it won't stop.
 */
export async function stopOrphan(kind: ServerKind, directory: string, progress: (line: string) => void): Promise<void> {
  let running = runningIn(directory, kind);
  if (running.length > 0)
    progress(`Stopping the ${kind.name} that an earlier process left running (${running[0]?.pid}).`);
  for (const signal of kind.signals) {
    signalLeaders(running, signal);
    for (
      const deadline = Date.now() + PATIENCE;
      running.length > 0 && Date.now() < deadline;
      running = runningIn(directory, kind)
    ) {
      await sleep(10);
    }
  }
  if (running.length > 0) {
    throw new KeyrowError(kind.code, {
      message: `Another ${kind.name} (process ${running[0]?.pid}) runs on ${directory} and does not stop.`,
      hint: "Stop that process, then start again.",
    });
  }
  // PostgreSQL takes a living pid of its own user for a running server, whatever that process is.
  rmSync(join(directory, kind.pidFile), { force: true });
}

interface Running {
  readonly pid: number;
  readonly parent: number;
}

/** The server's processes in this directory, without those that another user hides. */
function runningIn(directory: string, kind: ServerKind): Running[] {
  return process.platform === "linux" ? fromProc(directory, kind) : fromPidFile(directory, kind);
}

/** Every process of a server has it as its working directory, and survives an upgrade of its program. */
function fromProc(directory: string, { programs }: ServerKind): Running[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      if (readlinkSync(`/proc/${name}/cwd`) !== directory) return [];
      const program = basename(readlinkSync(`/proc/${name}/exe`)).replace(" (deleted)", "");
      if (!programs.includes(program)) return [];
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      return [{ pid: Number(name), parent: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) }];
    } catch {
      return [];
    }
  });
}

function fromPidFile(directory: string, { pidFile, programs }: ServerKind): Running[] {
  try {
    const pid = Number.parseInt(readFileSync(join(directory, pidFile), "utf8"), 10);
    const { stdout } = spawnSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" });
    const isOurs = programs.some((program) => stdout.includes(program)) && stdout.includes(directory);
    return isOurs ? [{ pid, parent: 1 }] : [];
  } catch {
    return [];
  }
}

/** The first process of a server alone where it lives; else the children that outlived it. */
function signalLeaders(running: Running[], signal: NodeJS.Signals): void {
  const pids = new Set(running.map(({ pid }) => pid));
  for (const { pid, parent } of running) {
    if (pids.has(parent)) continue;
    try {
      process.kill(pid, signal);
    } catch {
      // It went in between.
    }
  }
}
