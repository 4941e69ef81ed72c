import type { JwtKey } from "../jwt-key.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { ListedIssuer } from "./file.ts";
import { fixedKey, type Issuer, type KeySource } from "./issuer.ts";
import { createKeySet } from "./jwks.ts";

/** Issuers at work: their keys are fetched from time to time until `stop`. */
export interface OpenIssuers {
  readonly issuers: readonly Issuer[];
  stop(): void;
}

/** Sets the listed issuers to work, and waits for none: one that is away must not hold a start up. */
export function openIssuers(
  listed: readonly ListedIssuer[],
  log: Log,
  metrics: Pick<Metrics, "onKeysFetched"> | undefined,
): OpenIssuers {
  const stops: Array<() => void> = [];
  const keySource = (name: string, keys: ListedIssuer["keys"]): KeySource => {
    if (isKey(keys)) return fixedKey(keys);
    const { jwks: url, algorithms } = keys;
    const set = createKeySet({ name, url, algorithms, log, onFetched: metrics?.onKeysFetched });
    set.start();
    stops.push(set.stop);
    return set.keyFor;
  };
  const issuers = listed.map(({ keys, ...issuer }) => {
    return { ...issuer, listed: true as const, keyFor: keySource(issuer.name, keys) };
  });
  return {
    issuers,
    stop() {
      for (const stop of stops) stop();
    },
  };
}

function isKey(keys: ListedIssuer["keys"]): keys is JwtKey {
  return "key" in keys;
}
