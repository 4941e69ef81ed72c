import type pg from "pg";
import type { Log } from "./log.ts";

const INTERVAL_MS = 2_000;
const MAX_IDS = 1_000;

/** Keeps `last_used_at`, to the minute and off the request's path: the log has the exact times. */
export interface Toucher {
  /** Notes ids whose values were revealed. */
  touch(ids: readonly string[]): void;
  /** Writes what is noted and stops. */
  stop(): Promise<void>;
}

/** Makes the toucher of a pool of the server's login. */
export function createToucher(pool: pg.Pool, log: Log): Toucher {
  // By minute, so that a credential in use costs one write a minute.
  let minute = 0;
  let done = new Set<string>();
  const waiting = new Set<string>();
  let writing: Promise<void> = Promise.resolve();

  async function write() {
    const ids = [...waiting].slice(0, MAX_IDS);
    if (ids.length === 0) return;
    for (const id of ids) waiting.delete(id);
    try {
      await pool.query("select keyrow.touch($1)", [ids]);
    } catch (error) {
      // A minute that is not noted is no loss worth a retry: the log has it.
      log.warn({ error }, "last_used_at could not be written");
    }
  }

  const timer = setInterval(() => {
    writing = writing.then(write);
  }, INTERVAL_MS);
  timer.unref();

  return {
    touch(ids) {
      const now = Math.floor(Date.now() / 60_000);
      if (now !== minute) done = new Set();
      minute = now;
      for (const id of ids) {
        if (!done.has(id)) waiting.add(id);
        done.add(id);
      }
    },
    async stop() {
      clearInterval(timer);
      await writing;
      while (waiting.size > 0) await write();
    },
  };
}
