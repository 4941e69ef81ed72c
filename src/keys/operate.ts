import type pg from "pg";
import { withAdmin } from "../admin-database.ts";
import { isHeld } from "../cipher/cipher.ts";
import { addKey, createKeyFile, readKeyFileState, retireKey } from "../cipher/keyfile.ts";
import { versionOf } from "../cipher/openbao/versions.ts";
import { type CommandRing, withCommandRing } from "../command-ring.ts";
import type { Config } from "../config.ts";
import { KeyrowError } from "../errors.ts";
import { countRows, type KeyInUse, keysInUse, type LostRow, rowsUnder } from "./status.ts";
import { retireTransitVersion, rotateTransitKey, sealing, unknownKey } from "./transit-admin.ts";

// It reads every row.
const COUNTING_MS = 10 * 60_000;

/** What `keyrow keys status` tells. */
export interface Status {
  readonly keys: readonly KeyInUse[];
  /** The rows whose values don't open here; undefined unless they were asked for. */
  readonly rows: readonly LostRow[] | undefined;
  /** Whether every value opens now. */
  readonly complete: boolean;
}

/** Every key in use and what is known of it, and the rows of those that are not at hand where they are asked for. */
export function status(config: Config, { rows: withRows }: { rows: boolean }): Promise<Status> {
  return withCommandRing(config, "ADMIN_DATABASE_URL", async (ring) => {
    const current = await newestOf(ring);
    const states = await withRetired(config, ring);
    const read = async (client: pg.ClientBase) => {
      const keys = await keysInUse(client, states, current);
      const lost = keys.filter(({ state }) => !isHeld(state)).map(({ keyId }) => keyId);
      const rows = withRows ? await rowsUnder(client, states, lost) : undefined;
      return { keys, rows, complete: keys.every(({ state }) => state === "held") };
    };
    return withAdmin(config, read, COUNTING_MS);
  });
}

/** Makes the key file where there is none, with one key, and gives its id. Throws CONFIG_INVALID and KEY_FILE_INVALID. */
export async function create({ keyFile }: Config): Promise<string> {
  // The data directory's own is made by the start, once it knows that nothing is sealed yet.
  if (keyFile.mayCreate) {
    throw new KeyrowError("CONFIG_INVALID", {
      message: "KEYROW_KEY_FILE: it is not set; give the path that the key file is to have",
      hint: "Without it `npm start` makes one, for the embedded database.",
    });
  }
  const [first] = await createKeyFile(keyFile.path);
  return first?.id ?? "";
}

/** Makes a new key for all new values, and gives its id: of Transit where that seals, unless `which` says otherwise. */
export function rotate(config: Config, which: "transit" | "local" | undefined): Promise<string> {
  return withCommandRing(config, "ADMIN_DATABASE_URL", async ({ openBao }) => {
    if (which === "transit" && openBao === undefined) {
      throw new KeyrowError("USAGE", { message: "There is no Transit key: no OpenBao is configured." });
    }
    if (openBao !== undefined && which !== "local") return rotateTransitKey(openBao.operator, openBao.place);
    const [newest] = await addKey(config.keyFile.path);
    return newest?.id ?? "";
  });
}

/**
 * Lets nobody open what a key has sealed; refused while a row needs it, or while it seals. Throws KEY_NEEDED, USAGE, and
 * what the key file or OpenBao throws.
 */
export function retire(config: Config, keyId: string): Promise<void> {
  return withCommandRing(config, "ADMIN_DATABASE_URL", async (ring) => {
    const { openBao, local } = ring;
    if (keyId === (await newestOf(ring))) throw sealing();
    if (keyId === (await local?.current())) throw sealing(openBao === undefined ? "" : " local");
    if (openBao !== undefined && versionOf(openBao.place, keyId) !== undefined) {
      const { operator, place } = openBao;
      const retired = versionOf(place, keyId) ?? 0;
      const retiring = async (client: pg.ClientBase) => {
        // One at a time: an older version's, were it the later one, would take a newer version's back.
        const lock = `keyrow keys retire ${place.mount}/${place.key}`;
        await client.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [lock]);
        // OpenBao retires all older versions with it.
        await refuseWhileNeeded(client, (id) => (versionOf(place, id) ?? Number.POSITIVE_INFINITY) <= retired);
        await retireTransitVersion(operator, place, keyId);
      };
      return withAdmin(config, retiring, COUNTING_MS);
    }
    const needed = () => withAdmin(config, (client) => refuseWhileNeeded(client, (id) => id === keyId), COUNTING_MS);
    if (!(await retireKey(config.keyFile.path, keyId, needed))) throw unknownKey();
  });
}

async function refuseWhileNeeded(client: pg.ClientBase, needs: (keyId: string) => boolean): Promise<void> {
  const rows = await countRows(client, needs);
  if (rows === 0) return;
  throw new KeyrowError("KEY_NEEDED", {
    message: `${rows} ${rows === 1 ? "row needs" : "rows need"} this key.`,
    hint: "`keyrow rewrap` moves them to the newest key; `keyrow keys status` shows how many are left.",
  });
}

/** The key that seals now; undefined where OpenBao is away. What is asked of it is then known as well. */
async function newestOf({ cipher }: CommandRing): Promise<string | undefined> {
  try {
    return await cipher.current();
  } catch (error) {
    if (error instanceof KeyrowError && error.code === "CIPHER_UNAVAILABLE") return undefined;
    throw error;
  }
}

/** The ring's states, and `retired` for those of the key file that it leaves out. */
async function withRetired(
  { keyFile }: Config,
  { cipher, local }: CommandRing,
): Promise<Pick<CommandRing["cipher"], "state">> {
  const retired = new Set(local === undefined ? [] : (await readKeyFileState(keyFile.path)).retired);
  return { state: (keyId) => (retired.has(keyId) ? "retired" : cipher.state(keyId)) };
}
