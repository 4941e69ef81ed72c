import { KEYROW_CLAIM } from "./settings/database.ts";
import type { Claims } from "./token.ts";

/** What a request sets in each of its transactions, by name. */
export type Session = (claims: Claims, requestId: string) => Record<string, string>;

/** What the settings of requests are made of. */
export interface SessionOptions {
  /** What the application's `current_user_id()` reads; the plugins and `mayOpen` read Keyrow's own. */
  readonly userSetting?: string;
  readonly statementMs: number;
}

/** Makes the settings of requests. Every name is always set, so that nothing is left to chance. */
export function createSession({ userSetting = KEYROW_CLAIM, statementMs }: SessionOptions): Session {
  return (claims, requestId) => ({
    role: "keyrow_user",
    [userSetting]: claims.userId,
    [KEYROW_CLAIM]: claims.userId,
    "request.jwt.claims": "",
    "keyrow.limits": claims.limits === undefined ? "none" : JSON.stringify(claims.limits),
    // A person's issuer makes nobody a machine by naming its id.
    "keyrow.bearer": claims.bearer ?? "",
    // A token that is made with this one ends with it at the latest.
    "keyrow.expires_at": String(claims.expiresAt),
    "keyrow.request_id": requestId,
    // What is answered is on disk: a reveal is on the record before its value is opened.
    synchronous_commit: "on",
    statement_timeout: `${statementMs}ms`,
    // Who waits for a lock holds a connection.
    lock_timeout: "3s",
    idle_in_transaction_session_timeout: "10s",
    search_path: "pg_catalog, public, pg_temp",
  });
}
