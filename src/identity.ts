import { randomUUID } from "node:crypto";
import pg from "pg";
import { KeyrowError } from "./errors.ts";
import { createSession, type SessionOptions } from "./session.ts";
import { createWithPgClient } from "./with-pg-client.ts";

/**
 * Refuses a database whose `current_user_id()` does not tell who is asking: with a request's settings it must give their
 * user, and without claims nobody. Throws IDENTITY_MISMATCH with the remedy.
 */
export async function checkIdentity(pool: pg.Pool, options: Required<SessionOptions>): Promise<void> {
  const session = createSession(options);
  const settings = (userId: string) => session({ userId, expiresAt: 0 }, "");
  // First: a setting that no transaction of the connection has set reads otherwise than an empty one.
  if (await whoAsks(pool, { role: "keyrow_user" })) throw mismatch("gives a user", "without claims");
  const userId = randomUUID();
  const claimed = await whoAsks(pool, settings(userId));
  if (claimed !== userId) {
    const what = claimed === undefined ? "raises an error" : claimed === null ? "gives nobody" : "gives somebody else";
    throw mismatch(what, `with ${options.userSetting} set to a user's id`);
  }
  if (await whoAsks(pool, settings(""))) throw mismatch("gives a user", "with empty claims");
}

/** The user that the database sees; null for nobody, undefined where asking raises, which lets nobody through. */
async function whoAsks(pool: pg.Pool, settings: Record<string, string>): Promise<string | null | undefined> {
  try {
    const { rows } = await createWithPgClient(pool)(settings, (client) =>
      client.query<{ id: string | null }>({ text: "select public.current_user_id()::text as id" }),
    );
    return rows[0]?.id ?? null;
  } catch (error) {
    // The database is going, full or read only: that says nothing of the function.
    if (!(error instanceof pg.DatabaseError) || /^(08|25|53|57)/.test(error.code ?? "")) throw error;
    return undefined;
  }
}

function mismatch(what: string, where: string): KeyrowError {
  return new KeyrowError("IDENTITY_MISMATCH", {
    message: `The database's current_user_id() ${what} ${where}.`,
    hint: "Name the setting that it reads in KEYROW_USER_SETTING; `keyrow adopt --check` finds it.",
  });
}
