import { createSecretKey, type KeyObject } from "node:crypto";
import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { isHeld } from "../cipher/cipher.ts";
import { everyKey } from "../cipher/keyfile.ts";
import { LEGACY_KEY_ID } from "../cipher/keyring.ts";
import { decodeBase64 } from "../cipher/local.ts";
import type { TransitKey } from "../cipher/openbao/access.ts";
import { createOpenBaoClient } from "../cipher/openbao/client.ts";
import { createTokenKeeper } from "../cipher/openbao/token.ts";
import { type CommandRing, withCommandRing } from "../command-ring.ts";
import type { Config } from "../config.ts";
import { withEmbeddedDatabase } from "../embedded-database.ts";
import { KeyrowError } from "../errors.ts";
import { openWorkerDatabase, type WorkerDatabase } from "../worker-database.ts";
import { createLegacyOpener } from "./legacy.ts";
import type { Opener, Target } from "./reseal.ts";
import { countByKey } from "./rows.ts";
import { type Progress, run } from "./run.ts";

/** Whose keys legacy values are under: never the server's own. */
export interface LegacySource {
  /** The path of a file with 32 bytes in hexadecimal or base64. */
  readonly keyFile: string | undefined;
  readonly transit: TransitKey | undefined;
}

/** What `keyrow rewrap` is asked for. */
export interface RewrapOptions {
  readonly to: "transit" | "local" | undefined;
  /** Rows a second at most. */
  readonly rate: number | undefined;
  readonly legacy: LegacySource | undefined;
  readonly signal: AbortSignal;
  /** Told of all so far, and how many rows there were to move. */
  readonly onProgress: (progress: Progress, total: number) => void;
}

/** What a rewrap came to. */
export interface RewrapResult {
  readonly moved: number;
  /** Rows whose value does not open, by id. */
  readonly failed: readonly string[];
  /** Rows that are still to be moved: it was stopped, or somebody was changing them. */
  readonly left: number;
  /** Rows under keys that are not here, which nothing can be done about; another application's among them. */
  readonly keyless: number;
}

// How long OpenBao may be away in between: a raft of one takes ten seconds to restart, and is asked every five.
const AWAY_MS = 30_000;

// How long a rewrap that was stopped asks what is left.
const STOPPING_MS = 500;

/** Rows at once: as many as one call to OpenBao takes. */
export const BATCH = 200;

/**
 * Moves all values that open here to the newest key of the one that seals, or of the one that was asked for, and legacy
 * values where their key is given. Throws TRANSIT_UNBOUND, TRANSIT_CONVERGENT and CIPHER_UNAVAILABLE; what was moved stays
 * moved.
 */
export function rewrap(config: Config, options: RewrapOptions): Promise<RewrapResult> {
  return withCommandRing(config, "WORKER_DATABASE_URL", (ring) =>
    withWorker(config, async ({ pool, place }) => {
      const target = targetOf(ring, options.to);
      // Not to a key that binds nothing: what is opened again to prove it would open there all the same.
      await target.cipher.check();
      await knowStates(ring);
      let newest = await target.cipher.current();
      const isSource = (keyId: string) =>
        options.legacy === undefined ? keyId !== newest && isHeld(ring.cipher.state(keyId)) : keyId === LEGACY_KEY_ID;
      const sources = [...(await countByKey(pool))].filter(([keyId]) => isSource(keyId));
      const total = sources.reduce((sum, [, rows]) => sum + rows, 0);
      const from = sources.map(([keyId]) => keyId);
      const { moved, failed } = await withOpener(config, ring, options.legacy, (opener) =>
        run({
          pool,
          place,
          opener,
          target,
          from,
          batch: BATCH,
          rate: options.rate,
          signal: options.signal,
          whenAway: () => isBack(ring, options.signal),
          onProgress: (progress) => options.onProgress(progress, total),
        }),
      );
      // Somebody may have rotated it meanwhile: then what was moved before that has to be moved once more.
      const asked = target.cipher.current().catch(() => newest);
      // Whoever stopped it does not wait for an OpenBao that says nothing.
      newest = await (options.signal.aborted ? Promise.race([asked, sleep(STOPPING_MS, newest)]) : asked);
      const after = [...(await countByKey(pool))];
      const rowsOf = (chosen: (keyId: string) => boolean) =>
        after.reduce((sum, [keyId, rows]) => (chosen(keyId) ? sum + rows : sum), 0);
      const left = Math.max(0, rowsOf(isSource) - failed.size);
      const keyless = rowsOf((keyId) => !isSource(keyId) && !isHeld(ring.cipher.state(keyId)));
      return { moved, failed: [...failed], left, keyless };
    }),
  );
}

/** Waits until OpenBao is there, for a while; false where it is not. */
async function isBack({ transit }: CommandRing, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + AWAY_MS;
  while (transit !== undefined && performance.now() < deadline && !signal.aborted) {
    if (transit.availability === "closed") return true;
    await sleep(100);
  }
  return false;
}

/** Asks OpenBao which versions it has, though it need not be there: values that it can't open yet must not stop others. */
async function knowStates({ transit }: CommandRing): Promise<void> {
  await transit?.current().catch(() => undefined);
}

function targetOf({ cipher, transit, local }: CommandRing, to: RewrapOptions["to"]): Target {
  if (to === "transit" && transit === undefined) throw noTarget("no OpenBao is configured", "Set BAO_ADDR.");
  if (to === "local" && local === undefined) throw noTarget("there is no key file", "Set KEYROW_KEY_FILE.");
  // A fallback would seal under the very keys that values are to leave.
  if (transit !== undefined && to !== "local") return { cipher: transit, transit };
  return { cipher: local ?? cipher, transit: undefined };
}

function noTarget(why: string, hint: string): KeyrowError {
  return new KeyrowError("USAGE", { message: `Values can't be moved there: ${why}.`, hint });
}

/** Runs `work` as the worker: on the database of WORKER_DATABASE_URL, or on the embedded one. */
async function withWorker<T>(config: Config, work: (database: WorkerDatabase) => Promise<T>): Promise<T> {
  const on = async (url: string) => {
    const database = await openWorkerDatabase(url);
    try {
      return await work(database);
    } finally {
      await database.pool.end();
    }
  };
  const { workerDatabaseUrl } = config;
  return workerDatabaseUrl === undefined
    ? withEmbeddedDatabase(config, (addresses) => on(addresses.url("keyrow_worker")))
    : on(workerDatabaseUrl);
}

async function withOpener<T>(
  config: Config,
  ring: CommandRing,
  legacy: LegacySource | undefined,
  work: (opener: Opener) => Promise<T>,
): Promise<T> {
  if (legacy === undefined) return work(ring.cipher);
  const aes = legacy.keyFile === undefined ? undefined : await readLegacyKey(legacy.keyFile);
  if (aes !== undefined) await refuseOwnKey(config, ring, aes);
  if (legacy.transit === undefined) return work(createLegacyOpener({ aes }));
  const { openBao } = ring;
  if (openBao === undefined) throw noTarget("no OpenBao is configured to open them", "Set BAO_ADDR.");
  const { mount, key } = openBao.place;
  if (legacy.transit.mount === mount && legacy.transit.key === key) throw ownKey();
  const client = createOpenBaoClient(openBao.access);
  const tokens = createTokenKeeper(client, openBao.access.login);
  try {
    return await work(createLegacyOpener({ aes, transit: { client, tokens, place: legacy.transit } }));
  } finally {
    tokens.close();
    await client.close();
  }
}

/** Retired ones as well. What they have sealed would not open here, but nobody should come to rely on that. */
async function refuseOwnKey({ keyFile }: Config, { local }: CommandRing, aes: KeyObject): Promise<void> {
  const own = local === undefined ? [] : await everyKey(keyFile.path);
  if (own.some(({ key }) => key.equals(aes))) throw ownKey();
}

function ownKey(): KeyrowError {
  return new KeyrowError("USAGE", {
    message: "That is a key of the server's own: legacy values are under another application's.",
    hint: "Name the key that the other application used.",
  });
}

const KEY_BYTES = 32;

async function readLegacyKey(path: string): Promise<KeyObject> {
  const invalid = (what: string, hint: string) =>
    new KeyrowError("KEY_FILE_INVALID", { message: `The legacy key file ${path} ${what}.`, hint });
  const hint = "It holds 32 bytes in hexadecimal or base64, on one line.";
  const text = await readPrivateFile(path).catch((error: NodeJS.ErrnoException) => {
    throw invalid(`can't be read (${error.code})`, "Check the path, and that you may read it.");
  });
  if (text === undefined) throw invalid("is open to other users", `Run: chmod 600 ${path}`);
  const bytes = decodeKey(text.trim());
  if (bytes?.length !== KEY_BYTES) throw invalid("holds no key of 32 bytes", hint);
  return createSecretKey(bytes);
}

async function readPrivateFile(path: string): Promise<string | undefined> {
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await handle.stat();
    // The rights of a directory are no remedy.
    if (stats.mode & 0o077 && stats.isFile()) return undefined;
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

function decodeKey(text: string): Buffer | undefined {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Buffer.from(text, "hex");
  try {
    return decodeBase64(text);
  } catch {
    return undefined;
  }
}
