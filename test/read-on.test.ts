import { once } from "node:events";
import { request } from "node:http";
import { connect } from "node:net";
import test from "ava";
import { execa } from "execa";
import { withPrograms } from "./helpers/programs.ts";
import { makeUser, startTestServer, type TestServer } from "./helpers/server.ts";

let server: TestServer;
let user: string;
let token: string;
test.before(async () => {
  server = await startTestServer({ env: { KEYROW_MAX_BODY: "2000" } });
  user = await makeUser(server.database);
  token = server.token(user);
});
test.after.always(() => server?.stop());

// Far more than the buffers of a connection hold.
const body = Buffer.alloc(6 * 1024 * 1024, " ");

/** What is refused before its body is read to the end, by the token that comes with it. */
const refusals = [
  { title: "a body far over the limit", bearer: () => token, status: 413, code: "LIMIT_EXCEEDED" },
  { title: "a large body without a good token", bearer: () => "no.token.at.all", status: 401, code: "UNAUTHENTICATED" },
] as const;

const headers = (bearer: string) => ({ authorization: `Bearer ${bearer}`, "content-type": "application/json" });

/** The status and body of the answer, as each client reads it; `chunked`: without a length. */
type Client = (bearer: string, chunked: boolean) => Promise<{ status: number; text: string }>;

const nodeHttp: Client = (bearer, chunked) =>
  new Promise((resolve, reject) => {
    const length = chunked ? { "transfer-encoding": "chunked" } : { "content-length": body.length };
    const sent = request(`${server.url}/graphql`, { method: "POST", headers: { ...headers(bearer), ...length } });
    sent.on("error", reject);
    sent.on("response", async (response) => {
      resolve({ status: response.statusCode ?? 0, text: Buffer.concat(await response.toArray()).toString() });
    });
    sent.end(body);
  });

const fetched: Client = async (bearer, chunked) => {
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: headers(bearer),
    ...(chunked ? { body: new Blob([body]).stream(), duplex: "half" as const } : { body }),
  });
  return { status: response.status, text: await response.text() };
};

// It sends everything before it reads anything.
const python: Client = async (bearer, chunked) => {
  const program = `
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
body = sys.stdin.buffer.read()
headers = {"authorization": "Bearer " + sys.argv[2], "content-type": "application/json"}
connection.request("POST", "/graphql", iter([body]) if sys.argv[3] == "chunked" else body, headers)
answer = connection.getresponse()
print(answer.status, answer.read().decode())`;
  const args = ["-c", program, new URL(server.url).port, bearer, chunked ? "chunked" : "whole"];
  const { stdout } = await execa("python3", args, { input: body });
  return { status: Number(stdout.slice(0, 3)), text: stdout.slice(4) };
};

const curl: Client = async (bearer, chunked) => {
  const sent = Object.entries(headers(bearer)).map(([name, value]) => `${name}: ${value}`);
  const all = [...sent, ...(chunked ? ["transfer-encoding: chunked"] : []), "expect:"].flatMap((one) => ["-H", one]);
  const args = ["-sS", "-w", "%{stderr}%{http_code}", ...all, "--data-binary", "@-", `${server.url}/graphql`];
  const { stdout, stderr } = await execa("curl", args, { input: body });
  return { status: Number(stderr), text: stdout };
};

for (const { title, bearer, status, code } of refusals) {
  for (const chunked of [false, true]) {
    const how = chunked ? "in chunks" : "with its length";
    const check = async (t: { deepEqual(got: unknown, wanted: unknown): unknown }, client: Client) => {
      const got = await client(bearer(), chunked);
      t.deepEqual([got.status, JSON.parse(got.text).errors[0].extensions.code], [status, code]);
    };
    test(`${title}, ${how}: node's http reads the ${status}`, (t) => check(t, nodeHttp));
    test(`${title}, ${how}: fetch reads the ${status}`, (t) => check(t, fetched));
    withPrograms(["python3"], `${title}, ${how}: Python's http.client reads the ${status}`, (t) => check(t, python));
    withPrograms(["curl"], `${title}, ${how}: curl reads the ${status}`, (t) => check(t, curl));
  }
}

/** A bare connection that has sent the head of a request without a token; what it was answered. */
async function refusedSender() {
  const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
  let got = "";
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => {
    got += chunk;
  });
  socket.write("POST /graphql HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
  await once(socket, "data");
  return { socket, closed, got: () => got };
}

test("who sends without an end after the answer is cut", async (t) => {
  const { socket, closed, got } = await refusedSender();
  t.regex(got(), /^HTTP\/1\.1 401 /);
  const chunk = `10000\r\n${"x".repeat(0x10000)}\r\n`;
  let sent = 0;
  const send = () => {
    while (!socket.destroyed && socket.write(chunk)) sent += chunk.length;
  };
  socket.on("drain", send);
  send();
  await closed;
  // 8 MiB, and what the buffers of both sides hold.
  t.true(sent < 64 * 1024 * 1024, `${sent}`);
});

test("who sends slowly after the answer, or nothing more, is cut", async (t) => {
  for (const more of ["1\r\nx\r\n", ""]) {
    const { socket, closed, got } = await refusedSender();
    if (more !== "") socket.write(more);
    await closed;
    t.regex(got(), /^HTTP\/1\.1 401 /);
  }
});

test("what follows an answer that is the last of its connection is not done", async (t) => {
  const { socket, closed, got } = await refusedSender();
  const query = 'mutation { setUserCredential(input: { provider: "p", name: "n", value: "v" }) { created } }';
  const next = JSON.stringify({ query });
  const head = Object.entries({ ...headers(token), host: "a", "content-length": next.length });
  const lines = ["POST /graphql HTTP/1.1", ...head.map(([name, value]) => `${name}: ${value}`), "", next];
  socket.write(`0\r\n\r\n${lines.join("\r\n")}`);
  await closed;
  t.is(got().match(/HTTP\/1\.1 /g)?.length, 1);
  t.deepEqual((await server.query(user, "{ userCredentials { totalCount } }")).data, {
    userCredentials: { totalCount: 0 },
  });
});
