import { randomBytes } from "node:crypto";
import { link, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";

/**
 * Makes a file of mode 0600, whole or not at all, on the disk when it returns. Throws the file system's error; EEXIST
 * where there is one already, which stays.
 */
export function createDurably(path: string, contents: string | Uint8Array): Promise<void> {
  // A link and not a rename: it fails where a file is, so of two starts at once one loses and reads the other's.
  return put(path, contents, link);
}

/** Makes such a file, or replaces the one that is there. Throws the file system's error. */
export function replaceDurably(path: string, contents: string | Uint8Array): Promise<void> {
  return put(path, contents, rename);
}

async function put(path: string, contents: string | Uint8Array, place: typeof link): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    await write(temporary, contents);
    await place(temporary, path);
    await syncDirectory(dirname(path));
  } finally {
    // Not even this may hide the fault.
    await rm(temporary, { force: true }).catch(() => undefined);
  }
}

/** Waits until what was made, renamed or removed in a directory is so on the disk. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function write(path: string, contents: string | Uint8Array): Promise<void> {
  const handle = await open(path, "wx", 0o600);
  try {
    // The umask may have taken more than it should.
    await handle.chmod(0o600);
    await handle.writeFile(contents);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
