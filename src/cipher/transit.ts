import { KeyrowError } from "../errors.ts";
import type { Log } from "../log.ts";
import { type BreakerState, createBreaker } from "./breaker.ts";
import type { Bound, Cipher, KeyState, Patience, Plain, Sealed } from "./cipher.ts";
import { OpenBaoFault } from "./openbao/fault.ts";
import { MOST_TOGETHER } from "./openbao/gather.ts";
import { eachHeld, idOf, probe, rewrap, seal } from "./openbao/operations.ts";
import { openedValue } from "./openbao/stored.ts";
import { BYTES_PER_MS, createUsableKey, type TransitKeyParts } from "./openbao/transit-key.ts";
import { versionOf } from "./openbao/versions.ts";

/** What a Transit cipher is made of. */
export interface TransitParts extends TransitKeyParts {
  readonly log: Log;
  /** Told of its availability, at first and at each change. */
  readonly onState?: ((state: BreakerState) => void) | undefined;
}

/** A cipher whose key never leaves OpenBao. */
export interface Transit extends Cipher {
  readonly availability: BreakerState;
  /**
   * Brings values under the key's newest version inside OpenBao, so that no plaintext leaves it; each result was opened
   * there once more before it is given. Answers per item, as `open` does.
   */
  rewrap(items: readonly Bound[]): Promise<Array<Sealed | KeyrowError>>;
  /** Ends probes, renewals and connections. */
  close(): Promise<void>;
}

// Another server may have rotated the key, or somebody restored OpenBao from a backup: what is known does not last.
const FRESH_MS = 10_000;
// What takes no longer is not slow: so much for any call, and more for large values, as long as a request is over in two
// seconds.
const ALLOWED_MS = 50;
const MOST_ALLOWED_MS = 500;
const RARELY_MS = 60_000;
// How long anybody waits for what is slow, in timeouts of a call: several in a row, each of them just in time, are too late.
const TIMEOUTS = 1.2;

/**
 * The cipher of one derived key of OpenBao's Transit; stored as `vault:vN:base64`. Where OpenBao does not answer, calls
 * fail at once until a probe finds it back; what may not run is an unfit key, which `check` refuses.
 */
export function createTransit(parts: TransitParts): Transit {
  const { place, log } = parts;
  const key = createUsableKey(parts);
  const patienceMs = TIMEOUTS * parts.client.timeoutMs;
  const tell = createTeller(log);
  const rarely = createRareTeller(log);
  const breaker = createBreaker({
    probe: () => probe(key, place),
    onChange(state, reason) {
      parts.onState?.(state);
      tell(state, reason);
    },
  });

  parts.onState?.(breaker.state);

  let doubting = false;

  /** Has a probe tell whether OpenBao is away, where a call alone can't. */
  async function doubt(): Promise<void> {
    if (doubting) return;
    doubting = true;
    await probe(key, place).catch((reason: unknown) => breaker.trip(reason));
    doubting = false;
  }

  /** Runs what calls OpenBao, unless it is known to be away; throws CIPHER_UNAVAILABLE for every fault. */
  async function guarded<T>(
    work: () => Promise<T>,
    items: ReadonlyArray<Plain | Bound> = [],
    patience: Patience = { spent: 0 },
  ): Promise<T> {
    const { spent } = patience;
    if (breaker.state !== "closed" || spent >= patienceMs) throw new KeyrowError("CIPHER_UNAVAILABLE");
    const started = performance.now();
    const length = lengthOf(items);
    const allowed = Math.min(ALLOWED_MS + length / BYTES_PER_MS, MOST_ALLOWED_MS);
    try {
      return await inTime(work(), patienceMs - spent + allowed);
    } catch (error) {
      if (!(error instanceof OpenBaoFault)) throw error;
      if (error.kind !== "timeout") breaker.trip(error);
      // It may have been too much for it: one user's large values must not be everybody's absence.
      else if (length > MOST_TOGETHER) void doubt();
      // Whoever has waited elsewhere already is too impatient to say that it is away.
      else if (spent === 0) breaker.trip(error);
      throw new KeyrowError("CIPHER_UNAVAILABLE", { cause: error });
    } finally {
      patience.spent += Math.max(0, performance.now() - started - allowed);
    }
  }

  async function open(items: readonly Bound[]): Promise<Array<string | KeyrowError>> {
    const answers = await eachHeld(key, place, "decrypt", items, ({ plaintext }) => openedValue(plaintext));
    const refused = items.filter((_, index) => answers[index] instanceof KeyrowError);
    const count = (state: KeyState) => refused.filter(({ keyId }) => key.known?.state(keyId) === state).length;
    const [waiting, replaced] = [count("too-new"), count("replaced")];
    if (waiting > 0) rarely("warn", waiting, "values wait for a newer state of OpenBao's key; none is lost");
    if (replaced > 0) rarely("error", replaced, "values don't open: OpenBao's key of this name was made anew");
    return answers;
  }

  return {
    seal: (items, patience) =>
      items.length === 0 ? Promise.resolve([]) : guarded(() => seal(key, items), items, patience),
    async open(items, patience) {
      if (items.length === 0) return [];
      try {
        return await guarded(() => open(items), items, patience);
      } catch (error) {
        if (!(error instanceof KeyrowError)) throw error;
        return items.map(() => error);
      }
    },
    rewrap: (items) => (items.length === 0 ? Promise.resolve([]) : guarded(() => rewrap(key, place, items), items)),
    state(keyId) {
      if (versionOf(place, keyId) === undefined) return "missing";
      return key.known?.state(keyId) ?? "unreachable";
    },
    current: () =>
      guarded(async () => {
        const versions = await key.versions(performance.now() - FRESH_MS);
        // Nothing is sealed under it.
        if (versions.unfit) throw new OpenBaoFault(versions.unfit);
        return idOf(versions, versions.latest);
      }),
    check: () => guarded(() => probe(key, place)),
    get availability() {
      return breaker.state;
    },
    async close() {
      breaker.close();
      parts.tokens.close();
      await parts.client.close();
    },
  };
}

function lengthOf(items: ReadonlyArray<Plain | Bound>): number {
  return items.reduce((sum, item) => sum + ("value" in item ? item.value : item.encrypted).length, 0);
}

/** Waits so many ms at most; throws an OpenBaoFault. What comes later is nobody's. */
async function inTime<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new OpenBaoFault("timeout")), ms);
    timer.unref();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    work.catch(() => undefined);
    clearTimeout(timer);
  }
}

/** One line a minute of what lasts until somebody mends it, however many requests meet it; the others are for debugging. */
function createRareTeller(log: Log): (level: "warn" | "error", values: number, message: string) => void {
  const told = new Map<string, number>();
  return (level, values, message) => {
    const now = performance.now();
    const isNews = now - (told.get(message) ?? Number.NEGATIVE_INFINITY) >= RARELY_MS;
    if (isNews) told.set(message, now);
    log[isNews ? level : "debug"]({ values }, message);
  };
}

/** One line when OpenBao goes and one when it is back; the probes between them are no news. */
function createTeller(log: Log): (state: BreakerState, reason: unknown) => void {
  let told: unknown;
  return (state, reason) => {
    const refused = reason instanceof KeyrowError ? reason : undefined;
    const { kind, status } = reason instanceof OpenBaoFault ? reason : { kind: undefined, status: undefined };
    const news = state === "half-open" ? told : (refused?.code ?? state);
    const level = news === told ? "debug" : refused ? "error" : state === "closed" ? "info" : "warn";
    const message = refused?.message ?? (state === "closed" ? "OpenBao is back" : "OpenBao is away");
    log[level]({ transit: state, ...(kind && { reason: kind }), ...(status && { status }) }, message);
    told = news;
  };
}
