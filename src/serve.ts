import type { Server } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { postgraphile } from "postgraphile";
import { grafserv } from "postgraphile/grafserv/node";
import { keyMissing, missingKeys } from "./census.ts";
import type { Config } from "./config.ts";
import { createCors } from "./cors.ts";
import { createPool, isAlive } from "./database.ts";
import { createPreset } from "./graphile.config.ts";
import { graphiqlPage } from "./graphiql.ts";
import { createExecutor } from "./graphql.ts";
import { checkIdentity } from "./identity.ts";
import type { ListedIssuer } from "./issuers/file.ts";
import { checkProvisioning, createIdentifier } from "./issuers/identify.ts";
import { openIssuers } from "./issuers/open.ts";
import { documentCache, MAX_WAITING } from "./limits.ts";
import type { Log } from "./log.ts";
import { checkLoginDefaults } from "./login-defaults.ts";
import { createLoopTurns } from "./loop-turns.ts";
import { createMayOpen } from "./may-open.ts";
import type { Metrics } from "./metrics.ts";
import { createLiveness, ownIssuer, ownSigner } from "./own-tokens.ts";
import { createProvisioner } from "./provision.ts";
import { checkRights } from "./rights.ts";
import type { Ring } from "./ring.ts";
import { checkSchema } from "./schema-version.ts";
import { closeServer, createHttpServer, listen } from "./server.ts";
import { createSession } from "./session.ts";
import type { SigningKey } from "./signing-key.ts";
import { createVerifier, issuerOf, type TokenRules } from "./token.ts";
import { createToucher } from "./touch.ts";
import { createTurns } from "./turns.ts";
import { unreachable } from "./unreachable.ts";
import { cutOff } from "./with-pg-client.ts";

/** What a server needs besides its configuration. */
export interface ServeParts {
  /** The address of the server's own login. */
  readonly databaseUrl: string;
  readonly ring: Pick<Ring, "cipher" | "transit" | "check">;
  readonly metrics?: Metrics | undefined;
  /** What the tokens of the settings' one issuer must satisfy; undefined where there are others alone. */
  readonly rules: TokenRules | undefined;
  readonly issuers?: readonly ListedIssuer[] | undefined;
  /** Signs the tokens that are made here, and verifies them; absent: there are none. */
  readonly signingKey?: SigningKey | undefined;
  readonly log: Log;
  /** A token for GraphiQL's first query, where there is one to give away. */
  readonly graphiqlToken?: string | undefined;
  /** An address with a superuser, to follow changes of the database's schema. */
  readonly watchAs?: string | undefined;
}

/** A running server. */
export interface Serving {
  readonly port: number;
  /** Stops listening, lets requests in flight finish, and closes everything; at most about five seconds. */
  stop(): Promise<void>;
}

const GRACE_MS = 3_500;
const RELEASE_MS = 500;

/** Checks the login's rights, whom the database sees asking, and the keys, then serves. Throws codes of the start. */
export async function serve(config: Config, parts: ServeParts): Promise<Serving> {
  const pool = createPool(parts.databaseUrl, {
    max: config.limits.databaseConnections,
    // Longer than any statement may take: PostgreSQL would have answered.
    query_timeout: config.limits.statementMs + 5_000,
  });
  try {
    await checkLoginDefaults(pool);
    await checkRights(pool);
    await checkSchema(pool);
    await checkIdentity(pool, { userSetting: config.userSetting, ...config.limits });
    await checkProvisioning(pool, parts.issuers);
    await checkKeys(pool, config, parts);
    return await serveOn(pool, config, parts);
  } catch (error) {
    await pool.end();
    throw unreachable(parts.databaseUrl, error) ?? error;
  }
}

async function checkKeys(pool: pg.Pool, { allowMissingKeys }: Config, parts: ServeParts): Promise<void> {
  const { ring, log } = parts;
  await ring.check();
  const missing = await missingKeys(pool, ring.cipher);
  if (missing.keys.length === 0) return;
  if (!allowMissingKeys) throw keyMissing(missing);
  const { keys, more } = missing;
  log.warn({ missing: keys, ...(more > 0 && { more }) }, "rows are sealed under keys that are not in the key ring");
}

async function serveOn(pool: pg.Pool, config: Config, parts: ServeParts): Promise<Serving> {
  const { metrics, rules, issuers: listed = [], signingKey, log } = parts;
  const { cipher, transit } = parts.ring;
  const { limits } = config;
  const session = createSession({ userSetting: config.userSetting, ...limits });
  const toucher = createToucher(pool, log);
  metrics?.watch(pool);
  const preset = createPreset({
    pool,
    cipher,
    session,
    limits,
    mayOpen: createMayOpen(config.offlineWorkers),
    onRevealed(ids) {
      metrics?.onRevealed(ids.length);
      toucher.touch(ids);
    },
    tokenSigner: signingKey && ownSigner(signingKey, config.jwt.audience),
    watchAs: parts.watchAs,
    graphiqlToken: parts.graphiqlToken,
  });
  const pgl = postgraphile(preset);
  const issuers = openIssuers(listed, log, metrics);
  let server: Server | undefined;
  try {
    const serv = pgl.createServ(grafserv);
    // The first request should not wait for the schema, nor a start succeed without one.
    const schema = await pgl.getSchema();
    // A plan of the largest document takes 20 MB: a few are kept, not Grafast's hundreds with fifty variants each.
    const grafast = { operationsCacheMaxLength: documentCache.plans, operationOperationPlansCacheMaxLength: 2 };
    schema.extensions = { ...schema.extensions, grafast: { ...schema.extensions.grafast, ...grafast } };
    await serv.ready();
    const handle = serv.createHandler();
    const loopTurn = createLoopTurns();
    const turnLimits = {
      running: limits.requestsPerUser,
      waiting: MAX_WAITING,
      total: limits.requests,
      waitMs: limits.requestMs,
    };
    server = createHttpServer({
      execute: createExecutor(pgl, serv, { limits, loopTurn, introspection: config.introspection }),
      loopTurn,
      turns: createTurns(turnLimits),
      askTurns: createTurns(turnLimits),
      limits,
      cors: createCors(config.corsOrigins),
      verify: createVerifier([
        ...(rules === undefined ? [] : [issuerOf(rules)]),
        ...issuers.issuers,
        ...(signingKey === undefined ? [] : [ownIssuer(signingKey, config.jwt.audience)]),
      ]),
      identify: createIdentifier(pool, limits.requestMs),
      liveness: createLiveness(pool, session, limits.requestMs),
      provision: config.jwt.provision ? createProvisioner(pool, session, limits.requestMs) : undefined,
      checks: {
        database: () => isAlive(pool),
        // What the breaker knows need not be tried again by everybody who asks.
        ...(transit === undefined && { cipher: () => cipher.check() }),
      },
      transit: transit && (() => transit.availability),
      metrics: config.metrics ? metrics : undefined,
      page: config.graphiql ? graphiqlPage(handle) : undefined,
      log,
    });
    const listening = server;
    const port = await listen(listening, config.port, config.host);
    const stop = async () => {
      await closeServer(listening, GRACE_MS);
      issuers.stop();
      cutOff(pool);
      // Its connection may have fallen silent.
      await within(RELEASE_MS, toucher.stop());
      // While following the schema, PostGraphile's release waits for a connection that never comes back.
      await within(RELEASE_MS, pgl.release());
      await within(RELEASE_MS, pool.end());
    };
    return { port, stop };
  } catch (error) {
    server?.close();
    issuers.stop();
    await toucher.stop();
    await pgl.release();
    throw error;
  }
}

/** Waits for a step of the end, but not for ever. */
async function within(ms: number, step: unknown): Promise<void> {
  const deadline = new AbortController();
  await Promise.race([step, sleep(ms, undefined, { signal: deadline.signal }).catch(() => undefined)]);
  deadline.abort();
}
