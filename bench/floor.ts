// The floor: the statements alone, in a plain client loop. No HTTP, no token, no cipher; what is beyond it is ours.
import { randomUUID } from "node:crypto";
import pg from "pg";
import { CLIENTS, closedLoop, type Sample } from "./load.ts";
import { type OperationName, operations, type Person, type Task } from "./operations.ts";
import { run, settingsOf } from "./transactions.ts";

/** What the floor is told to do; `people` are one a connection. */
export interface Order {
  readonly operation: OperationName;
  readonly people: readonly Person[];
  readonly ms: number;
}

// In the form that the table checks. What it would cost to make it is not the database's.
const sealed = `${"A".repeat(16)}:${"A".repeat(22)}==:${"A".repeat(48)}`;

const clients = await Promise.all(
  Array.from({ length: CLIENTS }, async () => {
    const client = new pg.Client({
      connectionString: process.argv[2],
      pipeline: true,
      options: "-c jit=off",
      application_name: "floor",
    });
    await client.connect();
    return client;
  }),
);
process.on("message", async ({ operation, people, ms }: Order) => {
  const sample = await closedLoop(ms, (index, turn) => {
    const person = people[index % people.length] as Person;
    return perform(clients[index] as pg.Client, person, operations[operation].task(person, turn));
  });
  process.send?.(sample satisfies Sample);
});
process.on("disconnect", () => process.exit());

async function perform(client: pg.Client, { userId }: Person, task: Task): Promise<void> {
  const settings = settingsOf({ userId, expiresAt: 0 });
  if (task.operation === "list-50") return void (await run(client, settings, "list"));
  if (task.operation === "create") {
    const columns = [task.name, randomUUID(), userId, sealed, "local:20260101-00000001", "ghp_*****abcd"];
    return void (await run(client, settings, "create", columns));
  }
  const rows = await (task.operation === "reveal-one"
    ? run<{ id: string }>(client, settings, "one", [task.id])
    : run<{ id: string }>(client, settings, "many"));
  await run(client, settings, "reveal", [rows.map(({ id }) => id)]);
}
