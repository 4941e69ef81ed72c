import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { constants, fchownSync, lstatSync, openSync, renameSync } from "node:fs";
import type { Account } from "./account.ts";

const LOG_LIMIT = 10 * 1024 * 1024;

/** What a process that ends without stopping them takes with it, and by which signal. */
const running = new Map<ChildProcess, NodeJS.Signals>();
process.on("exit", () => {
  for (const [child, name] of running) signal(child, name);
});

/** Gives the child that signal when this process ends before it; what it gives resolves when the child has gone. */
export function keepWithUs(child: ChildProcess, name: NodeJS.Signals): Promise<void> {
  running.set(child, name);
  return once(child, "exit")
    .then(() => undefined)
    .finally(() => running.delete(child));
}

/** Sends a signal to a child that has not ended. */
export function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.exitCode === null && child.signalCode === null) child.kill(name);
}

/** Tells a child to end by the first signal, and by the second where it has not after so many ms. */
export async function stopChild(
  child: ChildProcess,
  exited: Promise<void>,
  [first, second]: readonly [NodeJS.Signals, NodeJS.Signals],
  patience: number,
): Promise<void> {
  child.ref();
  signal(child, first);
  const timer = setTimeout(() => signal(child, second), patience);
  await exited;
  clearTimeout(timer);
}

/**
 * Opens a server's log, mode 0600. Keeps one older log, and never follows a link: as root we write into another user's
 * directory here.
 */
export function openLog(path: string, account?: Account): number {
  if ((lstatSync(path, { throwIfNoEntry: false })?.size ?? 0) > LOG_LIMIT) renameSync(path, `${path}.1`);
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_WRONLY } = constants;
  const log = openSync(path, O_APPEND | O_CREAT | O_NOFOLLOW | O_WRONLY, 0o600);
  if (account) fchownSync(log, account.uid, account.gid);
  return log;
}
