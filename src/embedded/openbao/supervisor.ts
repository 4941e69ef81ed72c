import { setTimeout as sleep } from "node:timers/promises";
import { logFileOf, type OpenBaoOptions, type OpenBaoProcess, runOpenBao } from "./process.ts";

const FIRST_WAIT_MS = 100;
const MOST_WAIT_MS = 5_000;

/** An OpenBao that is started again whenever it ends by itself. */
export interface Supervised {
  stop(): Promise<void>;
}

/** Keeps a running OpenBao running: its end, and that it does not start again, are a line each for who reads them. */
export function supervise(
  first: OpenBaoProcess,
  options: OpenBaoOptions,
  progress: (line: string) => void,
): Supervised {
  const stopping = new AbortController();
  const { signal } = stopping;
  let current: OpenBaoProcess | undefined = first;

  async function again(): Promise<OpenBaoProcess | undefined> {
    for (let wait = FIRST_WAIT_MS; ; wait = Math.min(wait * 2, MOST_WAIT_MS)) {
      // Waiting for it keeps no process alive.
      await sleep(wait, undefined, { ref: false, signal }).catch(() => undefined);
      if (signal.aborted) return undefined;
      try {
        return await runOpenBao({ ...options, signal });
      } catch {
        if (wait === FIRST_WAIT_MS && !signal.aborted)
          progress(`OpenBao does not start again; trying on. Its log ${logFileOf(options.home)} says why.`);
      }
    }
  }

  async function keep(): Promise<void> {
    while (current !== undefined) {
      await current.exited;
      if (signal.aborted) return;
      progress("OpenBao ended by itself; starting it again.");
      current = await again();
    }
  }

  const over = keep();
  return {
    async stop() {
      stopping.abort();
      await current?.stop();
      await over;
    },
  };
}
