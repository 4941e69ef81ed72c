import { constants, type Stats } from "node:fs";
import { open } from "node:fs/promises";
import { readAtMost } from "./read-at-most.ts";

/** Why a file is not read. */
export type Flaw = "is not a file" | "is too large" | "is open to others" | "is another user's";

/** A file that is there and is not read. */
export class FlawedFile extends Error {
  readonly flaw: Flaw;

  constructor(flaw: Flaw) {
    super(flaw);
    this.flaw = flaw;
  }
}

/** The text of a file of so many bytes at most, behind a link as well. Throws FlawedFile and the file system's errors. */
export function readSmallFile(path: string, most: number): Promise<string> {
  return read(path, most, 0, () => undefined);
}

/**
 * The text of a file that is no link, that others can't open, and that one of its `owners` has, which are asked for once
 * it is open: the process's own user where nobody says. Throws FlawedFile and the file system's errors, ELOOP for a link.
 */
export function readPrivateFile(
  path: string,
  most: number,
  owners: () => Promise<readonly number[]> = async () => [],
): Promise<string> {
  // A link may lead to somebody else's file.
  return read(path, most, constants.O_NOFOLLOW, async ({ mode, uid }) => {
    const user = process.geteuid?.();
    // Windows has neither.
    if (user === undefined) return;
    if ((mode & 0o077) !== 0) throw new FlawedFile("is open to others");
    if (![user, ...(await owners())].includes(uid)) throw new FlawedFile("is another user's");
  });
}

async function read(
  path: string,
  most: number,
  flags: number,
  check: (stats: Stats) => Promise<void> | undefined,
): Promise<string> {
  // Non-blocking, for opening a FIFO would wait for ever.
  const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK | flags);
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new FlawedFile("is not a file");
    await check(stats);
    // What has no size may have no end.
    const bytes = await readAtMost(handle.createReadStream({ autoClose: false }), most);
    if (bytes === undefined) throw new FlawedFile("is too large");
    return bytes.toString("utf8");
  } finally {
    await handle.close();
  }
}
