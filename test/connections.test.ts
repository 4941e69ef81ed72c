import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { MAX_HEAD_BYTES, MAX_UNANSWERED } from "../src/limits.ts";
import { createMetrics } from "../src/metrics.ts";
import { localKey } from "./cipher/contract.ts";
import { asAdmin, makeUser, post, startTestServer, type TestServer } from "./helpers/server.ts";
import { until } from "./helpers/until.ts";

async function serverWith(t: ExecutionContext, env: Record<string, string>): Promise<TestServer> {
  const server = await startTestServer({ env });
  t.teardown(() => server.stop());
  return server;
}

/** A bare connection; what it got so far, and a promise of its end. */
async function open(t: ExecutionContext, server: TestServer) {
  const socket: Socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  t.teardown(() => socket.destroy());
  let got = "";
  socket.on("data", (chunk) => {
    got += chunk;
  });
  socket.on("error", () => undefined);
  const closed = once(socket, "close");
  await once(socket, "connect");
  return { socket, closed, got: () => got };
}

const head = (server: TestServer, user: string, length: number) =>
  [
    "POST /graphql HTTP/1.1",
    "host: localhost",
    "content-type: application/json",
    `authorization: Bearer ${server.token(user)}`,
    `content-length: ${length}`,
    "",
    "",
  ].join("\r\n");

/** The code of a whole answer as it came over the wire. */
const codeOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf("\r\n\r\n"))).errors[0].extensions.code;

test("who sends a head slowly is answered 408 with a code, and cut off", async (t) => {
  const server = await serverWith(t, { KEYROW_RECEIVE_TIMEOUT: "300ms" });
  const { socket, closed, got } = await open(t, server);
  socket.write("POST /graphql HTTP/1.1\r\nhost: localhost\r\n");
  await closed;
  t.regex(got(), /^HTTP\/1\.1 408 /);
  t.is(codeOf(got()), "LIMIT_EXCEEDED");
});

test("who sends a body slowly is answered 408 with a code, and cut off, and the server goes on", async (t) => {
  const server = await serverWith(t, { KEYROW_RECEIVE_TIMEOUT: "300ms", KEYROW_MAX_USER_REQUESTS: "1" });
  const user = await makeUser(server.database);
  const { socket, closed, got } = await open(t, server);
  socket.write(`${head(server, user, 100)}{"query":`);
  await closed;
  t.regex(got(), /^HTTP\/1\.1 408 /);
  t.is(codeOf(got()), "LIMIT_EXCEEDED");
  // The turn that it held came back.
  t.deepEqual((await server.query(user, "{ currentUser { id } }")).data, { currentUser: { id: user } });
  t.notRegex(server.log(), /unexpected error/);
});

test("a connection that says nothing is closed in the end", async (t) => {
  const server = await serverWith(t, { KEYROW_RECEIVE_TIMEOUT: "300ms" });
  const { closed } = await open(t, server);
  await t.notThrowsAsync(closed);
});

const tooMany = `/ HTTP/1.1\r\n${"x: y\r\n".repeat(1_001)}\r\n`;
const malformed: Array<[what: string, sent: string, status: number, code: string]> = [
  ["what is no HTTP", "hello\r\n\r\n", 400, "VALIDATION"],
  ["a method that nobody knows", "FOO /graphql HTTP/1.1\r\nhost: a\r\n\r\n", 501, "VALIDATION"],
  ["the wish for a tunnel", "CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n", 501, "VALIDATION"],
  ["more than a thousand headers", `GET ${tooMany}`, 431, "LIMIT_EXCEEDED"],
  [
    "two lengths of one body",
    "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    400,
    "VALIDATION",
  ],
  [
    "a length beside chunks",
    "POST /graphql HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    400,
    "VALIDATION",
  ],
];
for (const [what, sent, status, code] of malformed) {
  test(`${what} is answered ${status} ${code}`, async (t) => {
    const server = await serverWith(t, {});
    const { socket, closed, got } = await open(t, server);
    socket.write(sent);
    await closed;
    t.regex(got(), new RegExp(`^HTTP/1\\.1 ${status} `));
    t.is(codeOf(got()), code);
  });
}

/** A request whose target, names and values have so many bytes together. */
function headOf(bytes: number): string {
  const rest = "/healthz" + "host" + "a" + "connection" + "close" + "x";
  const x = "x".repeat(bytes - rest.length);
  return `GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: ${x}\r\n\r\n`;
}

for (const [bytes, status] of [
  [MAX_HEAD_BYTES - 1, 200],
  [MAX_HEAD_BYTES, 431],
  [10 * MAX_HEAD_BYTES, 431],
] as const) {
  test(`a target and headers of ${bytes} bytes are answered ${status}`, async (t) => {
    const server = await serverWith(t, {});
    const { socket, closed, got } = await open(t, server);
    socket.write(headOf(bytes));
    await closed;
    t.regex(got(), new RegExp(`^HTTP/1\\.1 ${status} `));
    if (status === 431) t.is(codeOf(got()), "LIMIT_EXCEEDED");
  });
}

test("a token of 100 kB is answered 401, by the verifier", async (t) => {
  const server = await serverWith(t, {});
  const token = `${"x".repeat(50_000)}.${"x".repeat(50_000)}.x`;
  for (const bearer of [token, server.token(randomUUID(), { name: "x".repeat(100_000) })]) {
    const answer = await post(server.url, bearer, { query: "{ currentUser { id } }" });
    t.deepEqual([answer.status, answer.codes], [401, ["UNAUTHENTICATED"]]);
    t.is(answer.headers.get("www-authenticate"), 'Bearer realm="keyrow", error="invalid_token"');
  }
});

test("the answer to HEAD has no body, though it has too many headers", async (t) => {
  const server = await serverWith(t, {});
  const { socket, closed, got } = await open(t, server);
  socket.write(`HEAD ${tooMany}`);
  await closed;
  t.regex(got(), /^HTTP\/1\.1 431 [\s\S]*\r\n\r\n$/);
});

test("what is no HTTP after a request is not taken for a method, though the request's own stands before it", async (t) => {
  const server = await serverWith(t, {});
  const { socket, closed, got } = await open(t, server);
  socket.write("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\nhello\r\n\r\n");
  await closed;
  t.notRegex(got(), / 501 /);
});

const unmet: Array<[what: string, head: string, status: number]> = [
  ["an expectation that nobody knows", "GET /healthz HTTP/1.1\r\nhost: a\r\nexpect: foo", 417],
  ["HTTP/1.1 without a host", "GET /healthz HTTP/1.1", 400],
  ["two hosts", "GET /healthz HTTP/1.1\r\nhost: a\r\nhost: b", 400],
  ["one host twice", "GET /healthz HTTP/1.1\r\nhost: a\r\nhost: a", 400],
  ["a host that is none", "GET /healthz HTTP/1.1\r\nhost: a b", 400],
  ["a host with a path", "GET /healthz HTTP/1.1\r\nhost: a/b", 400],
  ["a target with a login", "GET http://me@a/healthz HTTP/1.1\r\nhost: a", 400],
  ["two hosts in HTTP/1.0", "GET /healthz HTTP/1.0\r\nhost: a\r\nhost: b", 400],
  ["a request to the API without a host", "POST /graphql HTTP/1.1\r\ncontent-length: 0", 400],
];
for (const [what, head, status] of unmet) {
  test(`${what} is answered ${status} VALIDATION, as any other answer is, and ends the connection`, async (t) => {
    const server = await serverWith(t, {});
    const { socket, closed, got } = await open(t, server);
    socket.write(`${head}\r\n\r\n`);
    await closed;
    t.regex(got(), new RegExp(`^HTTP/1\\.1 ${status} `));
    for (const header of [/^cache-control: no-store\r$/m, /^x-request-id: \S+\r$/m, /^x-content-type-options: /m]) {
      t.regex(got(), header);
    }
    t.is(codeOf(got()), "VALIDATION");
  });
}

const targets: Array<[target: string, status: number]> = [
  ["http://example.com/healthz", 200],
  ["HTTPS://example.com:8443/healthz?x=http://a/b", 200],
  ["http://[::1]:80/healthz", 200],
  ["http://example.com", 404],
  ["http://example.com?/healthz", 404],
  ["http:///healthz", 404],
  ["*", 404],
];
for (const [target, status] of targets) {
  test(`the target ${target} is answered as its path, with ${status}`, async (t) => {
    const server = await serverWith(t, {});
    const { socket, closed, got } = await open(t, server);
    socket.write(`GET ${target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);
    await closed;
    t.regex(got(), new RegExp(`^HTTP/1\\.1 ${status} `));
    if (status !== 200) t.is(codeOf(got()), "NOT_FOUND");
  });
}

test("HTTP/1.0 needs no host, and 100-continue is met", async (t) => {
  const server = await serverWith(t, {});
  const old = await open(t, server);
  old.socket.write("GET /healthz HTTP/1.0\r\n\r\n");
  await old.closed;
  t.regex(old.got(), /^HTTP\/1\.1 200 /);
  const { socket, closed, got } = await open(t, server);
  socket.write("GET /healthz HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n");
  await closed;
  t.regex(got(), /^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 /);
});

test("as many requests as may wait on a connection are answered, and one more cuts it off", async (t) => {
  const server = await serverWith(t, {});
  const asked = "GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n";
  const answers = (got: string) => got.match(/HTTP\/1\.1 200 /g)?.length ?? 0;
  const fitting = await open(t, server);
  // Again and again: what was answered does not count.
  for (const round of [1, 2]) {
    fitting.socket.write(asked.repeat(MAX_UNANSWERED));
    while (answers(fitting.got()) < round * MAX_UNANSWERED) await once(fitting.socket, "data");
  }
  const flooding = await open(t, server);
  flooding.socket.write(asked.repeat(5_000));
  await flooding.closed.catch(() => undefined);
  t.is(answers(flooding.got()), 0);
  t.is(answers(fitting.got()), 2 * MAX_UNANSWERED);
});

test("whoever asks at once whether the server is ready shares one answer", async (t) => {
  let checks = 0;
  const cipher = createKeyring([createLocalCipher(localKey("local:20261123-00000001"))]);
  const check = async () => {
    checks += 1;
    await sleep(50);
  };
  const server = await startTestServer({ cipher: { ...cipher, check } });
  t.teardown(() => server.stop());
  checks = 0;
  const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(`${server.url}/readyz`)));
  t.true(answers.every(({ status }) => status === 200));
  t.true(checks > 0 && checks < 25, String(checks));
});

test("whoever asks at once for the metrics shares one answer", async (t) => {
  const metrics = createMetrics();
  let reads = 0;
  const read = async () => {
    reads += 1;
    await sleep(50);
    return metrics.read();
  };
  const server = await startTestServer({ metrics: { ...metrics, read }, env: { KEYROW_METRICS: "on" } });
  t.teardown(() => server.stop());
  const answers = await Promise.all(Array.from({ length: 50 }, () => fetch(`${server.url}/metrics`)));
  t.true(answers.every(({ status }) => status === 200));
  t.true(reads > 0 && reads < 25, String(reads));
});

/** One plain GET on a connection of its own. */
function get(server: TestServer, agent: Agent): Promise<{ status: number; retryAfter: string | undefined }> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(`${server.url}/healthz`, { agent }, (response) => {
      response.resume();
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, retryAfter: response.headers["retry-after"] }),
      );
    });
    sent.on("error", reject);
    sent.end();
  });
}

test("one connection beyond KEYROW_MAX_CONNECTIONS is told to come back, and may when another has gone", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_CONNECTIONS: "2" });
  const first = await open(t, server);
  await open(t, server);
  const agent = new Agent();
  t.deepEqual(await get(server, agent), { status: 503, retryAfter: "1" });
  first.socket.destroy();
  await first.closed;
  await until(async () => (await get(server, agent)).status === 200);
  t.pass();
});

test("beyond twice as many a connection is closed without an answer, and a silent one beyond the limit soon", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_CONNECTIONS: "1" });
  await open(t, server);
  const beyond = await open(t, server);
  const far = await open(t, server);
  await far.closed;
  await beyond.closed;
  t.deepEqual([far.got(), beyond.got()], ["", ""]);
});

/** A user with 900 descriptions of 16 KiB. */
async function makeHoarder({ database }: TestServer): Promise<string> {
  const user = await makeUser(database);
  await asAdmin(
    database,
    `insert into public.user_credentials (user_id, provider, name, type, encrypted_value, description)
     select $1, 'p', n::text, 'SECRET', 'vault:v1:AAAA', repeat('x', 16384) from generate_series(1, 900) n`,
    [user],
  );
  return user;
}

/** Asks for an answer of some 15 MB and reads nothing of it beyond its beginning. */
async function askAndNotRead(t: ExecutionContext, server: TestServer, user: string): Promise<Socket> {
  const { socket } = await open(t, server);
  const body = JSON.stringify({ query: "{ userCredentials(first: 900) { nodes { description } } }" });
  socket.write(head(server, user, body.length) + body);
  await once(socket, "data");
  socket.pause();
  return socket;
}

test("an answer that is not read holds its turn until it is read or cut off, and other users are served", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_USER_REQUESTS: "1" });
  const [user, other] = [await makeHoarder(server), await makeUser(server.database)];
  for (const end of [(socket: Socket) => socket.destroy(), (socket: Socket) => socket.resume()]) {
    const socket = await askAndNotRead(t, server, user);
    let answered = false;
    const next = server.query(user, "{ currentUser { id } }").then((answer) => {
      answered = true;
      return answer;
    });
    for (let i = 0; i < 20; i += 1) t.deepEqual((await server.query(other, "{ currentUser { id } }")).codes, []);
    t.false(answered);
    end(socket);
    t.deepEqual((await next).data, { currentUser: { id: user } });
  }
});

test("who does not read is cut off in the end, and the turn comes back", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_USER_REQUESTS: "1", KEYROW_REQUEST_TIMEOUT: "3s" });
  const user = await makeHoarder(server);
  await askAndNotRead(t, server, user);
  for (;;) {
    const { status, data } = await server.query(user, "{ currentUser { id } }");
    if (status === 429) continue;
    t.deepEqual(data, { currentUser: { id: user } });
    return;
  }
});

test("an answer that waits behind another on a connection that is cut gives its turn back", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_USER_REQUESTS: "2", KEYROW_REQUEST_TIMEOUT: "5s" });
  const [user, other] = [await makeUser(server.database), await makeUser(server.database)];
  const send = (query: string) => {
    const body = JSON.stringify({ query });
    return head(server, user, body.length) + body;
  };
  const held = "{ workspaces { totalCount } }";
  const client = await server.database.pool("postgres").connect();
  const lock = () => client.query("begin; lock table public.workspaces in access exclusive mode");
  const waiting = async (statements: number) => {
    for (;;) {
      const { rows } = await client.query(
        "select count(*)::int as n from pg_locks join pg_database d on d.oid = database where not granted and datname = current_database()",
      );
      if (rows[0].n >= statements) return;
    }
  };
  await lock();
  const { socket } = await open(t, server);
  socket.write(`${send(held)}${send("{ currentUser { id } }")}`);
  await waiting(1);
  for (let i = 0; i < 10; i += 1) await server.query(other, "{ currentUser { id } }");
  socket.destroy();
  await client.query("rollback");
  // Both turns are there again.
  await lock();
  const answers = [server.query(user, held), server.query(user, held)];
  await waiting(2);
  await client.query("rollback");
  client.release();
  for (const { codes } of await Promise.all(answers)) t.deepEqual(codes, []);
});
