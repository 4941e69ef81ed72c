import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { clearAllPools } from "graphile-migrate/dist/pg.js";
import type { Config } from "./config.ts";
import { acquireLock } from "./embedded/lock.ts";
import { HOME } from "./embedded/place.ts";
import { type Coordinates, socketUrl, startEmbedded } from "./embedded/server.ts";
import { KeyrowError } from "./errors.ts";
import { type EmbeddedSecrets, embeddedSecrets, readSecrets } from "./secrets.ts";
import { asOwner, createDatabase, layFoundation, migrate, setUpDatabase, setUpRoles, withConnection } from "./setup.ts";

/** The database of the embedded server, and the one that graphile-migrate tries migrations in. */
export const DATABASE = "keyrow";
export const SHADOW_DATABASE = "keyrow_shadow";

/** A login of the embedded server. */
export type EmbeddedLogin = "postgres" | "keyrow_authenticator" | "keyrow_worker" | "keyrow_migrate";

/** How to reach the embedded server's databases: addresses hold the login's password. */
export interface EmbeddedAddresses {
  url(login: EmbeddedLogin, database?: string): string;
}

/** A running embedded server with a migrated database. */
export interface EmbeddedDatabase extends EmbeddedAddresses {
  readonly secrets: EmbeddedSecrets;
  /** Does what is done at the first start alone, and once, though a first start was killed. */
  firstStart(work: () => Promise<void>): Promise<void>;
  /** Resolves when the server has gone, whoever ended it. */
  readonly exited: Promise<void>;
  stop(): Promise<void>;
}

// Somebody else may be there in the same role, and stay.
const LET_GO_MS = 1_000;

// Where a running server can be reached, for the commands beside it. It holds no secret.
const COORDINATES = "postgres.json";

// Left while the first start is not complete, so that one that was killed is made up for.
const FIRST_START = "first-start";

/** Takes the data directory, starts its PostgreSQL, and brings the database up to date. Throws codes of the start. */
export async function openEmbeddedDatabase(
  config: Config,
  progress: (line: string) => void,
): Promise<EmbeddedDatabase> {
  const lock = await acquireLock(config.dataDirectory);
  try {
    const database = await openDatabaseIn(config, progress);
    return { ...database, stop: () => database.stop().finally(() => lock.release()) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The same in a data directory that this process holds already. */
export async function openDatabaseIn(
  { dataDirectory }: Config,
  progress: (line: string) => void,
): Promise<EmbeddedDatabase> {
  const secrets = await secretsOf(dataDirectory);
  const there = existsSync(join(dataDirectory, HOME));
  const marker = join(dataDirectory, FIRST_START);
  if (!there) await writeFile(marker, "", { mode: 0o600 });
  progress(there ? "Starting PostgreSQL..." : `Making a PostgreSQL in ${dataDirectory}...`);
  const server = await startEmbedded({ directory: dataDirectory, password: secrets.postgres.superuser, progress });
  const coordinates = join(dataDirectory, COORDINATES);
  const stop = async () => {
    await rm(coordinates, { force: true });
    await server.stop();
  };
  try {
    const addresses = addressesOf(server, secrets);
    await setUp(addresses, secrets, progress);
    const { socket, port } = server;
    await writeFile(coordinates, JSON.stringify({ socket, port }), { mode: 0o600 });
    const firstStart = async (work: () => Promise<void>) => {
      if (!existsSync(marker)) return;
      await work();
      await rm(marker);
    };
    return { ...addresses, secrets, firstStart, exited: server.exited, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Runs `work` on the embedded server: the running one, or one that runs for as long as it takes. */
export async function withEmbeddedDatabase<T>(
  config: Config,
  work: (addresses: EmbeddedAddresses) => Promise<T>,
  progress: (line: string) => void = () => undefined,
): Promise<T> {
  const running = await runningDatabase(config.dataDirectory);
  if (running !== undefined) return work(running);
  const database = await openEmbeddedDatabase(config, progress);
  try {
    return await work(database);
  } finally {
    await database.stop();
  }
}

/** The running embedded server of a data directory, or undefined. */
export async function runningDatabase(directory: string): Promise<EmbeddedAddresses | undefined> {
  const secrets = await readSecrets(directory);
  if (secrets === undefined) return undefined;
  try {
    const coordinates = JSON.parse(await readFile(join(directory, COORDINATES), "utf8"));
    const addresses = addressesOf(coordinates, secrets);
    await withConnection(addresses.url("keyrow_authenticator"), (client) => client.query("select"));
    return addresses;
  } catch {
    // No file, or nobody there: then it is not running, and whoever asked starts it.
    return undefined;
  }
}

function addressesOf(coordinates: Pick<Coordinates, "socket" | "port">, { postgres }: EmbeddedSecrets) {
  const { superuser, ...logins } = postgres;
  const passwords: Record<EmbeddedLogin, string> = { postgres: superuser, ...logins };
  return {
    url: (user: EmbeddedLogin, database = DATABASE) =>
      socketUrl(coordinates, { user, password: passwords[user] }, database),
  };
}

async function secretsOf(directory: string): Promise<EmbeddedSecrets> {
  const present = await readSecrets(directory);
  if (present === undefined && existsSync(join(directory, HOME))) {
    throw new KeyrowError("DATA_DIRECTORY", {
      message: `The data directory ${directory} has a database, but lost its secrets.json.`,
      hint: "Restore it from a backup: the database knows the passwords in it and no others.",
    });
  }
  return present ?? embeddedSecrets(directory);
}

/** What `setup`, its foundation and `migrate` do, with the logins that do it elsewhere. */
async function setUp(addresses: EmbeddedAddresses, { postgres }: EmbeddedSecrets, progress: (line: string) => void) {
  const { superuser: _, ...passwords } = postgres;
  await setUpRoles(addresses.url("postgres", "postgres"), passwords);
  await createDatabase(addresses.url("postgres", "postgres"), DATABASE);
  await setUpDatabase(addresses.url("postgres"));
  const owner = asOwner(addresses.url("keyrow_migrate"));
  await layFoundation(owner);
  try {
    await migrate(owner, progress);
  } finally {
    await letGo(addresses.url("postgres"));
  }
}

/**
 * graphile-migrate keeps its connection for a moment, and ends the process without a word where it loses it then: so a
 * start that failed right after it, and stopped PostgreSQL, never told why.
 */
async function letGo(url: string): Promise<void> {
  clearAllPools();
  await withConnection(url, async (client) => {
    const connected = "select from pg_catalog.pg_stat_activity where usename = 'keyrow_migrate'";
    for (const deadline = Date.now() + LET_GO_MS; Date.now() < deadline; await sleep(5)) {
      if ((await client.query(connected)).rowCount === 0) return;
    }
  });
}
