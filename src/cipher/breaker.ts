/** `closed`: calls go through; `open`: none does; `half-open`: one probe tries whether they would. */
export type BreakerState = "closed" | "open" | "half-open";

/** Keeps calls away from what does not answer. */
export interface Breaker {
  readonly state: BreakerState;
  /** Lets no call through until a probe succeeds; told by whoever's call failed. */
  trip(reason: unknown): void;
  /** Ends the probes. */
  close(): void;
}

/** What a breaker is made of. */
export interface BreakerOptions {
  /** Tries whether calls would succeed; throws where they would not. Callers never wait for it. */
  readonly probe: () => Promise<void>;
  /** Told of each change, once; `reason` is what the failed call or probe threw. */
  readonly onChange: (state: BreakerState, reason: unknown) => void;
}

// The first probe comes soon, for most faults are short; later ones are rare enough to be no load.
const FIRST_MS = 100;
const MOST_MS = 5_000;

/** Makes a closed breaker. Once tripped, probes go on in the background, each twice as late as the one before. */
export function createBreaker({ probe, onChange }: BreakerOptions): Breaker {
  let state: BreakerState = "closed";
  let delay = FIRST_MS;
  let timer: NodeJS.Timeout | undefined;
  let ended = false;

  function become(next: BreakerState, reason?: unknown): void {
    state = next;
    onChange(next, reason);
  }

  function probeLater(): void {
    if (ended) return;
    timer = setTimeout(async () => {
      become("half-open");
      try {
        await probe();
        delay = FIRST_MS;
        if (!ended) become("closed");
      } catch (reason) {
        delay = Math.min(delay * 2, MOST_MS);
        if (ended) return;
        become("open", reason);
        probeLater();
      }
    }, delay);
    timer.unref();
  }

  return {
    get state() {
      return state;
    },
    trip(reason) {
      if (ended || state !== "closed") return;
      become("open", reason);
      probeLater();
    },
    close() {
      ended = true;
      clearTimeout(timer);
    },
  };
}
