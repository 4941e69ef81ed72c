import type pg from "pg";
import type { Session } from "./session.ts";
import type { Claims } from "./token.ts";
import { createWithPgClient } from "./with-pg-client.ts";

// By the clock that nobody sets.
const KEPT_MS = 10 * 60_000;
const MAX_KEPT = 10_000;

/**
 * Makes the row of a user at their first valid token; later calls in this process ask nobody. First requests at once
 * make one call. Throws what the database throws, and then asks again at the next request.
 */
export function createProvisioner(
  pool: pg.Pool,
  session: Session,
  requestMs?: number,
): (claims: Claims, requestId: string) => Promise<void> {
  const withPgClient = createWithPgClient(pool, requestMs);
  const known = new Map<string, { readonly until: number; readonly made: Promise<unknown> }>();
  return async (claims, requestId) => {
    const { userId, email, name, limits } = claims;
    // A limited token writes nothing but credentials: the user's row comes with a token that may do all.
    if (limits !== undefined) return;
    const kept = known.get(userId);
    if (kept !== undefined && kept.until > performance.now()) {
      await kept.made;
      return;
    }
    const made = withPgClient(session(claims, requestId), (client) =>
      client.query({ text: "select keyrow.provision_user($1, $2)", values: [email ?? null, name ?? null] }),
    );
    if (known.size >= MAX_KEPT) known.clear();
    known.set(userId, { until: performance.now() + KEPT_MS, made });
    try {
      await made;
    } catch (error) {
      known.delete(userId);
      throw error;
    }
  };
}
