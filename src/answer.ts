import type { IncomingMessage, ServerResponse } from "node:http";
import { KeyrowError } from "./errors.ts";
import type { Log } from "./log.ts";
import { presentError } from "./present.ts";

/** An HTTP answer with a body of JSON, or of text as its headers say; 204 has none. */
export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly headers?: Readonly<Record<string, string>>;
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
  const allow = methods.join(", ");
  return refused(405, `Only ${allow} is answered here.`, log, { allow });
}

/** The headers that belong to a status. */
export function headersOf(status: number): Readonly<Record<string, string>> {
  if (status === 401) return { "www-authenticate": 'Bearer realm="keyrow", error="invalid_token"' };
  if (status === 429 || status === 503) return { "retry-after": "1" };
  return {};
}

/** Sends an answer; who does not take it within so many ms is cut off. */
export function send(request: IncomingMessage, response: ServerResponse, answer: Answer, ms: number): void {
  // The caller is gone: nobody would end the wait below.
  if (response.destroyed) return;
  const { status, body, headers = {} } = answer;
  const bytes = Buffer.from(status === 204 ? "" : typeof body === "string" ? body : JSON.stringify(body), "utf8");
  response.writeHead(status, {
    ...(status !== 204 && {
      "content-type": "application/json; charset=utf-8",
      "content-length": bytes.length,
    }),
    "cache-control": "no-store",
    // What is left of a body that was refused must not be read as the next request.
    ...(!request.complete && { connection: "close" }),
    ...headers,
  });
  response.end(request.method === "HEAD" ? undefined : bytes);
  const deadline = setTimeout(() => response.destroy(), ms);
  response.once("close", () => clearTimeout(deadline));
}
