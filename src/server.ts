import { randomUUID } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { type Answer, failure, headersOf, isEnding, notAllowed, refused, send } from "./answer.ts";
import type { BreakerState } from "./cipher/breaker.ts";
import { answerMalformed, isCutAsFlood, limitConnections } from "./connections.ts";
import { type Cors, isPreflight } from "./cors.ts";
import { KeyrowError } from "./errors.ts";
import type { Page } from "./graphiql.ts";
import { type GraphQLParts, serveGraphQL } from "./graphql-http.ts";
import { type Limits, MAX_HEAD_BYTES } from "./limits.ts";
import type { Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";

/** What the server is made of. */
export interface ServerParts extends GraphQLParts {
  readonly limits: Pick<Limits, "bodyBytes" | "answerBytes" | "receiveMs" | "requestMs" | "connections">;
  readonly cors: Cors;
  /** What is ready, by name: each throws where it is not. */
  readonly checks: Readonly<Record<string, () => Promise<void>>>;
  /** The state of Transit's breaker, where there is one: without it the server serves what it can. */
  readonly transit?: (() => BreakerState) | undefined;
  /** Absent where they are not served. */
  readonly metrics?: Pick<Metrics, "onRequest" | "read"> | undefined;
  /** Serves GraphiQL and its files. */
  readonly page: Page | undefined;
  readonly log: Log;
}

type Handler = (request: IncomingMessage, requestId: string, log: Log) => Promise<Answer>;
type Methods = Readonly<Record<string, Handler>>;

// Where a browser looks: an answer is data, whatever it holds, and no page's part.
const securityHeaders = {
  "x-content-type-options": "nosniff",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
} as const;

/** Makes the HTTP server; it listens where it is told to. */
export function createHttpServer(parts: ServerParts): Server {
  const { limits, cors, metrics } = parts;
  const readiness = shared(() => statesOf(parts.checks));
  const routes: Readonly<Record<string, Methods>> = {
    "/graphql": { POST: (request, id, log) => serveGraphQL(parts, request, id, log) },
    "/healthz": { GET: async () => ({ status: 200, body: { status: "ok" } }) },
    "/readyz": { GET: async (_request, _id, log) => serveReadiness(parts, await readiness(), log) },
    ...(metrics && { "/metrics": { GET: shared(() => serveMetrics(metrics)) } }),
  };
  const server = createServer({
    requestTimeout: limits.receiveMs,
    headersTimeout: limits.receiveMs,
    // Checked often enough that a limit of a second is not one of ten.
    connectionsCheckingInterval: Math.min(1_000, limits.receiveMs),
    // Node's own answer would have no code.
    requireHostHeader: false,
    maxHeaderSize: MAX_HEAD_BYTES,
  });
  const respond = async (request: IncomingMessage, response: ServerResponse, expectationMet: boolean) => {
    if (isEnding(request) || isCutAsFlood(request, response)) return;
    const requestId = idOf(request);
    const hosts = request.headersDistinct.host ?? [];
    toOriginForm(request);
    const path = (request.url ?? "/").split("?", 1)[0] as string;
    const log = parts.log.child({ request: requestId });
    response.setHeader("x-request-id", requestId);
    for (const [name, value] of Object.entries(securityHeaders)) response.setHeader(name, value);
    if (path === "/graphql") {
      for (const [name, value] of Object.entries(cors.headers(request))) response.setHeader(name, value);
    }
    // The path only where it is ours: another may hold anything.
    tellWhenClosed(request, response, path in routes ? path : undefined, log, metrics);
    try {
      const refusal = isBeyond(request)
        ? tooManyConnections(log)
        : protocolRefusal(request, hosts, expectationMet, log);
      if (refusal !== undefined) {
        send(request, response, refusal, limits.requestMs);
        return;
      }
      const page = await parts.page?.(request, response, log);
      if (page === "answered") return;
      const told = page ?? (await answer(routes[path], cors, request, requestId, log));
      send(request, response, told, limits.requestMs);
    } catch (error) {
      send(request, response, failure(error, log), limits.requestMs);
    }
  };
  server.on("request", (request, response) => respond(request, response, true));
  server.on("checkExpectation", (request, response) => respond(request, response, false));
  const isBeyond = limitConnections(server, limits.connections);
  answerMalformed(server);
  return server;
}

// A name or an address, and a port; nobody's login (RFC 3986, 3.2.2).
const HOST = /^(\[[\da-f:.]+\]|[\w.~!$&'()*+,;=%-]*)(:\d*)?$/i;

/** What HTTP itself demands (RFC 9110, 10.1.1; RFC 9112, 3.2), and Node would refuse without a code. */
function protocolRefusal(
  request: IncomingMessage,
  hosts: readonly string[],
  expectationMet: boolean,
  log: Log,
): Answer | undefined {
  const close = (answer: Answer): Answer => ({ ...answer, headers: { connection: "close" } });
  if (!expectationMet) return close(refused(417, "What the request expects is not met here.", log));
  const isNamed = hosts.length === 1 || (hosts.length === 0 && request.httpVersion !== "1.1");
  // The one in the target is there as well by now.
  if (!isNamed || ![...hosts, request.headers.host ?? ""].every((host) => HOST.test(host))) {
    return close(refused(400, "A request names its host, once, and as a name or an address.", log));
  }
  return undefined;
}

/** A target as a proxy is given it, `http://host/path`, is the path, at that host whatever else is said (RFC 9112, 3.2.2). */
function toOriginForm(request: IncomingMessage): void {
  const [, host, path] = /^https?:\/\/([^/?#]+)(.*)$/i.exec(request.url ?? "") ?? [];
  if (host === undefined || path === undefined) return;
  request.headers.host = host;
  request.url = path.startsWith("/") ? path : `/${path}`;
}

/** One line for each request. GraphiQL's files are no news. */
function tellWhenClosed(
  request: IncomingMessage,
  response: ServerResponse,
  path: string | undefined,
  log: Log,
  metrics: ServerParts["metrics"],
): void {
  const started = process.hrtime.bigint();
  response.on("close", () => {
    const ms = Number(process.hrtime.bigint() - started) / 1e6;
    if (path !== undefined) metrics?.onRequest(path, response.statusCode, ms);
    const level = path === undefined ? "debug" : "info";
    log[level](
      {
        method: request.method,
        path,
        status: response.statusCode,
        ms: Math.round(ms * 10) / 10,
        // The caller went away before the answer was sent.
        ...(!response.writableFinished && { aborted: true }),
      },
      "request",
    );
  });
}

/** The caller's request id, where it has a harmless form, else a new one. */
function idOf(request: IncomingMessage): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID();
}

async function answer(
  methods: Methods | undefined,
  cors: Cors,
  request: IncomingMessage,
  requestId: string,
  log: Log,
): Promise<Answer> {
  if (methods === undefined) throw new KeyrowError("NOT_FOUND", { message: "There is nothing at this address." });
  if (isPreflight(request) && "POST" in methods) return preflight(cors, request);
  const handler = methods[request.method ?? ""] ?? (request.method === "HEAD" ? methods.GET : undefined);
  if (handler !== undefined) return handler(request, requestId, log);
  return notAllowed([...Object.keys(methods), ...("GET" in methods ? ["HEAD"] : [])], log);
}

function preflight(cors: Cors, request: IncomingMessage): Answer {
  const headers = cors.preflight(request);
  if (headers !== undefined) return { status: 204, body: undefined, headers };
  throw new KeyrowError("FORBIDDEN", {
    message: "Pages of this origin may not call the API.",
    hint: "name the origin in CORS_ORIGINS",
  });
}

function tooManyConnections(log: Log): Answer {
  const busy = new KeyrowError("UNAVAILABLE", {
    message: "The server has as many connections as it takes. Try again later.",
  });
  return { ...failure(busy, log), headers: { ...headersOf(503), connection: "close" } };
}

/**
 * Lets whoever asks while an answer is under way, or in the same round of the event loop, have that one: what needs no
 * token must not cost much.
 */
function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined;
  const over = () => {
    underWay = undefined;
  };
  return () => {
    underWay ??= ask().finally(() => void setImmediate(over));
    return underWay;
  };
}

/** What is ready, by name. */
async function statesOf(checks: ServerParts["checks"]): Promise<Readonly<Record<string, "ok" | "unavailable">>> {
  const states = Object.entries(checks).map(async ([name, check]) => {
    const state = await check().then(
      () => "ok" as const,
      () => "unavailable" as const,
    );
    return [name, state] as const;
  });
  return Object.fromEntries(await Promise.all(states));
}

async function serveReadiness(
  parts: ServerParts,
  states: Awaited<ReturnType<typeof statesOf>>,
  log: Log,
): Promise<Answer> {
  const ready = Object.values(states).every((state) => state === "ok");
  if (!ready) log.warn({ states }, "not ready");
  const transit = parts.transit?.();
  // Lists, revocations and, with a fallback, new values go on without it: no reason to take the server out of service.
  const status = !ready ? "unavailable" : (transit ?? "closed") === "closed" ? "ok" : "degraded";
  return {
    status: ready ? 200 : 503,
    body: { status, ...states, ...(transit && { transit }) },
    headers: headersOf(ready ? 200 : 503),
  };
}

async function serveMetrics(metrics: Pick<Metrics, "read">): Promise<Answer> {
  const { text, type } = await metrics.read();
  return { status: 200, body: text, headers: { "content-type": type } };
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
