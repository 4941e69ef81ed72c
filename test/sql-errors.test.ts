import test from "ava";
import pg from "pg";
import type { ErrorCode } from "../src/errors.ts";
import { fromDatabaseError } from "../src/sql-errors.ts";

/** An error as the system or a library throws it. */
const thrown = (code: string | undefined, message = "a message"): Error => Object.assign(new Error(message), { code });

/** An error as PostgreSQL reports it. */
function reported(code: string, severity = "ERROR"): Error {
  return Object.assign(new pg.DatabaseError("a message", 0, "error"), { code, severity });
}

const errors: Array<[title: string, error: unknown, code: ErrorCode | undefined]> = [
  ["a pipe that nobody reads, whose name is as long as a SQLSTATE", thrown("EPIPE"), "UNAVAILABLE"],
  ["a name server that does not answer", thrown("EAI_AGAIN"), "UNAVAILABLE"],
  ["a socket whose backlog is full", thrown("EAGAIN"), "UNAVAILABLE"],
  ["a host that is gone", thrown("EHOSTUNREACH"), "UNAVAILABLE"],
  ["a stream that was destroyed", thrown("ERR_STREAM_DESTROYED"), "UNAVAILABLE"],
  ["a connection that is not made in time", thrown(undefined, "timeout expired"), "UNAVAILABLE"],
  ["a query that is not answered in time", thrown(undefined, "Query read timeout"), "UNAVAILABLE"],
  ["a client that was closed", thrown(undefined, "Client was closed and is not queryable"), "UNAVAILABLE"],
  ["a pool that was closed", thrown(undefined, "Cannot use a pool after calling end on the pool"), "UNAVAILABLE"],
  ["a transaction that was idle for too long", reported("25P03", "FATAL"), "UNAVAILABLE"],
  ["a login that was taken away meanwhile", reported("28000", "FATAL"), "UNAVAILABLE"],
  ["a database that was dropped meanwhile", reported("3D000", "FATAL"), "UNAVAILABLE"],
  ["a disk that does not answer", reported("58030"), "UNAVAILABLE"],
  ["a full disk", reported("53100"), "UNAVAILABLE"],
  [
    "an answer that PostgreSQL can't hold",
    thrown("XX000", "invalid memory alloc request size 1073741824"),
    "LIMIT_EXCEEDED",
  ],
  ["something that went wrong in PostgreSQL", reported("XX000"), undefined],
  ["claims that are missing", reported("28000"), "UNAUTHENTICATED"],
  ["an error of ours", thrown("ERR_INVALID_ARG_TYPE"), undefined],
  ["a mistake in a statement", reported("42601"), undefined],
  ["no error at all", "a text", undefined],
];
for (const [title, error, code] of errors) {
  test(`${title} is ${code ?? "nothing that is known of the database"}`, (t) => {
    t.is(fromDatabaseError(error)?.code, code);
  });
}
