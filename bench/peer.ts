// The peer: what Keyrow does for the measured operations, on node:http and pg by hand. The same token, settings, SQL,
// transactions, audit and cipher; no GraphQL. It reads the settings of `keyrow serve`.
import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import pg from "pg";
import { readJsonBody } from "../src/body.ts";
import type { Cipher } from "../src/cipher/cipher.ts";
import type { Context } from "../src/cipher/context.ts";
import { readKeyFile } from "../src/cipher/keyfile.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { readConfig } from "../src/config.ts";
import { createLog } from "../src/log.ts";
import { createLoopTurns } from "../src/loop-turns.ts";
import { maskValue } from "../src/mask.ts";
import { interruption } from "../src/signals.ts";
import { type Claims, claimsFor, createVerifier, issuerOf } from "../src/token.ts";
import { createToucher } from "../src/touch.ts";
import type { Task } from "./operations.ts";
import { run, settingsOf } from "./transactions.ts";

interface Row extends pg.QueryResultRow {
  readonly id: string;
  readonly provider: string;
  readonly name: string;
}

interface Revealed extends pg.QueryResultRow {
  readonly id: string;
  readonly recorded: boolean;
  readonly encrypted_value: string;
  readonly key_id: string;
  readonly scope: string;
  readonly user_id: string;
  readonly workspace_id: string | null;
}

const interrupted = interruption();
const config = readConfig(process.env, "server");
if (config.databaseUrl === undefined || config.jwt.key === undefined) throw new Error("no settings");
const pool = new pg.Pool({
  connectionString: config.databaseUrl,
  max: 20,
  pipeline: true,
  options: "-c jit=off",
  application_name: "peer",
});
// An idle client that loses its server would end the process.
pool.on("error", () => undefined);
const cipher: Cipher = createKeyring((await readKeyFile(config.keyFile.path)).map(createLocalCipher));
const verify = createVerifier([issuerOf({ ...config.jwt, key: config.jwt.key })]);
const toucher = createToucher(pool, createLog(config.logLevel));

const loopTurn = createLoopTurns();
const server = createServer(async (request, response) => {
  try {
    const body = JSON.stringify({ data: request.method === "GET" ? null : await serve(request) });
    response.writeHead(200, {
      "content-type": "application/json; charset=utf-8",
      "cache-control": "no-store",
      "content-length": Buffer.byteLength(body),
    });
    response.end(body);
  } catch (error) {
    process.stderr.write(`peer: ${error}\n`);
    response.writeHead(500).end();
  }
});
server.listen(config.port, config.host);
await interrupted;
server.close();
server.closeAllConnections();
await toucher.stop();
await pool.end();
process.exit();

async function serve(request: IncomingMessage): Promise<object> {
  const bearer = await verify(request.headersDistinct.authorization);
  const claims = claimsFor(bearer, bearer.subject);
  const task = (await readJsonBody(request, config.limits.bodyBytes, loopTurn)) as Task;
  const client = await pool.connect();
  try {
    return await perform(client, claims, task);
  } finally {
    client.release();
  }
}

async function perform(client: pg.PoolClient, claims: Claims, task: Task): Promise<object> {
  const settings = settingsOf(claims);
  switch (task.operation) {
    case "reveal-one": {
      const rows = await run<Row>(client, settings, "one", [task.id]);
      const [userCredential] = await withValues(client, claims, settings, rows);
      return { userCredential };
    }
    case "reveal-50": {
      const rows = await run<Row>(client, settings, "many");
      return { userCredentials: { nodes: await withValues(client, claims, settings, rows) } };
    }
    case "list-50": {
      const rows = await run<Row>(client, settings, "list");
      return { userCredentials: { nodes: rows.map(listed) } };
    }
    case "create":
      return { createUserCredential: { userCredential: await create(client, claims, settings, task) } };
  }
}

/** Opens the values of rows, once the transaction that records their reveal is committed. */
async function withValues(client: pg.PoolClient, { userId }: Claims, settings: string, rows: readonly Row[]) {
  const revealed = await run<Revealed>(client, settings, "reveal", [rows.map(({ id }) => id)]);
  const open = revealed.filter((row) => row.recorded && (row.scope === "WORKSPACE" || row.user_id === userId));
  const opened = await cipher.open(
    open.map((row) => ({ context: contextOf(row), encrypted: row.encrypted_value, keyId: row.key_id })),
  );
  const values = new Map(open.map(({ id }, index) => [id, opened[index]]));
  toucher.touch([...values.keys()]);
  return rows.map(({ id, provider, name }) => {
    const value = values.get(id);
    if (typeof value !== "string") throw new Error("a value did not open");
    return { id, provider, name, value };
  });
}

function contextOf({ id, scope, user_id, workspace_id }: Pick<Revealed, "id" | "scope" | "user_id" | "workspace_id">) {
  const owner = scope === "WORKSPACE" ? workspace_id : user_id;
  return ["public.user_credentials", "encrypted_value", id, scope, owner] satisfies Context;
}

function listed({ masked_value, is_active, expires_at, created_at, ...row }: Row) {
  return { ...row, maskedValue: masked_value, isActive: is_active, expiresAt: expires_at, createdAt: created_at };
}

async function create(client: pg.PoolClient, { userId }: Claims, settings: string, { name, value = "" }: Task) {
  const id = randomUUID();
  const context = contextOf({ id, scope: "USER", user_id: userId, workspace_id: null });
  const [sealed] = await cipher.seal([{ context, value }]);
  const columns = [name, id, userId, sealed?.encrypted, sealed?.keyId, maskValue(value)];
  const [row] = await run<Row>(client, settings, "create", columns);
  if (row === undefined) throw new Error("nothing was created");
  return {
    id: row.id,
    provider: row.provider,
    name: row.name,
    maskedValue: row.masked_value,
    createdAt: row.created_at,
  };
}
