import pg from "pg";
import type { PgClient, PgClientQuery, PgClientResult, WithPgClient } from "postgraphile/@dataplan/pg";
import { tooLarge } from "./bounded-json.ts";
import { checkBudget, type Settings, spend } from "./budget.ts";
import { awaitSign, connect, isAlive } from "./database.ts";
import { KeyrowError } from "./errors.ts";
import { MAX_RESULT_CHARACTERS } from "./limits.ts";
import { KEYROW_CLAIM } from "./settings/database.ts";
import { createShares, type Shares, tookTooLong } from "./shares.ts";
import { transact, tryOut } from "./transaction.ts";

// The connections that requests use, and the pools whose requests were cut off.
const inUse = new WeakMap<pg.Pool, Set<pg.PoolClient>>();
const closed = new WeakSet<pg.Pool>();

/** Cuts off every request that still uses the pool, and refuses those that wait for it: nobody reads their answers. */
export function cutOff(pool: pg.Pool): void {
  closed.add(pool);
  for (const client of inUse.get(pool) ?? []) client.connection.stream.destroy();
}

// A request's steps run side by side, each on a connection of its own.
const USERS_PART = 4;
const sharesOf = new WeakMap<pg.Pool, Shares>();

/** A user's share of the pool: a fourth of its connections, and one at least. */
function takeShare(pool: pg.Pool, settings: Settings, requestMs: number): Promise<() => void> {
  const shares = sharesOf.get(pool) ?? createShares(Math.max(1, Math.floor(pool.options.max / USERS_PART)));
  sharesOf.set(pool, shares);
  return shares.take(settings[KEYROW_CLAIM] ?? "", msLeft(settings, requestMs));
}

// When each request asked for the first time.
const began = new WeakMap<Settings, number>();

/** How long a request may still take. Throws LIMIT_EXCEEDED where its time is over: Grafast only sees that between steps. */
function msLeft(settings: Settings, requestMs: number): number {
  const now = performance.now();
  const since = began.get(settings) ?? now;
  began.set(settings, since);
  const left = since + requestMs - now;
  if (left <= 0) throw tookTooLong();
  return left;
}

/**
 * PostGraphile's access to the pool. A user has a share of it, and a request waits for that until its time is over. With
 * settings, a call is one query in a transaction of its own.
 */
export function createWithPgClient(pool: pg.Pool, requestMs = 30_000): WithPgClient {
  const clients = inUse.get(pool) ?? new Set();
  inUse.set(pool, clients);
  const onClient: OnClient = async (settings, callback) => {
    const client = await connect(pool);
    // A client that is lost while it is checked out would end the process.
    const onError = () => undefined;
    client.on("error", onError);
    clients.add(client);
    let broken = true;
    try {
      if (closed.has(pool)) throw new KeyrowError("UNAVAILABLE");
      const result = await callback(settings === null ? plain(client) : transactional(pool, client, settings));
      broken = false;
      return result;
    } catch (error) {
      // Only an error that PostgreSQL reported leaves the connection in a state that is known, unless it was its last.
      const reported = error instanceof pg.DatabaseError || error instanceof KeyrowError;
      broken = !reported || !(await answers(client));
      throw error;
    } finally {
      client.off("error", onError);
      clients.delete(client);
      client.release(broken);
    }
  };
  const withPgClient: OnClient = async (settings, callback) => {
    if (settings === null) return onClient(settings, callback);
    const giveBack = await takeShare(pool, settings, requestMs);
    try {
      return await onClient(settings, callback);
    } finally {
      giveBack();
    }
  };
  return Object.assign(withPgClient, { release: () => undefined }) as unknown as WithPgClient;
}

type OnClient = <T>(settings: Settings | null, callback: (client: PgClient) => T | Promise<T>) => Promise<T>;

function answers(client: pg.PoolClient): Promise<boolean> {
  return isAlive(client).then(
    () => true,
    () => false,
  );
}

/** A client without settings: for PostGraphile's own questions at the start. */
function plain(client: pg.PoolClient): PgClient {
  return clientWith(client, (query) => client.query(config(client, query)));
}

// So many bytes hold more characters than a request may. An answer is in memory from its first byte to its last, and a
// list in a list is one text, which may be larger than any that Node can hold.
const MAX_ANSWER_BYTES = 3 * MAX_RESULT_CHARACTERS;

/** A query that may be on trial: its transaction is then taken back, once it has done all that it would do. */
export interface TrialQuery extends PgClientQuery {
  readonly onTrial?: boolean;
}

/** A client that takes one query, and runs it in a transaction with these settings. */
function transactional(pool: pg.Pool, client: pg.PoolClient, settings: Settings): PgClient {
  let used = false;
  return clientWith(client, async (query: TrialQuery) => {
    // Its transaction is over: another query would run as the login role.
    if (used) throw new Error("a call is one query");
    used = true;
    checkBudget(settings);
    const run = query.onTrial ? tryOut : transact;
    const arriving = cutBeyond(client.connection.stream, MAX_ANSWER_BYTES);
    const answer = await run(client, asJson(settings), config(client, query), awaitSign(pool, client)).catch(
      (error: unknown) => {
        throw arriving.stop() ? tooLarge() : error;
      },
    );
    if (arriving.stop()) throw tooLarge();
    spend(settings, answer);
    return answer;
  });
}

/** Cuts a connection on which more bytes arrive than so many; `stop` says whether it was cut. */
function cutBeyond(stream: pg.Connection["stream"], most: number): { stop(): boolean } {
  let bytes = 0;
  const count = (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > most) stream.destroy();
  };
  stream.on("data", count);
  return {
    stop() {
      stream.off("data", count);
      return bytes > most;
    },
  };
}

function clientWith(client: pg.PoolClient, run: (query: PgClientQuery) => Promise<pg.QueryResult>): PgClient {
  return {
    rawClient: client,
    async query<TData>(query: PgClientQuery): Promise<PgClientResult<TData>> {
      const { rows, rowCount } = await run(query);
      return { rows: rows as TData[], rowCount, notices: [] } as unknown as PgClientResult<TData>;
    },
    withTransaction() {
      throw new Error("a call is one query, in a transaction already");
    },
  } as unknown as PgClient;
}

function config(client: pg.PoolClient, { text, name, values, arrayMode }: PgClientQuery): pg.QueryConfig {
  return {
    text,
    values: values as unknown[],
    ...(name !== undefined && preparable(client, name) && { name }),
    ...(arrayMode && { rowMode: "array" as const }),
  };
}

// A request's settings are one object from first to last, and sent with each of its transactions.
const jsonOf = new WeakMap<Settings, string>();

function asJson(settings: Settings): string {
  const known = jsonOf.get(settings);
  if (known !== undefined) return known;
  const json = JSON.stringify(Object.entries(settings).filter(([, value]) => value !== undefined));
  jsonOf.set(settings, json);
  return json;
}

// As many statements as one connection keeps prepared: a caller with many documents must not fill the server's memory.
const MAX_PREPARED = 100;
const prepared = new WeakMap<pg.PoolClient, Set<string>>();

function preparable(client: pg.PoolClient, name: string): boolean {
  const names = prepared.get(client) ?? new Set();
  prepared.set(client, names);
  if (names.size < MAX_PREPARED) names.add(name);
  return names.has(name);
}
