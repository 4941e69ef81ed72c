import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { KeyrowError } from "../errors.ts";
import { type Account, asAccount } from "./account.ts";

const MAJOR = "18";
const TEMPORARY = "initdb-";

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
  for (const name of readdirSync(options.home)) {
    if (name.startsWith(TEMPORARY)) rmSync(join(options.home, name), { recursive: true, force: true });
  }
  if (existsSync(data)) {
    checkVersion(data);
    return false;
  }
  const temporary = mkdtempSync(join(options.home, TEMPORARY));
  try {
    await initialize(options, temporary);
    renameSync(join(temporary, "data"), data);
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return true;
}

function checkVersion(data: string): void {
  const version = existsSync(join(data, "PG_VERSION"))
    ? readFileSync(join(data, "PG_VERSION"), "utf8").trim()
    : "unknown";
  if (version === MAJOR) return;
  throw new KeyrowError("EMBEDDED_POSTGRES", {
    message: `The database in ${data} is of PostgreSQL ${version}, and the embedded one is ${MAJOR}.`,
    hint: `Move that directory away to begin with an empty database, or bring one of version ${MAJOR} back from a backup.`,
  });
}

async function initialize({ binaries, account, password, sync }: ClusterOptions, temporary: string): Promise<void> {
  const passwordFile = join(temporary, "password");
  const data = join(temporary, "data");
  writeFileSync(passwordFile, `${password}\n`, { flag: "wx", mode: 0o600 });
  mkdirSync(data, { mode: 0o700 });
  if (account) for (const path of [passwordFile, data, temporary]) chownSync(path, account.uid, account.gid);
  const args = [`--pgdata=${data}`, "--username=postgres", `--pwfile=${passwordFile}`, "--auth=scram-sha-256"];
  // The built-in provider sorts alike on every system, whatever locales and libraries it has.
  args.push("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8");
  args.push("--data-checksums", "--no-instructions", ...(sync ? [] : ["--no-sync"]));
  try {
    const child = spawn(join(binaries, "bin/initdb"), args, {
      ...asAccount(account),
      stdio: ["ignore", "ignore", "pipe"],
    });
    const [said, [code, signal]] = await Promise.all([text(child.stderr), once(child, "exit")]);
    if (code !== 0) throw failed(said, signal);
  } finally {
    rmSync(passwordFile, { force: true });
  }
}

function failed(said: string, signal: string | null): KeyrowError {
  const reason = /^initdb: error: (.*)$/m.exec(said)?.[1] ?? /(?:FATAL|PANIC): +(.*)/.exec(said)?.[1];
  return new KeyrowError("EMBEDDED_POSTGRES", {
    message: `The database could not be made: ${reason ?? (signal ? `initdb ended by ${signal}` : "initdb failed")}.`,
    hint: "Look for space and rights in the data directory, then start again; nothing was left behind.",
  });
}
