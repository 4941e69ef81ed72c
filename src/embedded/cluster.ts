import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, existsSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { KeyrowError } from "../errors.ts";
import { type Account, asAccount } from "./account.ts";

const MAJOR = "18";

/** What it takes to make a cluster. */
export interface ClusterOptions {
  readonly home: string;
  readonly binaries: string;
  readonly account: Account | undefined;
  readonly password: string;
  /** Whether to wait for the disk; only a cluster that need not outlive a crash of the machine can do without. */
  readonly sync: boolean;
}

/** The cluster's directory below `home`. */
export const clusterDirectory = (home: string): string => join(home, "data");

/**
 * Makes the cluster where there is none, and answers whether it did. It is made under another name and renamed, so a
 * process killed in between leaves no half of one. Throws EMBEDDED_POSTGRES when initdb fails or the version differs.
 */
export async function ensureCluster(options: ClusterOptions): Promise<boolean> {
  const data = clusterDirectory(options.home);
  if (existsSync(data)) {
    checkVersion(data);
    return false;
  }
  await initialize(options);
  return true;
}

function checkVersion(data: string): void {
  const version = readVersion(join(data, "PG_VERSION"));
  if (version === MAJOR) return;
  throw new KeyrowError("EMBEDDED_POSTGRES", {
    message: `The database in ${data} is of ${version === undefined ? "an unknown version of PostgreSQL" : `PostgreSQL ${version}`}, and the embedded one is ${MAJOR}.`,
    hint: `Move that directory away to begin with an empty database, or bring one of version ${MAJOR} back from a backup.`,
  });
}

/** The file belongs to PostgreSQL's user, and we may be root: no link, and nothing in it is shown but a number. */
function readVersion(path: string): string | undefined {
  try {
    const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const bytes = Buffer.alloc(16);
      return /^(\d{1,3})\s*$/.exec(bytes.toString("latin1", 0, readSync(file, bytes)))?.[1];
    } finally {
      closeSync(file);
    }
  } catch {
    return undefined;
  }
}

// Everything below PostgreSQL's home is done as its user: there, what root made or gave away by path could be a link by
// then. The password comes by standard input, and is in a file of mode 0600 for as long as initdb reads it.
const script = `
umask 077
home=$1; initdb=$2; shift 2
rm -rf "$home"/initdb-*
made=$(mktemp -d "$home/initdb-XXXXXX") || exit
trap 'rm -rf "$made"' EXIT
cat > "$made/password" && "$initdb" --pgdata="$made/data" --pwfile="$made/password" "$@" && mv "$made/data" "$home/data"
`;

async function initialize({ home, binaries, account, password, sync }: ClusterOptions): Promise<void> {
  const args = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8"];
  // The built-in provider sorts alike on every system, whatever locales and libraries it has.
  args.push("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8");
  args.push("--data-checksums", "--no-instructions", ...(sync ? [] : ["--no-sync"]));
  const child = spawn("/bin/sh", ["-c", script, "sh", home, join(binaries, "bin/initdb"), ...args], {
    ...asAccount(account),
    stdio: ["pipe", "ignore", "pipe"],
  });
  // It may end before it reads; why, it says itself.
  child.stdin.on("error", () => undefined);
  child.stdin.end(`${password}\n`);
  const [said, [code, signal]] = await Promise.all([text(child.stderr), once(child, "exit")]);
  if (code !== 0) throw failed(said, signal);
}

function failed(said: string, signal: string | null): KeyrowError {
  const reason = /^initdb: error: (.*)$/m.exec(said)?.[1] ?? /(?:FATAL|PANIC): +(.*)/.exec(said)?.[1];
  return new KeyrowError("EMBEDDED_POSTGRES", {
    message: `The database could not be made: ${reason ?? (signal ? `initdb ended by ${signal}` : "initdb failed")}.`,
    hint: "Look for space and rights in the data directory, then start again; nothing was left behind.",
  });
}
