import type pg from "pg";
import type { Place } from "../../plugins/encrypted-columns/seal.ts";
import { KeyrowError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Ring } from "../ring.ts";
import { type Progress, run } from "./run.ts";

const INTERVAL_MS = 2_000;
// What does not open now will hardly open in two seconds.
const FAILED_MS = 60_000;
// Small and slow: requests go first.
const BATCH = 100;
const ROWS_PER_SECOND = 1_000;

/** What heals. */
export interface HealParts {
  readonly pool: Pick<pg.Pool, "query">;
  readonly place: Place;
  readonly ring: Ring;
  readonly log: Log;
}

/** Healing in the background, until it is stopped; `stop` waits for the batch at hand. */
export interface Healing {
  stop(): Promise<void>;
}

/**
 * Moves what local keys have sealed to Transit whenever OpenBao is there, in small batches; several may do so side by
 * side. What fails is tried again later, and told once per change: rows that can't be moved, and a database that is away.
 */
export function startHealing(parts: HealParts): Healing {
  const stopping = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  let healing = Promise.resolve();
  let told = "";
  let failing = false;

  /** Gives how long to wait until the next time. */
  async function heal(): Promise<number> {
    try {
      const done = await healOnce(parts, stopping.signal);
      if (done === undefined) return INTERVAL_MS;
      const { moved, failed } = done;
      if (failing) parts.log.info("healing goes on");
      failing = false;
      if (moved > 0) parts.log.info({ values: moved }, "moved to Transit");
      // The same rows fail each time: no news.
      const news = [...failed].sort().join();
      if (news !== told && failed.size > 0) parts.log.error({ values: failed.size }, "values that can't be moved");
      told = news;
      return moved === 0 && failed.size > 0 ? FAILED_MS : INTERVAL_MS;
    } catch (error) {
      const away = error instanceof KeyrowError && error.code === "CIPHER_UNAVAILABLE";
      if (!away && !failing) parts.log.warn({ error }, "healing fails, and is tried again until it goes on");
      failing ||= !away;
      return INTERVAL_MS;
    }
  }

  function later(ms: number): void {
    if (stopping.signal.aborted) return;
    timer = setTimeout(() => {
      healing = heal().then(later);
    }, ms);
  }

  healing = heal().then(later);
  return {
    async stop() {
      stopping.abort();
      clearTimeout(timer);
      await healing;
    },
  };
}

/** Moves what there is to move now; undefined where nobody was asked, for there is no Transit, or OpenBao is away. */
async function healOnce({ pool, place, ring, log }: HealParts, signal: AbortSignal): Promise<Progress | undefined> {
  const { transit, local, cipher } = ring;
  if (transit === undefined || local === undefined || transit.availability !== "closed") return undefined;
  // A server may have sealed under a key that was added a moment ago.
  await local.refresh();
  const from = await inUse(pool, local.keyIds);
  if (from.length === 0) return { moved: 0, failed: new Set(), changed: 0 };
  log.debug({ keys: from }, "values wait to be moved to Transit");
  const target = { cipher: transit, transit };
  return run({ pool, place, opener: cipher, target, from, batch: BATCH, rate: ROWS_PER_SECOND, signal });
}

/** Those of some keys that have rows. */
async function inUse(pool: Pick<pg.Pool, "query">, keyIds: readonly string[]): Promise<string[]> {
  const { rows } = await pool.query<{ key_id: string }>(
    `select key_id from unnest($1::text[]) as key_id
     where exists (select from public.user_credentials c where c.key_id = key_id.key_id)`,
    [keyIds],
  );
  return rows.map(({ key_id }) => key_id);
}
