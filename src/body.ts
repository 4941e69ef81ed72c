import type { IncomingMessage } from "node:http";
import { KeyrowError } from "./errors.ts";
import { parseJsonBytes } from "./json.ts";
import { LONG_BODY } from "./limits.ts";
import type { LoopTurn } from "./loop-turns.ts";
import { readAtMost } from "./read-at-most.ts";

/**
 * Reads a request's JSON body of so many bytes at most, a long one in a turn of the event loop. Throws LIMIT_EXCEEDED or
 * VALIDATION, and repeats nothing.
 */
export async function readJsonBody(request: IncomingMessage, maxBytes: number, loopTurn: LoopTurn): Promise<unknown> {
  const bytes = await readBody(request, maxBytes);
  if (bytes.length > LONG_BODY) await loopTurn();
  try {
    return parseJsonBytes(bytes);
  } catch {
    throw new KeyrowError("VALIDATION", { message: "The body is not valid JSON in UTF-8 with each key once." });
  }
}

async function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  if (Number(request.headers["content-length"] ?? 0) <= maxBytes) {
    // Who answers reads the rest: with the request its connection would be destroyed.
    const chunks = request.iterator({ destroyOnReturn: false });
    const bytes = await readAtMost(chunks, maxBytes).catch(() => {
      // The connection to the caller is lost, and not one to the database, whose errors look alike.
      throw new KeyrowError("VALIDATION", { message: "The body ended too early." });
    });
    if (bytes !== undefined) return bytes;
  }
  throw new KeyrowError("LIMIT_EXCEEDED", {
    message: `The body is over the limit of ${maxBytes} bytes.`,
    hint: "send it in parts; whoever runs the server may raise KEYROW_MAX_BODY",
  });
}
