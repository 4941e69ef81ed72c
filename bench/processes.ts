import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { nodeOptions } from "../src/node-options.mjs";

const root = join(import.meta.dirname, "..");
const running = new Set<ChildProcess>();

/** Stops whatever still runs, where a measurement was cut short. */
export async function stopAll(): Promise<void> {
  await Promise.all([...running].map(stop));
}

/** Starts a program of the checkout, which goes when this process goes, however it goes. */
export function start(args: string[], env: Record<string, string>, ...more: Array<"ipc">): ChildProcess {
  const options: SpawnOptions = {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit", "pipe", ...more],
    // Nothing of whoever measures: their settings would be measured, too.
    env: { PATH: process.env.PATH, ...env, KEYROW_LAUNCHER_FD: "3" },
  };
  const follow = ["--import", join(root, "src/follow.mjs")];
  const child = spawn(process.execPath, [...nodeOptions, ...follow, ...args], options);
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** Rejects when the process ends, asked or not. */
export async function failure(name: string, child: ChildProcess): Promise<never> {
  const [code, signal] = await once(child, "exit");
  throw new Error(`${name} ended by itself (${code ?? signal})`);
}

/** Ends a process in order. */
export async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** The memory that a process holds now (resident), in MiB. */
export function memoryOf({ pid }: Pick<ChildProcess, "pid">): number {
  const status = `/proc/${pid}/status`;
  const kibibytes = existsSync(status)
    ? /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(status, "utf8"))?.[1]
    : spawnSync("ps", ["-o", "rss=", "-p", String(pid)], { encoding: "utf8" }).stdout;
  return Number(kibibytes) / 1024;
}

// Of Linux, whatever the clock of the kernel: `getconf CLK_TCK`.
const TICKS_PER_SECOND = 100;

/** The processor time that a process has used so far, in ms; undefined where the system doesn't tell. */
export function cpuOf({ pid }: Pick<ChildProcess, "pid">): number | undefined {
  const path = `/proc/${pid}/stat`;
  if (!existsSync(path)) return undefined;
  const stat = readFileSync(path, "latin1");
  // Fields 14 and 15 of proc(5), counted after the name, which may hold anything.
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  return ((Number(user) + Number(system)) * 1000) / TICKS_PER_SECOND;
}
