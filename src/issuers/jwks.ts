import { createPublicKey, type JsonWebKey, KeyObject } from "node:crypto";
import { createRemoteJWKSet, customFetch } from "jose";
import { KeyrowError } from "../errors.ts";
import { parseJsonBytes } from "../json.ts";
import { type JwtKey, verifyingKey } from "../jwt-key.ts";
import type { Log } from "../log.ts";
import { readAtMost } from "../read-at-most.ts";
import type { KeySource } from "./issuer.ts";

/** An issuer's keys at an address, as RFC 7517 describes them. */
export interface KeySet {
  readonly keyFor: KeySource;
  /** Fetches the keys, now and from time to time; it waits for nothing. */
  start(): void;
  stop(): void;
}

/** What a key set is made of; times in ms. */
export interface KeySetOptions {
  readonly name: string;
  readonly url: URL;
  readonly algorithms: readonly JwtKey["algorithm"][];
  readonly log: Log;
  readonly onFetched?: ((name: string, outcome: "fetched" | "failed") => void) | undefined;
  /** How often keys are fetched again, so that one which the issuer took back is gone here as well. */
  readonly refreshMs?: number;
  /** How long after one fetch began the next may begin, whoever asks. */
  readonly pauseMs?: number;
  readonly timeoutMs?: number;
  /** In ms, by a clock that nobody sets. */
  readonly now?: () => number;
}

const REFRESH_MS = 5 * 60_000;
const PAUSE_MS = 10_000;
const TIMEOUT_MS = 5_000;
// Some twenty times what the largest issuers serve.
const MAX_BYTES = 256 * 1024;
const MAX_KEYS = 100;
const MAX_KID = 255;

/**
 * Makes the key set of an address. jose chooses the key (by `kid`, `kty`, `crv`, `alg`, `use` and `key_ops`; of several that
 * fit, none), fetches once for all who wait, and again for a `kid` that it does not know. What it leaves open is closed here: a
 * pause between fetches, failed ones included, a size, strict JSON, weak keys, and the last good keys while the issuer is away.
 */
export function createKeySet(options: KeySetOptions): KeySet {
  const { name, url, algorithms, log, onFetched, now = () => performance.now() } = options;
  const { refreshMs = REFRESH_MS, pauseMs = PAUSE_MS, timeoutMs = TIMEOUT_MS } = options;
  let lastBegun = Number.NEGATIVE_INFINITY;
  let working: boolean | undefined;
  let timer: NodeJS.Timeout | undefined;
  const stopping = new AbortController();

  const tell = (works: boolean, error?: unknown) => {
    onFetched?.(name, works ? "fetched" : "failed");
    if (works === working) return;
    // An issuer that works from the start is no news.
    if (!works)
      log.warn(
        { issuer: name, error: (error as Error).cause ?? error },
        set.jwks() === undefined
          ? "an issuer's keys could not be fetched; until they are, its tokens are refused"
          : "an issuer's keys could not be fetched; the last ones serve on",
      );
    else if (working === false) log.info({ issuer: name }, "an issuer's keys were fetched again");
    working = works;
  };

  const set = createRemoteJWKSet(url, {
    // The clock here is this module's, and so is the pause.
    cacheMaxAge: Number.POSITIVE_INFINITY,
    cooldownDuration: 0,
    timeoutDuration: timeoutMs,
    [customFetch]: async (address, init) => {
      if (now() - lastBegun < pauseMs) throw new Error("fetched a moment ago");
      lastBegun = now();
      try {
        const signal = AbortSignal.any([init.signal, stopping.signal]);
        const response = await boundedFetch(address, { ...init, signal });
        tell(true);
        return response;
      } catch (error) {
        if (!stopping.signal.aborted) tell(false, error);
        throw error;
      }
    },
  });
  const refresh = () => void set.reload().catch(() => undefined);
  const checked = new WeakMap<object, JwtKey>();

  return {
    async keyFor({ alg, kid }) {
      if (!algorithms.some((one) => one === alg)) throw new Error("another algorithm");
      // Before it can make a fetch: no issuer names a key like that.
      if (kid !== undefined && (typeof kid !== "string" || kid.length > MAX_KID)) throw new Error("not a key's name");
      const found = await set({ alg: alg as string, ...(kid !== undefined && { kid }) }).catch((error: unknown) => {
        throw set.jwks() === undefined ? notYet() : error;
      });
      const key = checked.get(found) ?? verifyingKey(KeyObject.from(found));
      checked.set(found, key);
      return key;
    },
    start() {
      refresh();
      timer = setInterval(refresh, refreshMs).unref();
    },
    stop() {
      clearInterval(timer);
      stopping.abort();
    },
  };
}

/** Not the token's fault: the same one will do once the issuer answers. */
function notYet(): KeyrowError {
  return new KeyrowError("UNAVAILABLE", {
    message: "The keys of this token's issuer can't be fetched right now. Try again later.",
  });
}

/** Fetches a key set whole; throws for another status, a redirect among them, and for what is too large or no set of keys. */
async function boundedFetch(address: string, init: RequestInit): Promise<Response> {
  const response = await fetch(address, init);
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error("not a set of keys");
  }
  const bytes = await readAtMost(response.body, MAX_BYTES);
  if (bytes === undefined) throw new Error("too large to be a set of keys");
  const value = parseJsonBytes(bytes) as { keys?: unknown } | null;
  const keys: unknown = value?.keys;
  // An issuer without any key signs nothing: that is its fault, and not the last good keys'.
  if (!Array.isArray(keys) || keys.length === 0 || keys.length > MAX_KEYS || !keys.every(isObject)) {
    throw new Error("not a set of keys");
  }
  // One that is never taken must not be a second that fits.
  return Response.json({ keys: keys.filter(isTaken).map(forVerifying) });
}

function isTaken(key: JsonWebKey): boolean {
  try {
    // A private key that is shown signs for everybody.
    return key.d === undefined && verifyingKey(createPublicKey({ key, format: "jwk" })) !== undefined;
  } catch {
    return false;
  }
}

/** Without what else its pair is for: WebCrypto takes no public key that may sign as well. */
function forVerifying(key: JsonWebKey): JsonWebKey {
  return Array.isArray(key.key_ops) && key.key_ops.includes("verify") ? { ...key, key_ops: ["verify"] } : key;
}

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
