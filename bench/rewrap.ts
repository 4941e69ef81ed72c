import { randomUUID } from "node:crypto";
import type { Bound, Cipher } from "../src/cipher/cipher.ts";
import { encodeContext } from "../src/cipher/context.ts";
import { addKey, readKeyFile } from "../src/cipher/keyfile.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { withCommandRing } from "../src/command-ring.ts";
import { type Config, readConfig } from "../src/config.ts";
import { KeyrowError } from "../src/errors.ts";
import { BATCH, rewrap } from "../src/reseal/rewrap.ts";
import { withConnection } from "../src/setup.ts";
import type { BenchDatabase } from "./database.ts";
import { Connection } from "./load.ts";
import { type BenchOpenBao, openBaoSettings } from "./openbao.ts";
import { tokenOf } from "./operations.ts";
import { insertRows, type Secrets, sealedRows } from "./people.ts";
import type { Measured } from "./speed.ts";
import { createSender, type Item } from "./straight.ts";

/** What `keyrow rewrap` works on here. */
export interface RewrapSite {
  readonly database: BenchDatabase;
  readonly secrets: Secrets;
  readonly openBao: BenchOpenBao;
}

/** How the run goes. */
export interface RewrapPace {
  readonly rows: number;
  readonly progress: (line: string) => void;
}

/** A sealed value of the table. */
type Stored = Bound & { readonly id: string };

/** A move of all values, and what its cipher has to do for a batch of them. */
interface Move {
  readonly title: string;
  /** The settings that it needs besides database and key file. */
  readonly settings: Readonly<Record<string, string>>;
  /** Throws where a value is not what it was. */
  cipher(batch: readonly Stored[], connection: Connection): Promise<void>;
}

const USERS = 100;
const LOADED_AT_ONCE = 10_000;
// With one batch after the other, client and OpenBao would wait for each other: that is not the limit of either.
const AT_ONCE = 4;

/**
 * Moves all values of a database from one local key to another, on to Transit, and on to Transit's next version, as
 * `keyrow rewrap` does, each beside the same work of the cipher without a database.
 */
export async function measureRewrap(site: RewrapSite, { rows, progress }: RewrapPace): Promise<Measured[]> {
  progress(`Loading ${rows.toLocaleString("en")} credentials...`);
  await load(site.database, site.secrets, rows);
  const measured: Measured[] = [];
  for (const prepare of [toLocal, toTransit, withinTransit]) {
    const move = await prepare(site);
    progress(`Measuring ${move.title}...`);
    measured.push(await measureMove(site, move, rows));
  }
  return measured;
}

async function measureMove(site: RewrapSite, move: Move, rows: number): Promise<Measured> {
  const { database, openBao, secrets } = site;
  await settle(database);
  const stored = await readStored(database);
  const middle = Math.ceil(stored.length / 2);
  const config = readConfig({
    WORKER_DATABASE_URL: database.url("keyrow_worker"),
    KEYROW_KEY_FILE: secrets.keyFile,
    ...move.settings,
  });
  // One half before it and one behind it: what else the machine does hits both alike.
  const before = await speed(middle, () => limit(openBao, move, stored.slice(0, middle)));
  const options = { to: undefined, rate: undefined, legacy: undefined, signal: new AbortController().signal };
  const own = await speed(rows, async () => {
    const { moved, failed, left } = await rewrap(config, { ...options, onProgress: () => undefined });
    if (moved === rows && failed.length === 0 && left === 0) return;
    throw new Error(`${move.title}: ${moved} of ${rows} rows were moved`);
  });
  const after = await speed(rows - middle, () => limit(openBao, move, stored.slice(middle)));
  await assertOpen(site, config);
  const most = rows / (middle / before + (rows - middle) / after);
  const ratios = [before, after].map((half) => own / half);
  return {
    title: move.title,
    figures: { keyrow: { rowsPerSecond: own }, limit: { rowsPerSecond: most } },
    ratios: [{ name: "keyrow / limit", median: own / most, min: Math.min(...ratios), max: Math.max(...ratios) }],
  };
}

/** Opens all values as a server would; throws where one is not what it was. */
async function assertOpen({ database }: RewrapSite, config: Config): Promise<void> {
  const stored = await readStored(database);
  await withCommandRing(config, "WORKER_DATABASE_URL", async ({ cipher }) => {
    const newest = await cipher.current();
    if (!stored.every(({ keyId }) => keyId === newest)) throw new Error("a value is under another key");
    for (const batch of batchesOf(stored)) assertValues(batch, await cipher.open(batch));
  });
}

/** As `keyrow rewrap` makes them; each is given once. */
function batchesOf(stored: readonly Stored[]): IterableIterator<Stored[]> {
  const length = Math.ceil(stored.length / BATCH);
  return Array.from({ length }, (_, index) => stored.slice(index * BATCH, (index + 1) * BATCH)).values();
}

/** How many rows a second work has done. */
async function speed(rows: number, work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return (rows / (performance.now() - started)) * 1_000;
}

/** What the cipher has to do for all of them, in batches as `keyrow rewrap` makes them, some at once. */
async function limit({ socket }: BenchOpenBao, move: Move, stored: readonly Stored[]): Promise<void> {
  const batches = batchesOf(stored);
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      const connection = await Connection.open(socket);
      for (const batch of batches) await move.cipher(batch, connection);
      connection.close();
    }),
  );
}

/** From the newest key of the key file to a new one. */
async function toLocal({ secrets: { keyFile } }: RewrapSite): Promise<Move> {
  const old = await newestLocal(keyFile);
  await addKey(keyFile);
  const next = await newestLocal(keyFile);
  return {
    title: "rewrap: a local key to the next one",
    settings: {},
    async cipher(batch) {
      const sealed = await next.seal(plain(batch, await old.open(batch)));
      assertValues(batch, await next.open(sealed.map((one, index) => ({ ...one, context: contextOf(batch, index) }))));
    },
  };
}

/** From the newest key of the key file to Transit's. */
async function toTransit({ secrets: { keyFile }, openBao }: RewrapSite): Promise<Move> {
  const local = await newestLocal(keyFile);
  const send = await createSender(openBao);
  return {
    title: "rewrap: a local key to Transit",
    settings: openBaoSettings(openBao),
    async cipher(batch, connection) {
      const items = plain(batch, await local.open(batch)).map(
        ({ value, context }): Item => ({ plaintext: Buffer.from(value).toString("base64"), context: textOf(context) }),
      );
      const sealed = await send(connection, "encrypt", items);
      const again = await send(connection, "decrypt", merged(items, sealed));
      assertValues(
        batch,
        again.map(({ plaintext = "" }) => Buffer.from(plaintext, "base64").toString()),
      );
    },
  };
}

/** From a version of Transit's key to the next one, inside OpenBao. */
async function withinTransit({ openBao }: RewrapSite): Promise<Move> {
  const { mount, key } = openBao.transitKey;
  await openBao.root({ path: `${mount}/keys/${key}/rotate`, body: {} });
  const send = await createSender(openBao);
  return {
    title: "rewrap: Transit to its key's next version",
    settings: openBaoSettings(openBao),
    async cipher(batch, connection) {
      const items = batch.map(({ encrypted, context }) => ({ ciphertext: encrypted, context: textOf(context) }));
      const moved = await send(connection, "rewrap", items);
      // Keyrow sees by that whether it opens.
      await send(connection, "rewrap", merged(items, moved));
    },
  };
}

async function newestLocal(keyFile: string): Promise<Cipher> {
  const [newest] = await readKeyFile(keyFile);
  if (newest === undefined) throw new Error("the key file has no key");
  return createLocalCipher(newest);
}

/** What the table holds, in the order in which it is moved. */
async function readStored(database: BenchDatabase): Promise<Stored[]> {
  return withConnection(database.url("postgres"), async (client) => {
    const { rows } = await client.query<{ id: string; user_id: string; encrypted_value: string; key_id: string }>(
      "select id, user_id, encrypted_value, key_id from public.user_credentials order by id",
    );
    return rows.map((row) => ({
      id: row.id,
      context: ["public.user_credentials", "encrypted_value", row.id, "USER", row.user_id],
      encrypted: row.encrypted_value,
      keyId: row.key_id,
    }));
  });
}

async function load(database: BenchDatabase, { cipher }: Secrets, rows: number): Promise<void> {
  await withConnection(database.url("postgres"), async (client) => {
    // No triggers: what is loaded is not on the record.
    await client.query("set session_replication_role = replica");
    const users = Array.from({ length: USERS }, () => randomUUID());
    await client.query("insert into public.users (id) select unnest($1::uuid[])", [users]);
    for (let loaded = 0; loaded < rows; loaded += LOADED_AT_ONCE) {
      const length = Math.min(LOADED_AT_ONCE, rows - loaded);
      const ids = Array.from({ length }, (_, index) => ({ id: randomUUID(), userId: users[index % USERS] as string }));
      await insertRows(client, await sealedRows(cipher, ids));
    }
  });
}

/** Makes each move begin alike: no dead rows, and nothing to be written for what came before. */
async function settle(database: BenchDatabase): Promise<void> {
  await withConnection(database.url("postgres"), async (client) => {
    await client.query("vacuum analyze public.user_credentials");
    await client.query("checkpoint");
  });
}

function plain(batch: readonly Stored[], values: ReadonlyArray<string | KeyrowError>) {
  return values.map((value, index) => {
    if (value instanceof KeyrowError) throw value;
    return { context: contextOf(batch, index), value };
  });
}

function contextOf(batch: readonly Stored[], index: number): Stored["context"] {
  return (batch[index] as Stored).context;
}

function textOf(context: Stored["context"]): string {
  return encodeContext(context).toString("base64");
}

/** The same items, now with what they were answered. */
function merged(items: readonly Item[], results: ReadonlyArray<{ readonly ciphertext?: string | undefined }>): Item[] {
  return items.map(({ context }, index) => ({ context, ciphertext: results[index]?.ciphertext }));
}

function assertValues(batch: readonly Stored[], values: ReadonlyArray<string | KeyrowError>): void {
  if (batch.every(({ id }, index) => values[index] === tokenOf(id))) return;
  throw new Error("a value is not what it was");
}
