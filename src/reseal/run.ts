import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Place } from "../../plugins/encrypted-columns/seal.ts";
import type { Bound } from "../cipher/cipher.ts";
import { KeyrowError } from "../errors.ts";
import { boundOf, type Opener, type Resealed, reseal, type Target } from "./reseal.ts";
import { type Row, readRows, writeChanges } from "./rows.ts";

/** What a run works on. */
export interface RunParts {
  readonly pool: Pick<pg.Pool, "query">;
  readonly place: Place;
  readonly opener: Opener;
  readonly target: Target;
  /** The keys whose rows are to go. */
  readonly from: readonly string[];
  /** Rows at once. */
  readonly batch: number;
  /** Rows a second at most. */
  readonly rate?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Waits for whoever is away; gives whether to try once more. Where it is not set, nobody waits. */
  readonly whenAway?: (() => Promise<boolean>) | undefined;
  /** Told after each batch of all so far. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** What a run has done. */
export interface Progress {
  /** Rows under the target's key by now. */
  readonly moved: number;
  /** Rows whose value does not open, by id. */
  readonly failed: ReadonlySet<string>;
  /** Rows that somebody changed meanwhile: their new values won. */
  readonly changed: number;
}

/** Rows that were read, and what becomes of them. */
interface Batch {
  readonly rows: readonly Row[];
  readonly resealed: Promise<Resealed[]>;
}

// How many batches are sealed while another is written: enough that database and cipher seldom wait for each other.
const AHEAD = 1;
// A row is locked for as long as somebody's transaction takes, and few take longer than these together.
const BUSY_MS = 100;
const MOST_VAIN = 5;
const FIRST = "00000000-0000-0000-0000-000000000000";

/**
 * Moves the values of all rows under some keys to the target, batch by batch. It may be stopped at any moment, run again,
 * and run beside writers and beside another of its kind. Throws CIPHER_UNAVAILABLE; what was moved stays moved.
 */
export async function run(parts: RunParts): Promise<Progress> {
  const state = { moved: 0, failed: new Set<string>(), changed: 0 };
  const pace = createPace(parts.rate, parts.signal);
  // Who wants it slow has no use for it, and a batch should not wait out the pace with values that others change.
  const most = parts.rate === undefined ? AHEAD : 0;
  // Nor for more rows at once than there are to be in a second.
  const limit = Math.min(parts.batch, parts.rate ?? parts.batch);
  for (const keyId of parts.from) {
    // Of two at once, each begins elsewhere, so that they seldom do the same work.
    const middle = randomUUID();
    // Once more for what was locked when its turn came, a few times in vain at most.
    for (let vain = 0; vain < MOST_VAIN && !parts.signal?.aborted; ) {
      const before = state.moved;
      const skipped = (await range(keyId, middle, undefined)) + (await range(keyId, FIRST, middle));
      if (skipped === 0) break;
      vain = state.moved > before ? 0 : vain + 1;
      await wait(BUSY_MS, parts.signal);
    }
  }
  return state;

  /**
   * Moves a key's rows behind one id and up to another; gives how many were not written. They are written in order, and
   * while a batch is written the next one is sealed.
   */
  async function range(keyId: string, after: string, end: string | undefined): Promise<number> {
    let skipped = 0;
    const ahead: Batch[] = [];
    const writeNext = async () => {
      const batch = ahead.shift();
      if (batch !== undefined) skipped += await write(batch);
    };
    try {
      for (let last = after; !parts.signal?.aborted; ) {
        const page = await readRows(parts.pool, keyId, { after: last, limit });
        const rows = page.filter(({ id }) => (end === undefined || id <= end) && !state.failed.has(id));
        ahead.push(begin(rows));
        if (ahead.length > most) await writeNext();
        await pace(rows.length);
        last = page.at(-1)?.id ?? "";
        if (page.length < limit || (end !== undefined && last > end)) break;
      }
      while (ahead.length > 0 && !parts.signal?.aborted) await writeNext();
    } finally {
      // Nothing but the last answer of a cipher comes behind whoever is told that it ended.
      await Promise.allSettled(ahead.map(({ resealed }) => resealed));
    }
    return skipped;
  }

  function begin(rows: readonly Row[]): Batch {
    const resealed = rows.length === 0 ? Promise.resolve([]) : resealRows(rows);
    // Whoever writes it is told, and may come later than the fault.
    resealed.catch(() => undefined);
    return { rows, resealed };
  }

  async function write({ rows, resealed }: Batch): Promise<number> {
    const results = await resealed;
    if (rows.length === 0 || parts.signal?.aborted) return 0;
    const changes = rows.flatMap((row, index) => {
      const sealed = results[index];
      return sealed === undefined || sealed instanceof KeyrowError ? [] : [{ row, sealed }];
    });
    for (const [index, { id }] of rows.entries()) if (results[index] instanceof KeyrowError) state.failed.add(id);
    const written = await writeChanges(parts.pool, changes);
    state.moved += written.size;
    state.changed += changes.length - written.size;
    parts.onProgress?.(state);
    return changes.length - written.size;
  }

  /** A row that its place can't read is that row's failure alone. */
  async function resealRows(rows: readonly Row[]): Promise<Resealed[]> {
    const bound = rows.map((row) => {
      try {
        return boundOf(parts.place, row);
      } catch {
        return new KeyrowError("CANNOT_OPEN");
      }
    });
    const good = bound.flatMap((one) => (one instanceof KeyrowError ? [] : [one]));
    const results = await resealPatiently(good);
    let next = 0;
    return bound.map((one) => (one instanceof KeyrowError ? one : (results[next++] as Resealed)));
  }

  async function resealPatiently(items: readonly Bound[]): Promise<Resealed[]> {
    for (let vain = 1; ; vain += 1) {
      try {
        return await unlessStopped(reseal(items, parts.opener, parts.target), parts.signal);
      } catch (error) {
        const away = error instanceof KeyrowError && error.code === "CIPHER_UNAVAILABLE";
        const again = away && vain < MOST_VAIN && (await parts.whenAway?.());
        // Nothing of it is written any more.
        if (parts.signal?.aborted) return [];
        if (!again) throw error;
      }
    }
  }
}

/** What work gives; nothing as soon as it is told to stop, for a cipher may be silent for long, and has nothing to undo. */
async function unlessStopped<T>(work: Promise<T[]>, signal: AbortSignal | undefined): Promise<T[]> {
  if (signal === undefined) return work;
  const ended = new AbortController();
  const stopped = new Promise<T[]>((resolve) => {
    signal.addEventListener("abort", () => resolve([]), { once: true, signal: ended.signal });
    if (signal.aborted) resolve([]);
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    ended.abort();
    work.catch(() => undefined);
  }
}

/** Waits after so many rows until the rate allows more. */
function createPace(rate: number | undefined, signal: AbortSignal | undefined): (rows: number) => Promise<void> {
  const started = performance.now();
  let done = 0;
  return async (rows) => {
    done += rows;
    if (rate === undefined) return;
    const early = started + (done / rate) * 1_000 - performance.now();
    if (early > 0) await wait(early, signal);
  };
}

/** Waits so many ms, or until it is told to stop. */
async function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined);
}
