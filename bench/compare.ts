import { isDeepStrictEqual } from "node:util";
import { withConnection } from "../src/setup.ts";
import type { ServerContender } from "./contenders.ts";
import type { BenchDatabase } from "./database.ts";
import { type OperationName, operationNames, operations, type Person, type Task } from "./operations.ts";
import type { People } from "./people.ts";

/** How many answers were compared, and how many entries of the log. */
export interface Compared {
  readonly answers: number;
  readonly entries: number;
}

/** What one request came to. */
interface Outcome {
  readonly answer: unknown;
  readonly entries: readonly Entry[];
}

type Entry = Readonly<Record<"action" | "user_id" | "entity_id" | "details" | "session_role", unknown>>;
type Created = { data: { createUserCredential: { userCredential: { id: string } & Record<string, unknown> } } };

/**
 * Asks both servers for the same as each of the people, and compares answers, values included, and what each left on
 * the record. Throws an Error that names the operation where they differ: then their speeds are not comparable either.
 */
export async function compareServers(
  keyrow: ServerContender,
  peer: ServerContender,
  { readers, writers }: People,
  database: BenchDatabase,
): Promise<Compared> {
  const compared = { answers: 0, entries: 0 };
  for (const operation of operationNames) {
    for (const [turn, person] of (operation === "create" ? writers : readers).entries()) {
      const task = operations[operation].task(person, turn);
      const ours = await outcome(keyrow, person, task, database);
      // A name is taken once.
      const again = task.name === undefined ? task : { ...task, name: `again ${task.name}` };
      const theirs = await outcome(peer, person, again, database);
      const same = operation === "create" ? await compareCreated(keyrow, peer, person, [ours, theirs]) : [ours, theirs];
      assertAlike(operation, same[0], same[1]);
      if (ours.entries.length !== operations[operation].entries) {
        throw new Error(`${operation}: ${ours.entries.length} entries in the log`);
      }
      compared.answers += 1;
      compared.entries += ours.entries.length;
    }
  }
  return compared;
}

async function outcome(server: ServerContender, person: Person, task: Task, database: BenchDatabase): Promise<Outcome> {
  const from = await databaseTime(database);
  const answer = await server.ask(person, task);
  return { answer, entries: await entriesFrom(database, from) };
}

/** Each server reveals what the other created; gives both outcomes without what has to differ. */
async function compareCreated(
  keyrow: ServerContender,
  peer: ServerContender,
  person: Person,
  outcomes: [Outcome, Outcome],
): Promise<unknown[]> {
  const ids = outcomes.map(({ answer }) => (answer as Created).data.createUserCredential.userCredential.id);
  const revealed = await Promise.all(
    [peer, keyrow].map((server, index) => server.ask(person, { operation: "reveal-one", id: ids[index] as string })),
  );
  return outcomes.map(({ answer, entries }, index) => {
    const { id, name, createdAt, ...rest } = (answer as Created).data.createUserCredential.userCredential;
    const { value } = (revealed[index] as { data: { userCredential: { value: string } } }).data.userCredential;
    const forms = [id, createdAt].map((text) => String(text).replaceAll(/[0-9a-f]/g, "0"));
    const named = entries.map(({ entity_id, details, ...entry }) => {
      const { name: _, ...others } = details as Record<string, unknown>;
      return { ...entry, ofIt: entity_id === id, others };
    });
    return { forms, named: typeof name, rest, value, entries: named };
  });
}

/** The database's time, as text: to the microsecond. */
async function databaseTime(database: BenchDatabase): Promise<string> {
  return withConnection(database.url("postgres"), async (client) => {
    const { rows } = await client.query("select clock_timestamp()::text as now");
    return rows[0].now;
  });
}

/** Does work, and counts the entries that it left in the log. */
export async function countEntries<T>(
  database: BenchDatabase,
  work: () => Promise<T>,
): Promise<{ result: T; entries: number }> {
  const from = await databaseTime(database);
  const result = await work();
  return withConnection(database.url("postgres"), async (client) => {
    const { rows } = await client.query(
      "select count(*)::int as entries from public.activity_logs where created_at >= $1",
      [from],
    );
    return { result, entries: rows[0].entries };
  });
}

/** The entries from a time on, without what differs from one request to the next. */
async function entriesFrom(database: BenchDatabase, from: string): Promise<Entry[]> {
  return withConnection(database.url("postgres"), async (client) => {
    const { rows } = await client.query(
      `select action, user_id, entity_id, details - 'request' as details, session_role
       from public.activity_logs where created_at >= $1 order by entity_id, action`,
      [from],
    );
    return rows;
  });
}

function assertAlike(operation: OperationName, ours: unknown, theirs: unknown): void {
  if (isDeepStrictEqual(ours, theirs)) return;
  throw new Error(`${operation}: the outcomes differ: ${JSON.stringify(ours)} and ${JSON.stringify(theirs)}`);
}
