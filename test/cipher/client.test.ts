import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { createOpenBaoClient } from "../../src/cipher/openbao/client.ts";
import type { KeyrowError } from "../../src/errors.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { listening, makeCertificate } from "../helpers/tls.ts";

type Certificate = ReturnType<typeof makeCertificate>;

test("a connection that never comes about keeps nobody: it is given up with the call", async (t) => {
  const sockets: Socket[] = [];
  // It takes connections, and stands still before TLS begins.
  const server = createServer((socket) => sockets.push(socket.on("error", () => undefined).resume()));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const client = createOpenBaoClient({
    address: `https://127.0.0.1:${port}`,
    login: { token: "" },
    caFile: undefined,
    namespace: undefined,
  });
  const started = performance.now();
  await t.throwsAsync(client.call({ method: "GET", path: "sys/health" }), { name: "OpenBaoFault" });
  await client.close();
  t.is(sockets.length, 1);
  const [socket] = sockets;
  if (socket?.closed === false) await once(socket, "close");
  const ms = performance.now() - started;
  t.true(ms < 4_000, `${ms} ms`);
});

// Before the others: making a certificate holds the process, and they have a second.
test.serial("a certificate that does not fit is told from an absence", async (t) => {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const [served, other] = ["served", "other"].map((name) => {
    const place = join(directory, name);
    mkdirSync(place);
    return makeCertificate(place);
  }) as [Certificate, Certificate];
  const server = createHttpsServer({ key: readFileSync(served.key), cert: readFileSync(served.cert) }, (_, response) =>
    response.end("{}"),
  );
  const port = await listening(t, server);
  const call = async (host: string, caFile: string | undefined) => {
    const client = createOpenBaoClient({
      address: `https://${host}:${port}`,
      login: { token: "" },
      caFile,
      namespace: undefined,
    });
    try {
      return await client.call({ method: "GET", path: "sys/health" });
    } finally {
      await client.close();
    }
  };
  t.deepEqual(await call("localhost", served.cert), {});
  for (const caFile of [other.cert, undefined]) {
    await t.throwsAsync(call("localhost", caFile), { name: "OpenBaoFault", message: "certificate" });
  }
  await t.throwsAsync(call("127.0.0.1", served.cert), { name: "OpenBaoFault", message: "certificate" }, "another name");
});

test.serial("a BAO_CACERT without a certificate is refused, and not taken for nobody's", async (t) => {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const { key } = makeCertificate(directory);
  const empty = join(directory, "empty.pem");
  writeFileSync(empty, "");
  for (const caFile of [key, empty, directory, join(directory, "none.pem")]) {
    const access = { address: "https://localhost:1", login: { token: "" }, caFile, namespace: undefined };
    const error = t.throws(() => createOpenBaoClient(access), { message: /^BAO_CACERT: the file / });
    t.is((error as KeyrowError).code, "CONFIG_INVALID");
  }
});

/** A server that answers every call with a status, its client, and what came. */
async function answering(t: ExecutionContext, status: number) {
  const came = { calls: 0, connections: 0 };
  const server = createHttpServer((request, response) => {
    came.calls += 1;
    request.resume();
    response.writeHead(status).end("{}");
  });
  server.on("connection", () => {
    came.connections += 1;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createOpenBaoClient({ address, login: { token: "" }, caFile: undefined, namespace: undefined });
  t.teardown(async () => {
    await client.close();
    server.close();
  });
  return { came, call: () => client.call({ method: "POST", path: "transit/encrypt/keyrow", body: {} }) };
}

test("calls go over connections that stay open", async (t) => {
  const { came, call } = await answering(t, 200);
  for (let calls = 0; calls < 50; calls += 1) await call();
  t.is(came.calls, 50);
  // A second one where the first has not quite ended a call.
  t.true(came.connections <= 2, `${came.connections} connections`);
});

for (const [status, calls] of [
  [400, 1],
  [403, 1],
  [404, 1],
  [429, 1],
  [500, 2],
  [503, 2],
] as const) {
  const times = calls === 1 ? "asked once" : "asked once more, and not again";
  test(`what answers ${status} is ${times}`, async (t) => {
    const { came, call } = await answering(t, status);
    await t.throwsAsync(call(), { name: "OpenBaoFault", message: `status ${status}` });
    t.is(came.calls, calls);
  });
}
