import { randomBytes, randomUUID } from "node:crypto";
import { Writable } from "node:stream";
import type { Cipher } from "../../src/cipher/cipher.ts";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import type { Transit } from "../../src/cipher/transit.ts";
import { readConfig } from "../../src/config.ts";
import { listedIssuers } from "../../src/issuers/file.ts";
import { secretKey } from "../../src/jwt-key.ts";
import { createLog, redirectConsole } from "../../src/log.ts";
import type { Metrics } from "../../src/metrics.ts";
import { serve } from "../../src/serve.ts";
import type { SigningKey } from "../../src/signing-key.ts";
import { createSigner, type TokenRequest } from "../../src/token.ts";
import { localKey } from "../cipher/contract.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";

/** An HTTP answer to a GraphQL request. */
export interface Answer<T = Record<string, unknown>> {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly data: T | null | undefined;
  readonly errors: ReadonlyArray<{
    message: string;
    path?: Array<string | number>;
    extensions: { code: string; hint?: string };
  }>;
  /** The codes of the errors, in order. */
  readonly codes: readonly string[];
}

/** A real server on a database of its own. */
export interface TestServer {
  readonly database: TestDatabase;
  readonly url: string;
  /** What was logged so far, as text. */
  log(): string;
  /** How often the cipher was called, and with how many items. */
  readonly cipherCalls: { seal: number[]; open: number[] };
  /** What tokens are signed with, for those that `token` does not make. */
  readonly secret: string;
  token(userId: string, claims?: Partial<Omit<TokenRequest, "userId">>): string;
  /** Sends a query as a user; null sends no token. */
  // biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
  query<T = any>(userId: string | null, query: string, variables?: Record<string, unknown>): Promise<Answer<T>>;
  stop(): Promise<void>;
}

/** What a test may set: environment variables of the configuration, and a cipher of its own. */
export interface TestServerOptions {
  readonly env?: Record<string, string>;
  readonly cipher?: Cipher;
  /** The part of it that may be away, and how it is checked then. */
  readonly transit?: Transit;
  readonly check?: () => Promise<void>;
  readonly database?: TestDatabase;
  /** Signs the tokens that the server makes; absent: it makes none. */
  readonly signingKey?: SigningKey;
  readonly metrics?: Metrics;
  /** Whose token GraphiQL starts with. */
  readonly graphiqlUser?: string;
}

/** Starts a server in this process; `stop` also drops its database. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const database = options.database ?? (await createTestDatabase());
  try {
    return await inTurn(() => startOn(database, options));
  } catch (error) {
    await database.drop();
    throw error;
  }
}

let last: Promise<unknown> = Promise.resolve();

/** One start at a time: each holds the process while it builds its schema, and the others' connections would be given up. */
function inTurn<T>(start: () => Promise<T>): Promise<T> {
  const turn = last.then(start);
  last = turn.catch(() => undefined);
  return turn;
}

async function startOn(database: TestDatabase, options: TestServerOptions): Promise<TestServer> {
  const secret = randomBytes(48).toString("base64url");
  const config = readConfig({
    PORT: "0",
    KEYROW_DEMO: "off",
    KEYROW_GRAPHIQL: "off",
    LOG_LEVEL: "trace",
    ...options.env,
  });
  const rules = { ...config.jwt, key: secretKey(secret) };
  const chunks: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  const cipherCalls = { seal: [] as number[], open: [] as number[] };
  const cipher = counting(
    options.cipher ?? createKeyring([createLocalCipher(localKey("local:20261123-00000001"))]),
    cipherCalls,
  );
  const log = createLog(config.logLevel, destination);
  redirectConsole(log);
  const sign = createSigner(rules);
  const token: TestServer["token"] = (userId, claims = {}) => sign({ userId, expiresIn: 600, ...claims });
  const serving = await serve(config, {
    databaseUrl: database.url("keyrow_authenticator"),
    ring: { cipher, transit: options.transit, check: options.check ?? (() => cipher.check()) },
    metrics: options.metrics,
    rules,
    signingKey: options.signingKey,
    issuers: listedIssuers(config.jwt),
    log,
    graphiqlToken: options.graphiqlUser === undefined ? undefined : token(options.graphiqlUser),
  });
  const url = `http://127.0.0.1:${serving.port}`;
  return {
    database,
    url,
    cipherCalls,
    secret,
    log: () => chunks.join(""),
    token,
    query: (userId, query, variables) => post(url, userId === null ? undefined : token(userId), { query, variables }),
    async stop() {
      await serving.stop();
      await database.drop();
    },
  };
}

/** Posts a GraphQL request and reads the answer. */
// biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
export async function post<T = any>(url: string, token: string | undefined, body: unknown): Promise<Answer<T>> {
  const response = await fetch(`${url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      // An idle connection may be closed just when it is used again, and a request is not repeated.
      connection: "close",
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(body),
  }).catch((error: Error) => {
    // What fetch says by itself is that it failed.
    const { code, message } = (error.cause ?? {}) as { code?: string; message?: string };
    throw new Error(`${error.message}: ${code} ${message}`, { cause: error });
  });
  const text = await response.text();
  const { data, errors = [] } = JSON.parse(text);
  const codes = errors.map((error: { extensions: { code: string } }) => error.extensions.code);
  return { status: response.status, headers: response.headers, text, data, errors, codes };
}

function counting(cipher: Cipher, calls: TestServer["cipherCalls"]): Cipher {
  return {
    state: (keyId) => cipher.state(keyId),
    current: () => cipher.current(),
    check: () => cipher.check(),
    seal(items, patience) {
      calls.seal.push(items.length);
      return cipher.seal(items, patience);
    },
    open(items, patience) {
      calls.open.push(items.length);
      return cipher.open(items, patience);
    },
  };
}

/** A user, made by an admin; gives the id. */
export async function makeUser(database: TestDatabase, name = "somebody"): Promise<string> {
  const id = randomUUID();
  await asAdmin(database, "insert into public.users (id, name) values ($1, $2)", [id, name]);
  return id;
}

/** A workspace with members by role, made by an admin; gives the id. */
export async function makeWorkspace(database: TestDatabase, members: Record<string, string>): Promise<string> {
  const id = randomUUID();
  await asAdmin(database, "insert into public.workspaces (id, name) values ($1, 'a workspace')", [id]);
  for (const [userId, role] of Object.entries(members)) {
    await asAdmin(database, "insert into public.workspace_members (workspace_id, user_id, role) values ($1, $2, $3)", [
      id,
      userId,
      role,
    ]);
  }
  return id;
}

const adminPools = new WeakMap<TestDatabase, ReturnType<TestDatabase["pool"]>>();

/** Runs one statement as a DB admin: no claims, the role keyrow_admin. */
export async function asAdmin(database: TestDatabase, text: string, values: unknown[] = []) {
  const pool = adminPools.get(database) ?? database.pool("postgres");
  adminPools.set(database, pool);
  const client = await pool.connect();
  try {
    await client.query("begin; set local role keyrow_admin");
    const result = await client.query(text, values);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback");
    throw error;
  } finally {
    client.release();
  }
}
