import { execFileSync } from "node:child_process";
import { createServer as createPlain } from "node:http";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { join } from "node:path";
import type { ExecutionContext } from "ava";

/** Makes a certificate for localhost and keyrow.test that is its own authority; the paths of its key and of itself. */
export function makeCertificate(directory: string): { key: string; cert: string } {
  const [key, cert] = [join(directory, "key.pem"), join(directory, "cert.pem")];
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:keyrow.test"];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  execFileSync("openssl", ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", cert], { stdio: "ignore" });
  return { key, cert };
}

/** Lets a server listen on loopback until the test is over; its port. */
export async function listening(t: ExecutionContext, server: Pick<Server, "address" | "close" | "listen">) {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

/** Passes what comes over one connection on to a port of this machine, and back. */
export function forward(socket: Socket, port: number, onConnect = () => {}): void {
  const upstream = connect(port, "127.0.0.1", () => {
    onConnect();
    upstream.pipe(socket).pipe(upstream);
  });
  for (const one of [upstream, socket]) one.on("error", () => undefined);
}

/** A proxy that leads every tunnel to one port; its address, and the hosts that were asked for. */
export async function startProxy(t: ExecutionContext, port: number): Promise<{ url: string; tunnels: string[] }> {
  const tunnels: string[] = [];
  const proxy = createPlain().on("connect", ({ url = "" }, socket) => {
    tunnels.push(url);
    forward(socket as Socket, port, () => socket.write("HTTP/1.1 200 OK\r\n\r\n"));
  });
  return { url: `http://127.0.0.1:${await listening(t, proxy)}`, tunnels };
}
