import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { Config } from "./config.ts";
import {
  DATABASE,
  type EmbeddedAddresses,
  runningDatabase,
  SHADOW_DATABASE,
  withEmbeddedDatabase,
} from "./embedded-database.ts";
import { KeyrowError } from "./errors.ts";
import { type Ended, runWith } from "./script/child.ts";
import { asOwner, asRole, migrationsFolder } from "./setup.ts";

const addresses: Readonly<Record<string, (embedded: EmbeddedAddresses) => string>> = {
  owner: (embedded) => asOwner(embedded.url("keyrow_migrate")),
  admin: (embedded) => asRole(embedded.url("postgres"), "keyrow_admin"),
  superuser: (embedded) => embedded.url("postgres"),
};

/** The address of the running embedded database, for psql; it holds a password. Throws USAGE or DATABASE_UNREACHABLE. */
export async function databaseAddress({ dataDirectory }: Config, who: string): Promise<string> {
  const address = Object.hasOwn(addresses, who) ? addresses[who] : undefined;
  if (address === undefined) {
    throw new KeyrowError("USAGE", {
      message: "There is no address for that.",
      hint: "Ask for owner, admin or superuser.",
    });
  }
  const running = await runningDatabase(dataDirectory);
  if (running !== undefined) return address(running);
  throw new KeyrowError("DATABASE_UNREACHABLE", {
    message: "The embedded PostgreSQL of this data directory is not running.",
    hint: "Run `npm start` in another terminal first.",
  });
}

/**
 * Runs psql on the running embedded database, as `owner` where the first argument is none of the addresses. The password
 * is in its environment, for arguments can be read by everybody on the machine.
 */
export async function runPsql(config: Config, args: readonly string[]): Promise<Ended> {
  const [first = "", ...others] = args;
  const [who, rest] = Object.hasOwn(addresses, first) ? [first, others] : ["owner", args];
  const { username, password, pathname, port, searchParams } = new URL(await databaseAddress(config, who));
  const variables = {
    PGHOST: searchParams.get("host") ?? "",
    // Set elsewhere, it would go before.
    PGHOSTADDR: "",
    PGPORT: port,
    PGUSER: decodeURIComponent(username),
    PGPASSWORD: decodeURIComponent(password),
    PGDATABASE: decodeURIComponent(pathname.slice(1)),
    PGOPTIONS: searchParams.get("options") ?? "",
  };
  return runWith(["psql", ...rest], new Map(Object.entries(variables)), false);
}

/** Runs graphile-migrate with the addresses of the embedded server; gives its exit code. */
export function runGraphileMigrate(config: Config, args: readonly string[]): Promise<number> {
  const cli = join(dirname(fileURLToPath(import.meta.resolve("graphile-migrate"))), "cli.js");
  return withEmbeddedDatabase(config, async (embedded) => {
    const { exitCode = 1 } = await execa(process.execPath, [cli, ...args], {
      // Where .gmrc is.
      cwd: dirname(migrationsFolder),
      stdio: "inherit",
      reject: false,
      env: {
        DATABASE_URL: asOwner(embedded.url("keyrow_migrate", DATABASE)),
        SHADOW_DATABASE_URL: asOwner(embedded.url("keyrow_migrate", SHADOW_DATABASE)),
        ROOT_DATABASE_URL: embedded.url("postgres", "postgres"),
      },
    });
    return exitCode;
  });
}
