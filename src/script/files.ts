import { type FileHandle, open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { KeyrowError } from "../errors.ts";
import { readAtMost } from "../read-at-most.ts";

/** A file to read, or standard input where it is `-`; throws USAGE where it can't be read. */
export async function openFile(path: string): Promise<Readable> {
  if (path === "-") return process.stdin;
  let handle: FileHandle | undefined;
  try {
    handle = await open(path);
    if (!(await handle.stat()).isDirectory()) return handle.createReadStream();
  } catch (cause) {
    throw unreadable((cause as NodeJS.ErrnoException).code);
  }
  await handle.close();
  throw unreadable("EISDIR");
}

// KEYROW_MAX_BODY lets no server take more.
const MOST_MIB = 16;

/**
 * The text of a file, or of standard input where it is `-`. Throws USAGE, VALIDATION where it is no UTF-8, and
 * LIMIT_EXCEEDED beyond 16 MiB, without reading on.
 */
export async function readText(path: string): Promise<string> {
  const input = await openFile(path);
  try {
    const bytes = await readAtMost(input, MOST_MIB * 1024 ** 2);
    if (bytes !== undefined) return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    throw new KeyrowError("LIMIT_EXCEEDED", { message: `The file has more than ${MOST_MIB} MiB.` });
  } catch (cause) {
    if (cause instanceof KeyrowError) throw cause;
    if (cause instanceof TypeError) throw new KeyrowError("VALIDATION", { message: "The file is not UTF-8." });
    throw unreadable((cause as NodeJS.ErrnoException).code);
  }
}

function unreadable(code: string | undefined): KeyrowError {
  return new KeyrowError("USAGE", { message: `The file can't be read (${code}).`, hint: "Look at its path and mode." });
}
