import type { Log } from "../log.ts";
import type { Cipher } from "./cipher.ts";
import { type KeyFileState, keyFileMark, readKeyFileState } from "./keyfile.ts";
import { createKeyring } from "./keyring.ts";
import { createLocalCipher, type LocalKey } from "./local.ts";

/** All local keys as one cipher: the newest seals. */
export interface LocalRing extends Cipher {
  /** Newest first. */
  readonly keyIds: readonly string[];
  /** Reads the key file again where it was changed. */
  refresh(): Promise<void>;
}

/** What a ring of local keys is made of. */
export interface LocalRingParts {
  /** Newest first, one at least. */
  readonly keys: readonly LocalKey[];
  /** The key file to follow; undefined where these keys are all there will be. */
  readonly path: string | undefined;
  readonly log: Log;
}

// Whoever opens under keys that are known learns of a retired one so late at most.
const FRESH_MS = 1_000;

/**
 * Makes the ring. What it follows is read again before anything is sealed, so that no value is sealed under a key that
 * was retired, and before a key is taken for unknown. A file that can't be read changes nothing.
 */
export function createLocalRing({ keys: first, path, log }: LocalRingParts): LocalRing {
  let keys = first;
  let ring = ringOf(keys);
  let mark = "";
  let since = Number.NEGATIVE_INFINITY;
  let reading = Promise.resolve();

  async function read(file: string): Promise<void> {
    try {
      const before = keys;
      keys = merged(before, await readKeyFileState(file));
      ring = ringOf(keys);
      tell(log, before, keys);
    } catch (error) {
      // Once for each change of the file.
      log.warn({ error }, "the key file can't be read again; the keys that it had are used");
    }
  }

  async function refresh(): Promise<void> {
    if (path === undefined) return;
    since = performance.now();
    const found = await keyFileMark(path);
    if (found !== mark) {
      mark = found;
      // One after the other: the last to be read is the last to count.
      reading = reading.then(() => read(path));
    }
    await reading;
  }

  return {
    get keyIds() {
      return keys.map(({ id }) => id);
    },
    refresh,
    async seal(items, patience) {
      await refresh();
      return ring.seal(items, patience);
    },
    async open(items, patience) {
      if (performance.now() - since >= FRESH_MS) await refresh();
      return ring.open(items, patience);
    },
    state: (keyId) => ring.state(keyId),
    async current() {
      await refresh();
      return ring.current();
    },
    check: () => ring.check(),
  };
}

function ringOf(keys: readonly LocalKey[]): Cipher {
  return createKeyring(keys.map(createLocalCipher));
}

/**
 * The keys of the file, and behind them those that it no longer has: a wrong or older file must not close values that are
 * open. Only a retired key goes.
 */
function merged(before: readonly LocalKey[], { keys, retired }: KeyFileState): LocalKey[] {
  const named = new Set([...keys.map(({ id }) => id), ...retired]);
  return [...keys, ...before.filter(({ id }) => !named.has(id))];
}

/** One line where anything is another by now. */
function tell(log: Log, before: readonly LocalKey[], after: readonly LocalKey[]): void {
  const less = (some: readonly LocalKey[], others: readonly LocalKey[]) =>
    some.map(({ id }) => id).filter((id) => others.every((other) => other.id !== id));
  const [added, retired, seals] = [less(after, before), less(before, after), after[0]?.id];
  if (added.length === 0 && retired.length === 0 && seals === before[0]?.id) return;
  log.info({ added, retired, seals }, "the key file has changed");
}
