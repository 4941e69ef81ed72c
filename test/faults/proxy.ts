import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { connect, createServer, type Socket } from "node:net";
import type { ExecutionContext } from "ava";

/** A network between the server and the database. */
export interface Network {
  /** The address of the database through it. */
  through(url: string): string;
  /** Resets every connection, as a router that forgets them does. */
  reset(): number;
  /** From now on nothing goes through any connection there is, and nobody is told; new ones are taken and go nowhere. */
  silence(): number;
  /** New connections go through again; those that fell silent stay so. */
  restore(): void;
}

/** Makes one in front of a PostgreSQL's Unix socket. */
export async function createNetwork(t: ExecutionContext, socketFile: string): Promise<Network> {
  const open = new Set<{ near: Socket; far: Socket | undefined }>();
  let silent = false;
  const server = createServer((near) => {
    const pair: { near: Socket; far: Socket | undefined } = { near, far: silent ? undefined : connect(socketFile) };
    open.add(pair);
    near
      .on("error", () => undefined)
      .on("close", () => {
        open.delete(pair);
        pair.far?.destroy();
      });
    pair.far?.on("error", () => undefined).on("close", () => near.destroy());
    if (pair.far) near.pipe(pair.far).pipe(near);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.close();
    for (const { near } of open) near.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return {
    through(url) {
      const address = new URL(url);
      address.searchParams.delete("host");
      address.host = `127.0.0.1:${port}`;
      return address.href;
    },
    reset() {
      const count = open.size;
      for (const { near } of open) near.resetAndDestroy();
      return count;
    },
    silence() {
      silent = true;
      for (const { near, far } of open) {
        near.unpipe();
        far?.unpipe();
        near.pause();
        far?.pause();
      }
      return open.size;
    },
    restore() {
      silent = false;
    },
  };
}
