import { readFileSync } from "node:fs";
import { Agent, request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import test, { type ExecutionContext } from "ava";
import * as fc from "fast-check";
import { buildSchema } from "postgraphile/graphql";
import { corruptedRequests, type FuzzRequest, requests } from "./fuzz/documents.ts";
import { bodies, type FuzzMessage, messages, wires } from "./fuzz/http.ts";
import { GIVEN } from "./fuzz/values.ts";
import { CANARIES, makeWorld, type World } from "./fuzz/world.ts";

const { KEYROW_TEST_FUZZ_SEED: seed, KEYROW_TEST_FUZZ_RUNS: runs } = process.env;
const schema = buildSchema(readFileSync(new URL("../schema.graphql", import.meta.url), "utf8"));

// Whatever is wrong with a request is the caller's; nothing else is while everything runs.
const CALLERS = new Set([
  ...["UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "CONFLICT", "VALIDATION", "LIMIT_EXCEEDED"],
  ...["CREDENTIAL_REVOKED", "CREDENTIAL_EXPIRED"],
]);
// What stacks, SQL and PostgreSQL's own messages look like. The API's words are others.
const INSIDES =
  /node_modules|file:\/\/|\.(?:ts|js|mjs):\d|:\d+:\d+|\bat (?:async )?[\w.<>]+ \(|\bstack\b|\b(?:select|insert into|update) \S+ (?:from|set)\b|pg_catalog|encrypted_value|user_credentials|activity_logs|SQLSTATE|syntax error at|invalid (?:input|byte)|violates|duplicate key|permission denied|out of range|::text|Unexpected token/i;

const MOST_MS = 25_000;
// So many a property tries on the slowest machine: a run that tried almost nothing would show nothing.
const LEAST = 100;
// So many requests delete what there is.
const REPLENISH_EVERY = 50;

/** An answer as it came over the wire. */
interface Raw {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

const agent = new Agent({ keepAlive: true });

function send(it: World, message: FuzzMessage): Promise<Raw> {
  const { method, path, headers, body } = message;
  const { hostname, port } = new URL(it.server.url);
  const withBody = method !== "GET" && method !== "HEAD" && method !== "TRACE";
  return new Promise((resolve, reject) => {
    const length = withBody ? { "content-length": String(body.length) } : {};
    const request = httpRequest({ agent, hostname, port, method, path, headers: { ...headers, ...length } });
    request.on("error", (error: NodeJS.ErrnoException) => {
      // Meanwhile the server had closed it as idle.
      if (request.reusedSocket && error.code === "ECONNRESET") resolve(send(it, message));
      else reject(error);
    });
    request.on("response", async (response) => {
      const text = (await buffer(response)).toString();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
    });
    request.end(withBody ? body : undefined);
  });
}

/** Sends bytes as they are and half closes; what came until the server closed. */
function sendBytes({ server }: World, bytes: Buffer): Promise<string> {
  const { hostname, port } = new URL(server.url);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(Number(port), hostname);
    socket.on("data", (chunk) => chunks.push(chunk));
    // A reset is a way to refuse, too.
    socket.on("error", () => undefined).on("close", () => resolve(Buffer.concat(chunks).toString()));
    socket.end(bytes);
  });
}

function sendBody(it: World, body: Buffer): Promise<Raw> {
  const headers = {
    authorization: `Bearer ${it.token}`,
    "content-type": "application/json",
    accept: "application/graphql-response+json",
  };
  return send(it, { method: "POST", path: "/graphql", headers, body });
}

const sendRequest = (it: World, request: FuzzRequest) => sendBody(it, Buffer.from(JSON.stringify(request)));

/** Throws where an answer holds what no answer may. */
function checkAnswer({ own, others }: World, { status, headers, text }: Raw, document = ""): void {
  const must = (holds: boolean, claim: string) => {
    if (!holds) throw new Error(`${claim}: ${status} ${text.slice(0, 2_000)}`);
  };
  must(status < 500, "nothing breaks the server");
  // Parts of a value are values, too.
  const canaries = (from: string) => from.match(CANARIES) ?? [];
  must(!canaries(text).some((value) => others.has(value)), "another's value is never answered");
  if (text === "") return;
  must(/^application\/(graphql-response\+)?json; charset=utf-8$/.test(headers["content-type"] ?? ""), "it is JSON");
  const { errors = [], data, ...rest } = JSON.parse(text);
  must(
    Object.keys(rest).every((key) => ["status", "database", "cipher"].includes(key)),
    "it has known parts",
  );
  for (const { message, locations: _, path: __, extensions, ...more } of errors) {
    must(Object.keys(more).length === 0 && typeof message === "string", "an error has known parts");
    must(CALLERS.has(extensions?.code), "an error's code is of the catalogue, and the caller's");
    must(
      Object.keys(extensions).every((key) => key === "code" || key === "hint"),
      "an error says code and hint",
    );
  }
  const said = JSON.stringify(errors);
  must(!INSIDES.test(said), "an error tells nothing of the inside");
  must(canaries(said).length === 0 && !said.includes(GIVEN), "no value is in an error");
  if (canaries(text).length === 0) return;
  must(/\bvalue\b/.test(document), "a value is answered to who asks for it");
  must(
    strings(data).every((one) => own.has(one) || canaries(one).length === 0),
    "and as a whole",
  );
}

/** All texts in an answer's data. */
function strings(data: unknown): string[] {
  if (typeof data === "string") return [data];
  return typeof data === "object" && data !== null ? Object.values(data).flatMap(strings) : [];
}

/** What the server logged as unexpected. */
function errorsOf({ server }: World): string[] {
  return server
    .log()
    .split("\n")
    .filter((line) => /"level":"(warn|error|fatal)"/.test(line));
}

/** Runs a property on a world of its own, and asserts what must hold afterwards. */
async function holds<T>(
  t: ExecutionContext,
  makeArbitrary: (it: World) => fc.Arbitrary<T>,
  numRuns: number,
  property: (it: World, given: T) => Promise<void>,
): Promise<void> {
  const it = await makeWorld(t);
  const wanted = runs === undefined ? numRuns : Number(runs);
  // On a busy machine fewer will do, but never fewer than the least.
  const deadline = runs === undefined ? Date.now() + MOST_MS : Number.POSITIVE_INFINITY;
  let count = 0;
  const run = async (given: T) => {
    if (count >= LEAST && Date.now() > deadline) return;
    count += 1;
    if (count % REPLENISH_EVERY === 0) await it.replenish();
    await property(it, given).catch((error: Error) => {
      throw new Error(`${error.message}\n${errorsOf(it).at(-1) ?? ""}`);
    });
  };
  await fc.assert(fc.asyncProperty(makeArbitrary(it), run), {
    includeErrorInReport: true,
    numRuns: wanted,
    ...(seed !== undefined && { seed: Number(seed) }),
  });
  t.true(count >= Math.min(LEAST, wanted), `${count} were tried`);
  const after = await it.server.query(it.ana, "{ userCredentials { nodes { name } } }");
  t.deepEqual(after.codes, [], "a plain query is answered afterwards");
  const log = it.server.log();
  t.deepEqual([log.match(CANARIES), log.includes(GIVEN)], [null, false], "no value is in the log");
  t.deepEqual(errorsOf(it), [], "nothing was unexpected");
}

// One after the other: each keeps a processor busy, and the server in this process with it.
test.serial(
  "documents that fit the schema, with values at every boundary, never break it and give nothing away",
  async (t) => {
    const make = ({ known }: World) => requests({ schema, known, oddOnceIn: 8, wrongOnceIn: 1_000 });
    await holds(t, make, 500, async (it, request) => checkAnswer(it, await sendRequest(it, request), request.query));
  },
);

test.serial("values of wrong types never break it and give nothing away", async (t) => {
  const make = ({ known }: World) => requests({ schema, known, oddOnceIn: 8, wrongOnceIn: 20 });
  await holds(t, make, 500, async (it, request) => checkAnswer(it, await sendRequest(it, request), request.query));
});

test.serial("corrupted documents never break it and give nothing away", async (t) => {
  const make = ({ known }: World) => corruptedRequests({ schema, known, oddOnceIn: 8, wrongOnceIn: 200 });
  await holds(t, make, 600, async (it, request) => checkAnswer(it, await sendRequest(it, request), request.query));
});

test.serial("bodies of any bytes never break it", async (t) => {
  await holds(
    t,
    () => bodies,
    600,
    async (it, body) => checkAnswer(it, await sendBody(it, body)),
  );
});

test.serial("requests of any method, path and headers never break it", async (t) => {
  const make = ({ token, server }: World) => messages([token, server.token("00000000-0000-4000-8000-000000000000")]);
  await holds(t, make, 600, async (it, message) => checkAnswer(it, await send(it, message)));
});

test.serial("bytes of any kind on a connection never break it", async (t) => {
  await holds(
    t,
    ({ token }) => wires(token),
    600,
    async (it, bytes) => {
      const text = await sendBytes(it, bytes);
      if (text === "") return;
      // 501 is for a method that nobody knows.
      const statuses = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
      if (!text.startsWith("HTTP/1.1 ") || statuses.some((status) => status >= 500 && status !== 501)) {
        throw new Error(text.slice(0, 500));
      }
      const answered = text.replaceAll(/^date: .*$/gim, "");
      if (answered.includes("canary-") || INSIDES.test(answered)) throw new Error(text.slice(0, 2_000));
    },
  );
});
