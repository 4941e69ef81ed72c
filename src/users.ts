import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";

/**
 * Finds a user by id (a UUID) or e-mail address in the configured database; undefined where there is none. Throws
 * DATABASE_UNREACHABLE. To be written against the embedded server.
 */
export async function lookupUser(_config: Config, _idOrEmail: string): Promise<{ id: string } | undefined> {
  throw new KeyrowError("DATABASE_UNREACHABLE", { message: "Looking up users is not implemented yet." });
}
