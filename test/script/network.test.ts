import { readFileSync, rmSync } from "node:fs";
import { createServer as createPlain } from "node:http";
import { createServer } from "node:https";
import test, { type ExecutionContext } from "ava";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { keyrow } from "../helpers/command.ts";
import { listening, makeCertificate, startProxy } from "../helpers/tls.ts";

const directory = makeTemporaryDirectory();
const { key, cert } = makeCertificate(directory);
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

/** A server behind TLS that knows one user. */
function secure(t: ExecutionContext): Promise<number> {
  const answer = JSON.stringify({ data: { currentUser: { id: "i", name: "Ana" } } });
  const options = { key: readFileSync(key), cert: readFileSync(cert) };
  return listening(
    t,
    createServer(options, (_request, response) => response.end(answer)),
  );
}

test("an authority of one's own is trusted where --cacert or NODE_EXTRA_CA_CERTS names it", async (t) => {
  const env = { KEYROW_URL: `https://localhost:${await secure(t)}`, KEYROW_TOKEN: "t" };
  const refused = await keyrow(["whoami"], { env });
  t.regex(refused.stderr, /^error: .*CERT.*\nhint: name the authority .*--cacert/);
  t.is(refused.exitCode, 5);
  t.like(await keyrow(["whoami", "--cacert", cert], { env }), { exitCode: 0 });
  t.like(await keyrow(["whoami"], { env: { ...env, NODE_EXTRA_CA_CERTS: cert } }), { exitCode: 0 });
});

test("requests go through the proxy that the usual variables name, unless NO_PROXY excepts the server", async (t) => {
  const port = await secure(t);
  const { url: through, tunnels } = await startProxy(t, port);
  const env = { KEYROW_URL: "https://keyrow.test", KEYROW_TOKEN: "t", HTTPS_PROXY: through };
  t.like(await keyrow(["whoami", "--cacert", cert], { env }), { exitCode: 0 });
  t.like(await keyrow(["whoami"], { env: { ...env, NODE_EXTRA_CA_CERTS: cert } }), { exitCode: 0 });
  t.deepEqual(tunnels, ["keyrow.test:443", "keyrow.test:443"]);
  t.like(await keyrow(["whoami", "--cacert", cert], { env: { ...env, NO_PROXY: "keyrow.test" } }), { exitCode: 5 });
  t.is(tunnels.length, 2);
});

test("what goes to this machine itself goes through no proxy, which would read the token", async (t) => {
  const asked: string[] = [];
  const proxy = createPlain((request, response) => {
    asked.push(`proxy: ${request.url}`);
    response.end();
  }).on("connect", ({ url }, socket) => {
    asked.push(`proxy: ${url}`);
    socket.destroy();
  });
  const answer = JSON.stringify({ data: { currentUser: { id: "i", name: "Ana" } } });
  const port = await listening(
    t,
    createPlain(({ headers }, response) => {
      asked.push(headers.authorization ?? "");
      response.end(answer);
    }),
  );
  const through = `http://127.0.0.1:${await listening(t, proxy)}`;
  const proxies = { HTTP_PROXY: through, http_proxy: through, HTTPS_PROXY: through, NODE_USE_ENV_PROXY: "1" };
  for (const url of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
    const env = { ...proxies, KEYROW_URL: url, KEYROW_TOKEN: "t" };
    t.like(await keyrow(["whoami"], { env }), { exitCode: 0 });
  }
  const env = { ...proxies, KEYROW_URL: `https://localhost:${await secure(t)}`, KEYROW_TOKEN: "t" };
  t.like(await keyrow(["whoami", "--cacert", cert], { env }), { exitCode: 0 });
  t.deepEqual(asked, ["Bearer t", "Bearer t"]);
});

test("a server that says nothing is given up after --timeout", async (t) => {
  const port = await listening(
    t,
    createPlain(() => undefined),
  );
  const env = { KEYROW_URL: `http://127.0.0.1:${port}`, KEYROW_TOKEN: "t" };
  const { stderr, exitCode } = await keyrow(["get", "p/n", "--timeout", "1"], { env });
  t.is(stderr, "error: the server did not answer within 1 s\n");
  t.is(exitCode, 5);
  t.like(await keyrow(["list", "--timeout", "soon"], { env }), { exitCode: 2 });
});
