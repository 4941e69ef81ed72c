import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { KeyrowError } from "../errors.ts";

/** How long a PostgreSQL may take to stop before it is told to stop at once, in milliseconds. */
const PATIENCE = 10_000;

/**
 * Stops what a killed process left running on this cluster; what was committed stays. A pid file whose pid now belongs
 * to something else is removed, and that process left alone. Throws EMBEDDED_POSTGRES when it won't stop.
 */
export async function stopOrphan(data: string, progress: (line: string) => void): Promise<void> {
  let running = runningOn(data);
  if (running.length > 0)
    progress(`Stopping the PostgreSQL that an earlier process left running (${running[0]?.pid}).`);
  for (const signal of ["SIGINT", "SIGQUIT"] as const) {
    signalLeaders(running, signal);
    for (
      const deadline = Date.now() + PATIENCE;
      running.length > 0 && Date.now() < deadline;
      running = runningOn(data)
    ) {
      await sleep(10);
    }
  }
  if (running.length > 0) {
    throw new KeyrowError("EMBEDDED_POSTGRES", {
      message: `Another PostgreSQL (process ${running[0]?.pid}) runs on ${data} and does not stop.`,
      hint: "Stop that process, then start again.",
    });
  }
  // PostgreSQL takes a living pid of its own user for a running server, whatever that process is.
  rmSync(join(data, "postmaster.pid"), { force: true });
}

interface Running {
  readonly pid: number;
  readonly parent: number;
}

/** The PostgreSQL processes of this cluster, without those that another user hides. */
function runningOn(data: string): Running[] {
  return process.platform === "linux" ? fromProc(data) : fromPidFile(data);
}

/** Every process of a server has the cluster as its working directory, and survives an upgrade of its program. */
function fromProc(data: string): Running[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      if (readlinkSync(`/proc/${name}/cwd`) !== data) return [];
      const program = basename(readlinkSync(`/proc/${name}/exe`)).replace(" (deleted)", "");
      if (program !== "postgres") return [];
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      return [{ pid: Number(name), parent: Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) }];
    } catch {
      return [];
    }
  });
}

function fromPidFile(data: string): Running[] {
  try {
    const pid = Number.parseInt(readFileSync(join(data, "postmaster.pid"), "utf8"), 10);
    const { stdout } = spawnSync("ps", ["-o", "command=", "-p", String(pid)], { encoding: "utf8" });
    return stdout.includes("postgres") && stdout.includes(data) ? [{ pid, parent: 1 }] : [];
  } catch {
    return [];
  }
}

/** The postmaster alone where it lives; else the backends that outlived it. */
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
