import pg from "pg";
import type { Finding } from "./finding.ts";

const QUERY_CANCELED = "57014";

/** Something of the application's gave no answer in time; its finding says so. */
export class NoAnswer extends Error {
  readonly finding: Finding;

  constructor(finding: Omit<Finding, "severity">) {
    super("no answer in time");
    this.finding = { ...finding, severity: "in the way" };
  }
}

/**
 * Asks something of the application's; undefined where it raises. What it does leaves the transaction as it was. Throws
 * NoAnswer with `late` where it takes too long: where it is a function that goes on regardless, the connection is lost.
 */
export async function attempt<T>(
  client: pg.ClientBase,
  late: Omit<Finding, "severity">,
  ask: () => Promise<T>,
): Promise<T | undefined> {
  await client.query("savepoint attempt");
  const answer = await ask().catch((error: unknown) => {
    // The client's own end of the wait, which comes after the server's.
    if (error instanceof Error && error.message === "Query read timeout") throw new NoAnswer(late);
    if (!(error instanceof pg.DatabaseError)) throw error;
    if (error.code === QUERY_CANCELED) throw new NoAnswer(late);
    return undefined;
  });
  await client.query("rollback to savepoint attempt");
  return answer;
}
