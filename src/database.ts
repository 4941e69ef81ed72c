import pg from "pg";
import { withLoginDefaults } from "./login-defaults.ts";

/** A pool of the server's login; `options` are pg's. */
export function createPool(connectionString: string, options: pg.PoolConfig = {}): pg.Pool {
  const pool = new pg.Pool({
    ...withLoginDefaults(connectionString),
    max: 20,
    connectionTimeoutMillis: 10_000,
    keepAlive: true,
    application_name: "keyrow",
    // Queries are written as they come, without waiting for the answer to the one before.
    pipeline: true,
    ...options,
  });
  // An idle client that loses its server would end the process.
  pool.on("error", () => undefined);
  return pool;
}

// PostgreSQL answers the settings of a transaction at once. If it does not, whatever cut that connection off without a
// word cut off all that there were; a packet filter, or a machine that is gone, may never say so.
const SIGN_MS = 3_000;
const made = new WeakMap<pg.PoolClient, number>();
const silent = new WeakMap<pg.Pool, number>();

/** A connection that was made since one last fell silent. */
export async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  for (;;) {
    const client = await pool.connect();
    const since = made.get(client) ?? performance.now();
    made.set(client, since);
    if (since > (silent.get(pool) ?? 0)) return client;
    client.release(true);
    client.connection.stream.destroy();
  }
}

/** Gives the connection up unless what this returns is called soon. */
export function awaitSign(pool: pg.Pool, client: pg.PoolClient): () => void {
  let waiting = true;
  const giveUp = () => {
    if (!waiting) return;
    silent.set(pool, performance.now());
    client.connection.stream.destroy();
  };
  // What has arrived while this process itself stood still is read first.
  const timer = setTimeout(() => setImmediate(giveUp), SIGN_MS);
  return () => {
    waiting = false;
    clearTimeout(timer);
  };
}

/** Asks the database, or one connection to it, for a sign of life; rejects where it gives none. */
export async function isAlive(database: pg.Pool | pg.PoolClient): Promise<void> {
  const sign: pg.QueryConfig & pg.ClientConfig = { text: "select", query_timeout: SIGN_MS };
  await database.query(sign);
}
