import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { createHistogram, performance } from "node:perf_hooks";

/** What a round came to: latencies in ms. */
export interface Sample {
  readonly requests: number;
  readonly requestsPerSecond: number;
  readonly p50: number;
  readonly p99: number;
}

/** How many clients ask at once, each on a connection of its own and without a pause. */
export const CLIENTS = 20;

/** Lets the clients work in a closed loop for so many ms, each for one turn at least; a turn is one request. */
export async function closedLoop(ms: number, turn: (client: number, turn: number) => Promise<void>): Promise<Sample> {
  const microseconds = createHistogram();
  const started = performance.now();
  const deadline = started + ms;
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, client) => {
      let asked = started;
      for (let count = 0; count === 0 || asked < deadline; count++) {
        await turn(client, count);
        const answered = performance.now();
        microseconds.record(Math.max(1, Math.round((answered - asked) * 1000)));
        asked = answered;
      }
    }),
  );
  return {
    requests: microseconds.count,
    requestsPerSecond: (microseconds.count / (performance.now() - started)) * 1000,
    p50: microseconds.percentile(50) / 1000,
    p99: microseconds.percentile(99) / 1000,
  };
}

/**
 * A keep-alive connection that speaks as much HTTP as our servers do: a client that costs as much as a server would
 * share the machine with it, and make every ratio look better than it is.
 */
export class Connection {
  readonly #socket: Socket;
  readonly #host: string;
  #received: Buffer = Buffer.alloc(0);
  #waiting: { resolve(body: Buffer): void; reject(error: Error): void } | undefined;

  private constructor(socket: Socket, host: string) {
    this.#socket = socket;
    this.#host = host;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#receive(chunk));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the server closed the connection")));
  }

  /** Connects to a port of this machine, or to a Unix socket by its path. */
  static async open(at: number | string): Promise<Connection> {
    const socket = typeof at === "number" ? connect(at, "127.0.0.1") : connect(at);
    await once(socket, "connect");
    return new Connection(socket, typeof at === "number" ? `127.0.0.1:${at}` : "localhost");
  }

  /** Posts JSON and gives the answer's body; throws where the status is not 200. One request at a time. */
  post(path: string, token: string, body: string): Promise<Buffer> {
    return this.#send("POST", path, token, body);
  }

  /** As `post`, of what is asked for without a body. */
  get(path: string, token: string): Promise<Buffer> {
    return this.#send("GET", path, token, "");
  }

  #send(method: string, path: string, token: string, body: string): Promise<Buffer> {
    const head = `${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#socket.write(head + body);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const end = this.#received.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = this.#received.toString("latin1", 0, end);
    const body = bodyOf(head, this.#received.subarray(end + 4));
    if (body === undefined) return;
    this.#received = Buffer.alloc(0);
    if (head.startsWith("HTTP/1.1 200 ")) this.#waiting?.resolve(body);
    else this.#fail(new Error(`${head.split("\r\n", 1)} ${body}`));
    this.#waiting = undefined;
  }

  #fail(error: Error): void {
    this.#waiting?.reject(error);
    this.#waiting = undefined;
  }
}

const LAST_CHUNK = Buffer.from("0\r\n\r\n");

/** The body of an answer, or undefined while some of it is still to come. */
function bodyOf(head: string, received: Buffer): Buffer | undefined {
  if (!/\r\ntransfer-encoding: chunked/i.test(head)) {
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    return received.length < length ? undefined : received.subarray(0, length);
  }
  // No JSON holds a line break of this kind, so that only the last chunk ends like this.
  if (!received.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)) return undefined;
  const chunks: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = received.indexOf("\r\n", at);
    const length = Number.parseInt(received.toString("latin1", at, line), 16);
    if (length === 0) return Buffer.concat(chunks);
    chunks.push(received.subarray(line + 2, line + 2 + length));
    at = line + 2 + length + 2;
  }
}
