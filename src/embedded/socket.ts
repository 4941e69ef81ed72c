import { createHash } from "node:crypto";
import { chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import type { Account } from "./account.ts";

/** The number in the socket's file name; nothing listens on it over TCP. */
export const PORT = 5432;

/** The name of PostgreSQL's socket. */
export const SOCKET = `.s.PGSQL.${PORT}`;

/** A socket's address holds 104 bytes on macOS and 108 on Linux, with its end. */
const LIMIT = 100;

/**
 * The directory of mode 0700 for a Unix socket of that name: `home`, or one in the system's temporary directory when the path is
 * too long for a socket's address. The same each time, unless somebody else took that name.
 */
export function socketDirectory(home: string, name: string, account?: Account): string {
  if (fits(home, name)) return home;
  const hash = createHash("sha256").update(home).digest("hex").slice(0, 12);
  const owner = account?.uid ?? userInfo().uid;
  const base = fits(join(tmpdir(), `keyrow-${owner}-${hash}-XXXXXX`), name) ? tmpdir() : "/tmp";
  const path = join(base, `keyrow-${owner}-${hash}`);
  if (make(path, account) || isPrivate(path, owner)) return path;
  const other = mkdtempSync(`${path}-`);
  if (account) chownSync(other, account.uid, account.gid);
  return other;
}

/** Removes the socket that a server which no longer runs left; its lock file holds a pid that may be another's by now. */
export function removeStaleSocket(directory: string): void {
  for (const name of [SOCKET, `${SOCKET}.lock`]) rmSync(join(directory, name), { force: true });
}

function fits(directory: string, name: string): boolean {
  return Buffer.byteLength(join(directory, name)) < LIMIT;
}

function make(path: string, account: Account | undefined): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch {
    return false;
  }
  if (account) chownSync(path, account.uid, account.gid);
  return true;
}

/** The temporary directory is everybody's: only a directory that nobody else can have a hand in will do. */
function isPrivate(path: string, owner: number): boolean {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isDirectory() === true && found.uid === owner && (found.mode & 0o077) === 0;
}
