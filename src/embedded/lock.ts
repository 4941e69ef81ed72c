import { existsSync, mkdirSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { KeyrowError } from "../errors.ts";
import { claim } from "../lockfile.mjs";

/** A held data directory; `release` may be called more than once, and a process that ends releases it by itself. */
export interface Lock {
  release(): void;
}

/** What a lock's file name begins with; the rest says which process holds it and since when. */
export const LOCK_PREFIX = "lock-";

/**
 * Makes the directory (mode 0700) where it is missing and holds it for this process alone. Throws DATA_DIRECTORY_BUSY
 * when a living process holds it, DATA_DIRECTORY when it can't be made or written.
 */
export async function acquireLock(directory: string): Promise<Lock> {
  const path = resolve(directory);
  const claimed = await inDirectory(path, () => {
    makeDirectory(path);
    return claim(path, LOCK_PREFIX, thisCommand());
  });
  if (!claimed.holder) return claimed;
  const { pid, since, command } = claimed.holder;
  throw new KeyrowError("DATA_DIRECTORY_BUSY", {
    message: `Process ${pid}${command && ` (${command})`} has held the data directory ${path} since ${since.toISOString()}.`,
    hint: `Stop process ${pid} first, or choose another directory with KEYROW_DATA_DIR.`,
  });
}

/** Makes a directory of mode 0700 where it is missing, and what is above it with the usual rights. */
export function makeDirectory(path: string, mode = 0o700): void {
  if (existsSync(path)) return;
  // Step by step: Node's own recursive mode never ends where a file system refuses new entries by ENOENT, as /proc does.
  if (dirname(path) !== path) makeDirectory(dirname(path), 0o777);
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    // Somebody else was faster.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** Runs `act` and gives what it gives; a file system error in it is thrown as DATA_DIRECTORY, naming path and remedy. */
export async function inDirectory<T>(path: string, act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (cause instanceof KeyrowError || !code?.startsWith("E")) throw cause;
    throw new KeyrowError("DATA_DIRECTORY", {
      message: `The data directory ${path} can't be used: ${reasons[code] ?? code}.`,
      hint: "Make it writable for the user who runs Keyrow, or choose another directory with KEYROW_DATA_DIR.",
      cause,
    });
  }
}

const reasons: Record<string, string> = {
  EACCES: "permission is denied",
  EPERM: "permission is denied",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the disk quota is used up",
  EEXIST: "a file is in its place",
  ENOTDIR: "a part of its path is a file",
  ENAMETOOLONG: "its path is too long",
  ELOOP: "its path goes in circles",
  ENOENT: "a part of its path can't be made",
};

/** Program and subcommand alone: what follows them may be private. */
function thisCommand(): string {
  const [, script, command] = process.argv;
  const program = basename(script ?? "node").replace(/^cli\.[jt]s$/, "keyrow");
  return [program, command].filter(Boolean).join(" ");
}
