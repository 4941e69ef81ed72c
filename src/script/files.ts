import { createReadStream } from "node:fs";
import { access, constants } from "node:fs/promises";
import type { Readable } from "node:stream";
import { KeyrowError } from "../errors.ts";
import { readAtMost } from "../read-at-most.ts";

/** A file to read; throws USAGE where it can't be read. */
export async function openFile(path: string): Promise<Readable> {
  try {
    await access(path, constants.R_OK);
    return createReadStream(path);
  } catch (cause) {
    throw unreadable(cause);
  }
}

// KEYROW_MAX_BODY lets no server take more.
const MOST_MIB = 16;

/**
 * The text of a file, or of standard input where it is `-`. Throws USAGE, VALIDATION where it is no UTF-8, and
 * LIMIT_EXCEEDED beyond 16 MiB, without reading on.
 */
export async function readText(path: string): Promise<string> {
  try {
    const bytes = await readAtMost(path === "-" ? process.stdin : createReadStream(path), MOST_MIB * 1024 ** 2);
    if (bytes !== undefined) return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    throw new KeyrowError("LIMIT_EXCEEDED", { message: `The file has more than ${MOST_MIB} MiB.` });
  } catch (cause) {
    if (cause instanceof KeyrowError) throw cause;
    if (cause instanceof TypeError) throw new KeyrowError("VALIDATION", { message: "The file is not UTF-8." });
    throw unreadable(cause);
  }
}

function unreadable(cause: unknown): KeyrowError {
  const { code } = cause as NodeJS.ErrnoException;
  return new KeyrowError("USAGE", { message: `The file can't be read (${code}).`, hint: "Look at its path and mode." });
}
