import type { IncomingMessage } from "node:http";
import { KeyrowError } from "./errors.ts";
import { parseJsonBytes } from "./json.ts";
import { MAX_BODY_BYTES } from "./limits.ts";

/** Reads a request's JSON body. Throws LIMIT_EXCEEDED or VALIDATION, and never repeats what was sent. */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const bytes = await readBody(request);
  try {
    return parseJsonBytes(bytes);
  } catch {
    throw new KeyrowError("VALIDATION", { message: "The body is not valid JSON in UTF-8 with each key once." });
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const tooLarge = () =>
    new KeyrowError("LIMIT_EXCEEDED", { message: `The body is over the limit of ${MAX_BODY_BYTES} bytes.` });
  if (Number(request.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
