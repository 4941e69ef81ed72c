import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { gzipSync } from "node:zlib";
import test, { type ExecutionContext } from "ava";
import { type ClientOptions, KeyrowError, keyrow } from "../../src/client.ts";

type Reply = (response: ServerResponse, request: IncomingMessage) => void;

const json =
  (status: number, body: unknown, headers: Record<string, string> = {}): Reply =>
  (response) =>
    response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(body));
const text =
  (status: number, body: string, headers: Record<string, string> = {}): Reply =>
  (response) =>
    response.writeHead(status, headers).end(body);
const busy = (status: number) =>
  json(
    status,
    { errors: [{ message: "busy", extensions: { code: "UNAVAILABLE", hint: "wait" } }] },
    { "retry-after": "0" },
  );
const me = json(200, { data: { currentUser: { id: "i", name: null } } });
const done = json(200, { data: { setUserCredentials: { results: [{ created: true, userCredential: { id: "i" } }] } } });
const cut: Reply = (response) => response.destroy();

/** A client of a server that answers with these, one after another; `asked` counts the requests. */
async function against(t: ExecutionContext, replies: readonly Reply[], options: Partial<ClientOptions> = {}) {
  const asked: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    request.resume();
    asked.push(request);
    (replies[asked.length - 1] ?? text(500, ""))(response, request);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => {
    server.close();
    server.closeAllConnections();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { client: keyrow({ url, token: "t", ...options }), asked };
}

const code = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof KeyrowError ? error.code : error;
};

const set = { credential: "p/n", value: "v" };

test("a read is sent again after a cut, a refusal or a proxy's error, and so often", async (t) => {
  const { client, asked } = await against(t, [cut, text(504, "<html>"), me]);
  t.deepEqual(await client.whoami(), { id: "i", name: null, machine: null });
  t.is(asked.length, 3);
  const other = await against(t, [busy(503), busy(429), busy(503), me]);
  t.is(await code(other.client.whoami()), "UNAVAILABLE");
  t.is(other.asked.length, 3);
});

test("a change is sent again after the server's own refusal alone, for then nothing was executed", async (t) => {
  const refused = await against(t, [busy(429), busy(503), done]);
  t.like(await refused.client.set(set), { created: true });
  t.is(refused.asked.length, 3);
  for (const [reply, expected] of [
    [cut, "SERVER_UNREACHABLE"],
    [text(503, "<html>upstream"), "SERVER_UNREACHABLE"],
    [json(503, { data: { setUserCredentials: null }, errors: [{ message: "m" }] }), "INTERNAL"],
    [json(500, { errors: [{ message: "m", extensions: { code: "INTERNAL" } }] }), "INTERNAL"],
  ] as const) {
    const { client, asked } = await against(t, [reply, done]);
    t.is(await code(client.set(set)), expected);
    t.is(asked.length, 1);
  }
});

test("one request too many is told from one that is too large by its status, and a proxy's 429 is no answer", async (t) => {
  const refusal = (status: number) =>
    json(status, { errors: [{ message: "m", extensions: { code: "LIMIT_EXCEEDED" } }] });
  const expected = [
    [refusal(429), { code: "LIMIT_EXCEEDED", status: 429 }],
    [refusal(413), { code: "LIMIT_EXCEEDED", status: 413 }],
    [refusal(400), { code: "LIMIT_EXCEEDED", status: 413 }],
    [text(429, "<html>"), { code: "SERVER_UNREACHABLE", status: 429 }],
    [text(404, "<html>"), { code: "NO_KEYROW", status: 502 }],
  ] as const;
  for (const [reply, error] of expected) {
    const { client } = await against(t, [reply], { retries: 0 });
    t.like(await client.whoami().catch((reason: unknown) => reason), error);
  }
});

test("a reveal is on the record, so it is not sent again where it may have been executed", async (t) => {
  const { client, asked } = await against(t, [cut, me]);
  t.is(await code(client.get("p/n")), "SERVER_UNREACHABLE");
  t.is(asked.length, 1);
});

test("what never reached a server is sent again, whatever it is", async (t) => {
  let tries = 0;
  const failing: typeof fetch = async () => {
    tries += 1;
    throw new TypeError("fetch failed", { cause: Object.assign(new Error("x"), { code: "ECONNREFUSED" }) });
  };
  const client = keyrow({ url: "http://127.0.0.1", token: "t", fetch: failing, retries: 1 });
  t.is(await code(client.set(set)), "SERVER_UNREACHABLE");
  t.is(tries, 2);
});

for (const [title, reply] of [
  ["a proxy's page", text(200, "<html>Sign in</html>", { "content-type": "text/html" })],
  ["JSON that is no answer", json(200, { ok: true })],
  ["a list", json(200, [1])],
  ["nothing", text(200, "")],
  ["a page that is not there", text(404, "not found")],
  ["data that is null, without an error", json(200, { data: null })],
] as const) {
  test(`${title} is NO_KEYROW, and nothing of it is repeated`, async (t) => {
    const { client } = await against(t, [reply]);
    const error = await client.whoami().catch((reason: unknown) => reason);
    t.like(error, { code: "NO_KEYROW" });
    t.notRegex(String(error), /Sign in|html/);
  });
}

test("a redirect is not followed: neither token nor value goes where it says", async (t) => {
  const { client, asked } = await against(t, [text(307, "", { location: "/elsewhere" }), me]);
  t.is(await code(client.whoami()), "NO_KEYROW");
  t.is(asked.length, 1);
});

test("a server that says nothing is given up", async (t) => {
  const { client } = await against(t, [() => undefined], { timeout: 50, retries: 0 });
  t.is(await code(client.whoami()), "SERVER_UNREACHABLE");
});

/** Whether a client reads on: what is sent to it until it goes away. */
function endless(chunk: Buffer, headers: Record<string, string>, counted: { bytes: number }): Reply {
  return (response) => {
    response.writeHead(200, { "content-type": "application/json", ...headers });
    const send = () => {
      while (!response.destroyed && response.write(chunk)) counted.bytes += chunk.length;
    };
    response.on("drain", send);
    send();
  };
}

test("of an answer that has no end no more is read than a server may answer, and it is not asked for again", async (t) => {
  const counted = { bytes: 0 };
  const { client, asked } = await against(t, [endless(Buffer.alloc(2 ** 20, "a"), {}, counted), me]);
  t.like(await client.whoami().catch((error: unknown) => error), {
    code: "NO_KEYROW",
    message: "The answer has more than 64 MiB, as no Keyrow gives.",
  });
  t.is(asked.length, 1);
  t.true(counted.bytes < 80 * 2 ** 20, `${counted.bytes}`);
});

test("what is small while it is compressed counts as what it is", async (t) => {
  const bomb = gzipSync(Buffer.alloc(80 * 2 ** 20, " "), { level: 1 });
  const reply: Reply = (response) => response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
  const { client } = await against(t, [reply]);
  t.is(await code(client.whoami()), "NO_KEYROW");
});

test("text that comes in pieces of characters is itself", async (t) => {
  const bytes = Buffer.from(JSON.stringify({ data: { currentUser: { id: "i", name: "ä🔑" } } }));
  const reply: Reply = async (response) => {
    for (const byte of bytes) {
      response.write(Buffer.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    response.end();
  };
  const { client } = await against(t, [reply]);
  t.is((await client.whoami()).name, "ä🔑");
});

test("what a server says of an error is told as far as somebody would read it", async (t) => {
  const errors = [{ message: "x".repeat(10_000_000), extensions: { code: "FORBIDDEN", hint: "y".repeat(10_000) } }];
  const { client } = await against(t, [json(200, { data: null, errors })]);
  const error = await client.whoami().catch((reason: unknown) => reason);
  t.like(error, { code: "FORBIDDEN", message: `${"x".repeat(1_000)}…`, hint: `${"y".repeat(1_000)}…` });
});

test("a list whose pages lead nowhere ends with an error", async (t) => {
  const page = (nodes: unknown[], endCursor: string) =>
    json(200, { data: { userCredentials: { nodes, pageInfo: { hasNextPage: true, endCursor } } } });
  for (const pages of [
    [page([{ id: "a" }], "x"), page([{ id: "b" }], "x")],
    [page([{ id: "a" }], "x"), page([], "y")],
  ]) {
    const { client } = await against(t, pages);
    const listing = async () => {
      for await (const one of client.list()) t.truthy(one.id);
    };
    t.is(await code(listing()), "NO_KEYROW");
  }
});

test("a pause before another attempt ends with the signal", async (t) => {
  const { client } = await against(t, [json(503, { errors: [{ message: "m" }] }, { "retry-after": "30" })]);
  const giving = new AbortController();
  const answer = client.whoami({ signal: giving.signal });
  setTimeout(() => giving.abort(new Error("enough")), 100);
  t.like(await answer.catch((error: unknown) => error), { message: "enough" });
});

for (const [url, why] of [
  ["keyrow.example.com", /no URL/],
  ["ftp://keyrow.example.com", /no URL/],
  ["https://ana:hunter2@keyrow.example.com", /user or a password/],
  ["http://keyrow.example.com", /in the clear/],
  ["http://127.0.0.1.example.com", /in the clear/],
] as const) {
  test(`${url.replace("hunter2", "...")} is refused as an address`, (t) => {
    const error = t.throws(() => keyrow({ url, token: "t" }), { message: why });
    t.notRegex(error?.message ?? "", /hunter2/);
  });
}

test("plain http serves on loopback, and where it is allowed", (t) => {
  for (const url of ["http://localhost:5678", "http://[::1]:5678/", "http://127.0.0.1:5678/graphql"]) {
    t.notThrows(() => keyrow({ url, token: "t" }));
  }
  t.notThrows(() => keyrow({ url: "http://keyrow:5678", token: "t", allowHttp: true }));
});

test("what can be no token is refused before it is sent, and stands in no error", async (t) => {
  for (const token of ["hunter2\nx", "hunter2 x", "hunter2é", "", undefined, null, 5]) {
    for (const given of [token, async () => token]) {
      const { client, asked } = await against(t, [me], { token: given as string });
      const error = await t.throwsAsync(client.whoami(), { instanceOf: KeyrowError });
      t.like(error, { code: "UNAUTHENTICATED", message: "What was given as the token is none." });
      t.notRegex(inspect(error, { depth: 9 }), /hunter2/);
      t.is(asked.length, 0);
    }
  }
  const { client, asked } = await against(t, [me], { token: "hunter2\n" });
  await client.whoami();
  t.is(asked[0]?.headers.authorization, "Bearer hunter2");
});

test("a timeout or a number of retries that can't be counted is refused as the client is made", (t) => {
  for (const options of [
    { timeout: Infinity },
    { timeout: -1 },
    { timeout: 1.5 },
    { timeout: 2 ** 31 },
    { retries: NaN },
  ]) {
    t.throws(() => keyrow({ url: "https://keyrow.example.com", token: "t", ...options }), { code: "CONFIG_INVALID" });
  }
});

test("an answer of another form is NO_KEYROW in every method", async (t) => {
  const other = [
    { data: {} },
    { data: 5 },
    { data: [] },
    { data: {}, errors: [null] },
    { data: {}, errors: [{ message: "x", path: "value" }] },
    { data: { userCredentials: { nodes: 5 }, tokens: {} } },
    { data: { userCredentials: { nodes: [], pageInfo: null } } },
  ];
  for (const body of other) {
    const asking = async (ask: (client: ReturnType<typeof keyrow>) => Promise<unknown>) =>
      ask((await against(t, [json(200, body), json(200, body)])).client);
    for (const ask of [
      (client) => client.whoami(),
      (client) => client.get("a/b"),
      (client) => client.getAll(["a/*"]),
      (client) => client.list().next(),
      (client) => client.set(set),
      (client) => client.setAll([set]),
      (client) => client.foresee([set]),
      (client) => client.createToken(),
      (client) => client.revokeToken("i"),
    ] satisfies Array<(client: ReturnType<typeof keyrow>) => Promise<unknown>>) {
      t.is(await code(asking(ask)), "NO_KEYROW", `${JSON.stringify(body)} ${ask}`);
    }
  }
});
