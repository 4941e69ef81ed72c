import { type IncomingMessage, METHODS, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { catalogue, type ErrorCode } from "./errors.ts";
import { MAX_UNANSWERED } from "./limits.ts";
import { readOn } from "./read-on.ts";

// How long a connection beyond the limit may stay silent before it is closed without an answer.
const SILENT_MS = 1_000;

/**
 * Counts a server's connections. Those beyond the limit get one answer, of which `isBeyond` tells, and are closed;
 * beyond twice as many they are closed at once, for a socket costs memory as well.
 */
export function limitConnections(server: Server, limit: number): (request: IncomingMessage) => boolean {
  const beyond = new WeakSet<Socket>();
  let open = 0;
  server.maxConnections = 2 * limit;
  server.on("connection", (socket: Socket) => {
    open += 1;
    socket.once("close", () => {
      open -= 1;
    });
    if (open <= limit) return;
    beyond.add(socket);
    socket.setTimeout(SILENT_MS, () => socket.destroy());
  });
  return ({ socket }) => beyond.has(socket);
}

const unanswered = new WeakMap<Socket, number>();

/**
 * Cuts a connection off where more requests wait on it for their answers than may, and tells so: thousands fit into what
 * is read at once, and are all begun before anybody else is served.
 */
export function isCutAsFlood({ socket }: IncomingMessage, response: ServerResponse): boolean {
  const others = unanswered.get(socket) ?? 0;
  if (others >= MAX_UNANSWERED) socket.destroy();
  // What was read with it comes all the same.
  if (socket.destroyed) return true;
  unanswered.set(socket, others + 1);
  response.once("close", () => unanswered.set(socket, (unanswered.get(socket) ?? 1) - 1));
  return false;
}

type Refusal = readonly [status: string, code: ErrorCode, message: string];

/** What node's HTTP parser refuses, by its code; anything else is a malformed request. */
const refusals: Readonly<Record<string, Refusal>> = {
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "LIMIT_EXCEEDED", "The request took too long to arrive."],
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "LIMIT_EXCEEDED", "The headers are too large."],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ["413 Payload Too Large", "LIMIT_EXCEEDED", catalogue.LIMIT_EXCEEDED.message],
};

const unknownMethod: Refusal = ["501 Not Implemented", "VALIDATION", "This method is not known here."];

type ParseError = NodeJS.ErrnoException & { readonly rawPacket?: Buffer };

/** Whether the answer to it has no body, as far as its beginning is in what was refused: it would be read as the next answer. */
function isHead({ rawPacket }: ParseError): boolean {
  return rawPacket?.toString("latin1", 0, 5) === "HEAD ";
}

/** Whether it was HTTP all the same, by a method that node has never heard of. */
function hasUnknownMethod({ rawPacket }: ParseError): boolean {
  const [, method] = /^([A-Z][A-Z-]{0,30}) \S+ HTTP\/1\.[01]\r\n/.exec(rawPacket?.toString("latin1") ?? "") ?? [];
  return method !== undefined && !METHODS.includes(method);
}

/**
 * Answers what never became a request: too slow, too large, no HTTP, or the wish for a tunnel, which Node closes without
 * a word. It has a code like every answer.
 */
export function answerMalformed(server: Server): void {
  server.on("connect", (_request, socket) => {
    socket.on("error", () => undefined);
    end(socket, ["501 Not Implemented", "VALIDATION", "There are no tunnels here."]);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) {
      socket.destroy();
      return;
    }
    const otherwise: Refusal = ["400 Bad Request", "VALIDATION", "This is not HTTP."];
    // Half of an answer may be on its way already: then nothing may follow it.
    if (socket.bytesWritten > 0 && hasAnswer(socket)) socket.destroy();
    else {
      const refusal = refusals[error.code ?? ""] ?? (hasUnknownMethod(error) ? unknownMethod : otherwise);
      end(socket, refusal, isHead(error));
    }
  });
}

/** Sends a refusal as a whole answer, and closes. */
function end(socket: Duplex, [status, code, message]: Refusal, withoutBody = false): void {
  const body = JSON.stringify({ errors: [{ message, extensions: { code } }] });
  const head = [
    `HTTP/1.1 ${status}`,
    "content-type: application/json; charset=utf-8",
    `content-length: ${Buffer.byteLength(body)}`,
    "cache-control: no-store",
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${withoutBody ? "" : body}`);
  // What still comes is nothing for the parser.
  readOn(socket.removeAllListeners("data"), () => socket.destroy());
}

/** Whether an answer on this socket has begun and not ended. Node keeps it there, as its own handler reads it. */
function hasAnswer(socket: Socket): boolean {
  const { _httpMessage: answer } = socket as Socket & { _httpMessage?: { headersSent: boolean } };
  return answer?.headersSent ?? false;
}
