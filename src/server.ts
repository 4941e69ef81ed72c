import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { readJsonBody } from "./body.ts";
import { KeyrowError } from "./errors.ts";
import { type GraphQLAnswer, type GraphQLExecutor, type GraphQLRequest, graphqlRequest } from "./graphql.ts";
import type { Log } from "./log.ts";
import { presentError } from "./present.ts";
import type { Claims } from "./token.ts";
import type { createTurns } from "./turns.ts";

/** What the server is made of. */
export interface ServerParts {
  readonly execute: GraphQLExecutor;
  /** How many requests of one user run at once. */
  readonly turns: ReturnType<typeof createTurns>;
  /** Throws UNAUTHENTICATED. */
  readonly verify: (authorization: string | readonly string[] | undefined) => Claims;
  /** Makes the user's row where it is missing; absent where users are not provisioned. */
  readonly provision: ((claims: Claims, requestId: string) => Promise<void>) | undefined;
  /** What is ready, by name: each throws where it is not. */
  readonly checks: Readonly<Record<string, () => Promise<void>>>;
  /** Serves GraphiQL and its files; true where it answered. */
  readonly page: ((request: IncomingMessage, response: ServerResponse) => Promise<boolean>) | undefined;
  readonly log: Log;
}

type Answer = { readonly status: number; readonly body: unknown; readonly headers?: Record<string, string> };
type Handler = (request: IncomingMessage, requestId: string, log: Log) => Promise<Answer>;

const GRAPHQL_RESPONSE = "application/graphql-response+json";

/** Makes the HTTP server; it listens where it is told to. */
export function createHttpServer(parts: ServerParts): Server {
  const routes: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
    "/graphql": { POST: (request, id, log) => serveGraphQL(parts, request, id, log) },
    "/healthz": { GET: async () => ({ status: 200, body: { status: "ok" } }) },
    "/readyz": { GET: (_request, _id, log) => serveReadiness(parts, log) },
  };
  return createServer(
    { requestTimeout: 30_000, headersTimeout: 10_000, connectionsCheckingInterval: 5_000 },
    async (request, response) => {
      const started = process.hrtime.bigint();
      const requestId = idOf(request);
      const path = (request.url ?? "/").split("?", 1)[0] as string;
      const log = parts.log.child({ request: requestId });
      response.setHeader("x-request-id", requestId);
      response.setHeader("x-content-type-options", "nosniff");
      response.on("close", () => {
        const ms = Number(process.hrtime.bigint() - started) / 1e6;
        // The path only where it is ours: another may hold anything. GraphiQL's files are no news.
        const known = path in routes ? path : undefined;
        const level = known === undefined ? "debug" : "info";
        log[level](
          {
            method: request.method,
            path: known,
            status: response.statusCode,
            ms: Math.round(ms * 10) / 10,
            // The caller went away before the answer was sent.
            ...(!response.writableFinished && { aborted: true }),
          },
          "request",
        );
      });
      try {
        if (await parts.page?.(request, response)) return;
        send(request, response, await answer(routes[path], request, requestId, log));
      } catch (error) {
        send(request, response, failure(error, log));
      }
    },
  );
}

/** The caller's request id, where it has a harmless form, else a new one. */
function idOf(request: IncomingMessage): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
}

async function answer(
  methods: Readonly<Record<string, Handler>> | undefined,
  request: IncomingMessage,
  requestId: string,
  log: Log,
): Promise<Answer> {
  if (methods === undefined) throw new KeyrowError("NOT_FOUND", { message: "There is nothing at this address." });
  const handler = methods[request.method ?? ""] ?? (request.method === "HEAD" ? methods.GET : undefined);
  if (handler !== undefined) return handler(request, requestId, log);
  const allow = Object.keys(methods).join(", ");
  const error = presentError(new KeyrowError("VALIDATION", { message: `Only ${allow} is answered here.` }), log);
  return { status: 405, body: { errors: [error] }, headers: { allow } };
}

async function serveGraphQL(
  parts: ServerParts,
  request: IncomingMessage,
  requestId: string,
  log: Log,
): Promise<Answer> {
  // Before anything is read of the request itself.
  const claims = parts.verify(request.headersDistinct.authorization);
  const type = mediaType(request.headers["content-type"]);
  if (type === undefined) return refused(415, "Send the request as application/json in UTF-8.", log);
  const accepted = accepts(request.headers.accept);
  if (accepted === undefined)
    return refused(406, "Answers are application/graphql-response+json or application/json.", log);
  const body = graphqlRequest(await readJsonBody(request));
  const giveBack = await parts.turns.take(claims.userId).catch((error: unknown) => tooMany(error, log));
  if (typeof giveBack !== "function") return giveBack;
  const result = await executeFor(parts, claims, body, requestId, log).finally(giveBack);
  if (result.errors !== undefined) {
    log.info({ codes: [...new Set(result.errors.map(({ extensions }) => extensions.code))] }, "errors");
  }
  return {
    status: statusOf(result, accepted),
    body: result,
    headers: { "content-type": `${accepted}; charset=utf-8` },
  };
}

async function executeFor(parts: ServerParts, claims: Claims, body: GraphQLRequest, requestId: string, log: Log) {
  await parts.provision?.(claims, requestId);
  return parts.execute(body, claims, requestId, log);
}

function tooMany(error: unknown, log: Log): Answer {
  return { status: 429, body: { errors: [presentError(error, log)] }, headers: { "retry-after": "1" } };
}

/** Where nothing was executed, the older media type says 200 all the same (GraphQL over HTTP, section 6.4). */
function statusOf({ data, errors }: GraphQLAnswer, accepted: string): number {
  if (data !== undefined || errors === undefined || accepted !== GRAPHQL_RESPONSE) return 200;
  return errors[0]?.extensions.code === "INTERNAL" ? 500 : 400;
}

function mediaType(header: string | undefined): "application/json" | undefined {
  const [type, ...parameters] = (header ?? "")
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  const charsets = parameters.filter((parameter) => parameter.startsWith("charset="));
  const utf8 = charsets.every((charset) => /^charset="?utf-8"?$/.test(charset));
  return type === "application/json" && utf8 ? type : undefined;
}

function accepts(header: string | undefined): string | undefined {
  const wanted = (header ?? "*/*")
    .toLowerCase()
    .split(",")
    .map((part) => part.split(";", 1)[0]?.trim());
  if (wanted.includes(GRAPHQL_RESPONSE)) return GRAPHQL_RESPONSE;
  return wanted.some((type) => ["application/json", "application/*", "*/*"].includes(type ?? ""))
    ? "application/json"
    : undefined;
}

function refused(status: number, message: string, log: Log): Answer {
  return { status, body: { errors: [presentError(new KeyrowError("VALIDATION", { message }), log)] } };
}

async function serveReadiness(parts: ServerParts, log: Log): Promise<Answer> {
  const names = Object.keys(parts.checks);
  const outcomes = await Promise.allSettled(names.map((name) => parts.checks[name]?.()));
  const states = Object.fromEntries(
    names.map((name, i) => [name, outcomes[i]?.status === "fulfilled" ? "ok" : "unavailable"]),
  );
  const ready = outcomes.every(({ status }) => status === "fulfilled");
  if (!ready) log.warn({ states }, "not ready");
  return { status: ready ? 200 : 503, body: { status: ready ? "ok" : "unavailable", ...states } };
}

function failure(error: unknown, log: Log): Answer {
  const presented = presentError(error, log);
  const { status } = new KeyrowError(presented.extensions.code);
  const headers: Record<string, string> =
    status === 401 ? { "www-authenticate": 'Bearer realm="keyrow", error="invalid_token"' } : {};
  return { status, body: { errors: [presented] }, headers };
}

function send(request: IncomingMessage, response: ServerResponse, { status, body, headers = {} }: Answer): void {
  const bytes = Buffer.from(JSON.stringify(body), "utf8");
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "cache-control": "no-store",
    "content-length": bytes.length,
    // What is left of a body that was refused must not be read as the next request.
    ...(!request.complete && { connection: "close" }),
    ...headers,
  });
  response.end(request.method === "HEAD" ? undefined : bytes);
}

/** Stops listening, lets requests in flight finish for so many ms, then cuts what is left. */
export async function closeServer(server: Server, ms: number): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const idle = setInterval(() => server.closeIdleConnections(), 50);
  const deadline = setTimeout(() => server.closeAllConnections(), ms);
  server.closeIdleConnections();
  await closed;
  clearInterval(idle);
  clearTimeout(deadline);
}

/** Listens, and gives the port; throws PORT_TAKEN, which names another way. */
export function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const taken = cause.code === "EADDRINUSE";
      const message = taken
        ? `Port ${port} on ${host} is taken.`
        : `The address ${host}, port ${port}, can't be listened on (${cause.code}).`;
      const hint = taken
        ? "Stop what listens there, or choose another: PORT=5679."
        : "Choose others with HOST and PORT.";
      reject(new KeyrowError("PORT_TAKEN", { message, hint }));
    });
    server.listen(port, host, () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}
