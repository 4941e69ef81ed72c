import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";

/** Runs the server until a signal ends it. To be written. */
export async function runStart(_config: Config): Promise<void> {
  throw new KeyrowError("INTERNAL", { message: "`keyrow start` is not implemented yet." });
}
