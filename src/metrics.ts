import type pg from "pg";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { BreakerState } from "./cipher/breaker.ts";
import type { RingMeters } from "./ring.ts";

/** What a server counts, in the form that Prometheus reads. Labels hold no name, id or value of anybody's; issuers are called as JWT_ISSUERS calls them. */
export interface Metrics extends RingMeters {
  onRequest(path: string, status: number, ms: number): void;
  onRevealed(values: number): void;
  /** An issuer's keys were asked for at their address. */
  onKeysFetched(issuer: string, outcome: "fetched" | "failed"): void;
  /** Counts a pool's connections whenever it is read. */
  watch(pool: pg.Pool): void;
  /** The metrics as text, and its media type. */
  read(): Promise<{ readonly text: string; readonly type: string }>;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
const states: readonly BreakerState[] = ["closed", "half-open", "open"];

/** Makes a server's metrics, all at nothing. */
export function createMetrics(): Metrics {
  const registers = [new Registry()];
  const [registry] = registers as [Registry];
  collectDefaultMetrics({ register: registry });
  const requests = new Histogram({
    name: "keyrow_http_request_seconds",
    help: "How long requests took, by path and status.",
    labelNames: ["path", "status"],
    buckets: SECONDS,
    registers,
  });
  const revealed = new Counter({
    name: "keyrow_revealed_values_total",
    help: "Values that were revealed, each of them on the record.",
    registers,
  });
  const keysFetched = new Counter({
    name: "keyrow_issuer_keys_total",
    help: "How often an issuer's keys were asked for at their JWKS address, by outcome.",
    labelNames: ["issuer", "outcome"],
    registers,
  });
  const keysFetchedAt = new Gauge({
    name: "keyrow_issuer_keys_fetched_timestamp_seconds",
    help: "When an issuer's keys, as they serve now, were fetched.",
    labelNames: ["issuer"],
    registers,
  });
  const calls = new Histogram({
    name: "keyrow_transit_call_seconds",
    help: "How long calls to OpenBao's Transit took, by operation and outcome.",
    labelNames: ["operation", "outcome"],
    buckets: SECONDS,
    registers,
  });
  const items = new Counter({
    name: "keyrow_transit_values_total",
    help: "Values in calls to OpenBao's Transit, by operation.",
    labelNames: ["operation"],
    registers,
  });
  const fallbacks = new Counter({
    name: "keyrow_fallback_sealed_values_total",
    help: "Values that a local key sealed, for OpenBao was away.",
    registers,
  });
  let transit: Gauge | undefined;

  return {
    onRequest: (path, status, ms) => requests.observe({ path, status }, ms / 1_000),
    onRevealed: (values) => revealed.inc(values),
    onKeysFetched(issuer, outcome) {
      keysFetched.inc({ issuer, outcome });
      if (outcome === "fetched") keysFetchedAt.setToCurrentTime({ issuer });
    },
    onCall({ operation, outcome, items: count, ms }) {
      calls.observe({ operation, outcome }, ms / 1_000);
      items.inc({ operation }, count);
    },
    onState(state) {
      // Made when there is a Transit to tell of.
      transit ??= new Gauge({
        name: "keyrow_transit_state",
        help: "1 for the state that the circuit breaker before OpenBao is in: closed, half-open or open.",
        labelNames: ["state"],
        registers,
      });
      for (const one of states) transit.set({ state: one }, one === state ? 1 : 0);
    },
    onFallback: (values) => fallbacks.inc(values),
    watch(pool) {
      new Gauge({
        name: "keyrow_database_connections",
        help: "The server's connections to the database, and requests that wait for one.",
        labelNames: ["state"],
        registers,
        collect() {
          this.set({ state: "idle" }, pool.idleCount);
          this.set({ state: "used" }, pool.totalCount - pool.idleCount);
          this.set({ state: "awaited" }, pool.waitingCount);
        },
      });
    },
    read: async () => ({ text: await registry.metrics(), type: registry.contentType }),
  };
}
