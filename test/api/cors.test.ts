import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import test from "ava";
import { makeUser, startTestServer, type TestServer } from "../helpers/server.ts";

const app = "https://app.example";
let server: TestServer;
let closed: TestServer;
let ana: string;
test.before(async () => {
  server = await startTestServer({ env: { CORS_ORIGINS: `${app},http://localhost:5173` } });
  closed = await startTestServer();
  ana = await makeUser(server.database);
});
test.after.always(() => Promise.all([server?.stop(), closed?.stop()]));

interface Got {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A request as a browser sends it; fetch would not let a test name its origin. */
function send(to: TestServer, method: string, path: string, headers: Record<string, string>, body?: string) {
  return new Promise<Got>((resolve, reject) => {
    const sent = httpRequest(`${to.url}${path}`, { method, headers }, (response) => {
      let text = "";
      response.on("data", (chunk) => {
        text += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const preflight = (to: TestServer, origin: string, path = "/graphql") =>
  send(to, "OPTIONS", path, {
    origin,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
  });

const corsOf = ({ headers }: Got) =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => name.startsWith("access-control-") || name === "vary"));

test("a preflight of a named origin is answered with what its page may do", async (t) => {
  const answer = await preflight(server, app);
  t.deepEqual([answer.status, answer.text], [204, ""]);
  t.deepEqual(corsOf(answer), {
    vary: "Origin",
    "access-control-allow-origin": app,
    "access-control-allow-methods": "POST",
    "access-control-allow-headers": "accept, authorization, content-type, x-request-id",
    "access-control-expose-headers": "retry-after, www-authenticate, x-request-id",
    "access-control-max-age": "600",
  });
});

const strangers = ["https://evil.example", `${app}.evil.example`, `${app}:8443`, "http://app.example", "null", "*", ""];
for (const origin of strangers) {
  test(`a preflight of ${origin || "an empty origin"} is refused with a code, and nothing is allowed`, async (t) => {
    const answer = await preflight(server, origin);
    t.is(answer.status, 403);
    t.is(JSON.parse(answer.text).errors[0].extensions.code, "FORBIDDEN");
    t.deepEqual(corsOf(answer), { vary: "Origin" });
  });
}

test("where no origin is named, none is allowed", async (t) => {
  const answer = await preflight(closed, app);
  t.deepEqual([answer.status, corsOf(answer)], [403, {}]);
});

test("the other addresses answer no preflight", async (t) => {
  t.deepEqual(corsOf(await preflight(server, app, "/healthz")), {});
  t.is((await preflight(server, app, "/healthz")).status, 405);
  t.is((await preflight(server, app, "/nothing")).status, 404);
});

const query = (origin: string, authorization: string | undefined) =>
  send(
    server,
    "POST",
    "/graphql",
    { origin, "content-type": "application/json", ...(authorization && { authorization }) },
    JSON.stringify({ query: "{ currentUser { id } }" }),
  );

test("a page of a named origin may read its answer, the refusal of its token too; another's may not", async (t) => {
  const token = `Bearer ${server.token(ana)}`;
  const readable = {
    vary: "Origin",
    "access-control-allow-origin": app,
    "access-control-expose-headers": "retry-after, www-authenticate, x-request-id",
  };
  for (const [authorization, status] of [
    [token, 200],
    [undefined, 401],
  ] as const) {
    const answer = await query(app, authorization);
    t.is(answer.status, status);
    t.deepEqual(corsOf(answer), readable);
    t.is(answer.headers["access-control-allow-credentials"], undefined);
    t.deepEqual(corsOf(await query("https://evil.example", authorization)), { vary: "Origin" });
  }
});

test("every answer tells a browser to take it for data alone, and to keep none of it", async (t) => {
  const answers = [
    await query(app, `Bearer ${server.token(ana)}`),
    await query(app, undefined),
    await send(server, "GET", "/healthz", {}),
    await send(server, "GET", "/readyz", {}),
    await send(server, "GET", "/nothing", {}),
    await send(server, "GET", "/graphql", {}),
    await preflight(server, app),
  ];
  for (const { headers } of answers) {
    t.is(headers["x-content-type-options"], "nosniff");
    t.is(headers["content-security-policy"], "default-src 'none'; frame-ancestors 'none'");
    t.is(headers["cross-origin-resource-policy"], "same-origin");
    t.is(headers["referrer-policy"], "no-referrer");
    t.is(headers["cache-control"], "no-store");
  }
});
