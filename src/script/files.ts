import { createReadStream } from "node:fs";
import { access, constants } from "node:fs/promises";
import type { Readable } from "node:stream";
import { KeyrowError } from "../errors.ts";

/** A file to read; throws USAGE where it can't be read. */
export async function openFile(path: string): Promise<Readable> {
  try {
    await access(path, constants.R_OK);
    return createReadStream(path);
  } catch (cause) {
    throw unreadable(cause);
  }
}

/** The text of a file, or of standard input where it is `-`; throws USAGE, or VALIDATION where it is no UTF-8. */
export async function readText(path: string): Promise<string> {
  try {
    const chunks: Buffer[] = [];
    for await (const chunk of path === "-" ? process.stdin : createReadStream(path)) chunks.push(Buffer.from(chunk));
    return new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks));
  } catch (cause) {
    if (cause instanceof TypeError) throw new KeyrowError("VALIDATION", { message: "The file is not UTF-8." });
    throw unreadable(cause);
  }
}

function unreadable(cause: unknown): KeyrowError {
  const { code } = cause as NodeJS.ErrnoException;
  return new KeyrowError("USAGE", { message: `The file can't be read (${code}).`, hint: "Look at its path and mode." });
}
