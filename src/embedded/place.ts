import { createHash } from "node:crypto";
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, realpathSync, statSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { KeyrowError } from "../errors.ts";
import { type Account, can } from "./account.ts";

/** Where things of PostgreSQL's live when its user can't reach where they would belong. */
export const SYSTEM_DIRECTORY = "/var/lib/keyrow";

/** The name, in the data directory, of PostgreSQL's own part of it: a directory, or a link to where that is. */
export const HOME = "pg";

/**
 * The directory of mode 0700 that holds cluster, log and socket; made where it is missing. It is `pg` in the data
 * directory, or a link by that name to a directory below SYSTEM_DIRECTORY, when PostgreSQL's user can't get in.
 * Throws EMBEDDED_POSTGRES when a link leads nowhere, and file system errors as they are.
 */
export function makeHome(directory: string, account: Account | undefined, progress: (line: string) => void): string {
  const path = join(directory, HOME);
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there?.isSymbolicLink() && !statSync(path, { throwIfNoEntry: false })) {
    throw new KeyrowError("EMBEDDED_POSTGRES", {
      message: `The link ${path} leads nowhere: the database that it stands for is gone.`,
      hint: "Put the database back where the link points. To begin with an empty one, remove the whole data directory.",
    });
  }
  if (account && !there?.isSymbolicLink()) {
    if (!can(account, 'cd "$1"', dirname(directory))) {
      return there ? unreachable(path) : makeElsewhere(directory, account, progress);
    }
    letThrough(directory, account);
  }
  if (!there) mkdirSync(path, { mode: 0o700 });
  // Also when an earlier start was killed right before this.
  if (account && statSync(path).uid === 0) chownSync(path, account.uid, account.gid);
  return realpathSync(path);
}

function unreachable(path: string): never {
  throw new KeyrowError("EMBEDDED_POSTGRES", {
    message: `PostgreSQL's user can't reach the database in ${path} any more.`,
    hint: "Let other users pass through the directories above it (chmod o+x), as it was when the database was made.",
  });
}

/** Lets the account pass through the data directory, without listing it and without opening it to everybody. */
function letThrough(directory: string, account: Account): void {
  if (can(account, 'cd "$1"', directory)) return;
  const { gid, mode } = statSync(directory);
  const ours = gid === 0 || gid === account.gid;
  if (ours) chownSync(directory, 0, account.gid);
  chmodSync(directory, (mode & 0o777) | (ours ? 0o010 : 0o001));
}

/** A random part keeps a data directory that was removed and made anew from finding the old database. */
function makeElsewhere(directory: string, account: Account, progress: (line: string) => void): string {
  mkdirSync(SYSTEM_DIRECTORY, { recursive: true, mode: 0o755 });
  chmodSync(SYSTEM_DIRECTORY, 0o755);
  const hash = createHash("sha256").update(directory).digest("hex").slice(0, 12);
  const home = mkdtempSync(join(SYSTEM_DIRECTORY, `${hash}-`));
  chownSync(home, account.uid, account.gid);
  symlinkSync(home, join(directory, HOME));
  progress(`PostgreSQL does not run as root, and other users can't reach ${directory}: its database is in ${home}.`);
  return home;
}
