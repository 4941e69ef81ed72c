import { type SpawnSyncOptions, spawnSync } from "node:child_process";
import { statSync } from "node:fs";

/** The system user that a root process runs PostgreSQL as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** What a child of PostgreSQL's sees: none of our own environment, for it may hold secrets or PGDATA. */
export const plainEnvironment = { PATH: process.env.PATH ?? "/usr/bin:/bin", LANG: "C", LC_ALL: "C", TZ: "UTC" };

/**
 * Who PostgreSQL runs as: undefined, this process's own user, unless that is root, whom PostgreSQL refuses. Root gives
 * it to whom the existing cluster or data directory belongs to, so that this user can go on with it alone, and else
 * to a system user, which is made where there is none.
 */
export function chooseAccount(home: string, directory: string, progress: (line: string) => void): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  return (
    ownerOf(home) ?? ownerOf(directory) ?? lookUp("postgres") ?? lookUp("keyrow") ?? makeUser(progress) ?? nobody()
  );
}

/** Whether a shell test such as `[ -r "$1" ]` on `path` holds for the account. */
export function can(account: Account | undefined, test: string, path: string): boolean {
  return spawnSync("/bin/sh", ["-c", test, "sh", path], asAccount(account)).status === 0;
}

/** Options that make a child run as the account, in a directory that everybody can enter; Node drops root's groups. */
export function asAccount(account: Account | undefined): SpawnSyncOptions & { cwd: string } {
  return { ...account, cwd: "/", env: plainEnvironment, stdio: "ignore" };
}

function ownerOf(path: string): Account | undefined {
  const owner = statSync(path, { throwIfNoEntry: false });
  return owner && owner.uid !== 0 ? { uid: owner.uid, gid: owner.gid } : undefined;
}

function lookUp(name: string): Account | undefined {
  const [uid, gid] = ["-u", "-g"].map((flag) => {
    const { status, stdout } = spawnSync("id", [flag, name], { encoding: "utf8" });
    return status === 0 ? Number(stdout.trim()) : 0;
  });
  return uid && gid ? { uid, gid } : undefined;
}

function makeUser(progress: (line: string) => void): Account | undefined {
  const made = [
    ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "keyrow"],
    ["adduser", "-S", "-D", "-H", "-s", "/sbin/nologin", "keyrow"],
  ].some(([command = "", ...args]) => spawnSync(command, args, { stdio: "ignore" }).status === 0);
  if (made) progress("Made the system user keyrow, for PostgreSQL does not run as root.");
  return made ? lookUp("keyrow") : undefined;
}

function nobody(): Account {
  return lookUp("nobody") ?? { uid: 65534, gid: 65534 };
}
