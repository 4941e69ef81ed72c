import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import test from "ava";
import { createOpenBaoClient } from "../../src/cipher/openbao/client.ts";

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
