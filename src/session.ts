import type { Claims } from "./token.ts";

/** What a request sets in each of its transactions, by name. */
export type Session = (claims: Claims, requestId: string) => Record<string, string>;

/** Makes the settings of requests. Every name is always set, so that nothing is left to chance. */
export function createSession({ statementMs }: { readonly statementMs: number }): Session {
  return (claims, requestId) => ({
    role: "keyrow_user",
    "jwt.claims.user_id": claims.userId,
    "request.jwt.claims": "",
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
