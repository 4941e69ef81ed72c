import type { IncomingMessage, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { KeyrowError } from "./errors.ts";
import type { Log } from "./log.ts";
import { presentError } from "./present.ts";
import { readOn } from "./read-on.ts";

/** An HTTP answer with a body of JSON, or of text or bytes as its headers say; 204 has none. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Called once the answer is sent, or cut off. */
  readonly over?: () => void;
}

/** An error as a whole answer, with the status of its code, and a time to try again where it will pass. */
export function failure(error: unknown, log: Log): Answer {
  const presented = presentError(error, log);
  const { status } = new KeyrowError(presented.extensions.code);
  return { status, body: { errors: [presented] }, headers: headersOf(status) };
}

/** A refusal by the protocol: a status of its own, and always the code VALIDATION. */
export function refused(status: number, message: string, log: Log, headers: Answer["headers"] = {}): Answer {
  return { status, body: { errors: [presentError(new KeyrowError("VALIDATION", { message }), log)] }, headers };
}

/** The refusal of a method at an address that has others. */
export function notAllowed(methods: readonly string[], log: Log): Answer {
  const named = new Intl.ListFormat("en").format(methods);
  return refused(405, `Only ${named} ${methods.length === 1 ? "is" : "are"} answered here.`, log, {
    allow: methods.join(", "),
  });
}

/** The headers that belong to a status. */
export function headersOf(status: number): Readonly<Record<string, string>> {
  if (status === 401) return { "www-authenticate": 'Bearer realm="keyrow", error="invalid_token"' };
  if (status === 429 || status === 503) return { "retry-after": "1" };
  return {};
}

const ending = new WeakSet<Socket>();

/** Whether a connection's last answer is on its way: what follows on it is no request (RFC 9112, 9.6). */
export function isEnding({ socket }: IncomingMessage): boolean {
  return ending.has(socket);
}

/**
 * Sends an answer; who does not take it within so many ms is cut off. What is left of a body that was refused must not be
 * read as the next request: that answer is the last of its connection.
 */
export function send(request: IncomingMessage, response: ServerResponse, answer: Answer, ms: number): void {
  const { status, headers = {}, over = () => undefined } = answer;
  // The caller is gone: nobody would end the wait below.
  if (response.destroyed) {
    over();
    return;
  }
  // Not every Node closes an answer that waits behind another on its connection, where that is cut.
  const deadline = setTimeout(() => {
    response.destroy();
    over();
  }, ms);
  response.once("close", () => {
    clearTimeout(deadline);
    over();
  });
  const bytes = bytesOf(answer);
  response.writeHead(status, {
    ...(status !== 204 && {
      "content-type": "application/json; charset=utf-8",
      "content-length": bytes.length,
    }),
    "cache-control": "no-store",
    ...(!request.complete && { connection: "close" }),
    ...headers,
  });
  if (request.complete) {
    response.end(request.method === "HEAD" ? undefined : bytes);
    return;
  }
  ending.add(request.socket);
  // The answer is whole by its length; its end closes the connection.
  response.flushHeaders();
  if (request.method !== "HEAD") response.write(bytes);
  readOn(request, () => response.end());
}

function bytesOf({ status, body }: Answer): Buffer {
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(status === 204 ? "" : typeof body === "string" ? body : JSON.stringify(body), "utf8");
}
