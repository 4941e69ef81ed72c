import test from "ava";
import type pg from "pg";
import { createTestDatabase, type Login } from "../helpers/database.ts";
import { cells, commands, type Expected, scopes, statement } from "./matrix.ts";
import { become, type Convention, type Outcome, outcome, personas, rolledBack, world } from "./world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());

const logins: Login[] = ["postgres", "keyrow_authenticator", "keyrow_worker", "keyrow_migrate"];
const pools = new Map<Login, pg.Pool>(logins.map((login) => [login, database.pool(login)]));

test.before(async () => {
  await database.pool("postgres").query(world);
});

/** What a cell comes to, in a transaction of its own that is rolled back, on a real login's connection. */
async function tryCell(cell: (typeof cells)[number], convention: Convention): Promise<Outcome> {
  const who = personas[cell.who];
  const pool = pools.get(who.login);
  if (!pool) throw new Error(`no pool for ${who.login}`);
  return rolledBack(pool, async (client) => {
    await become(client, who, convention);
    return outcome(client, statement(cell));
  });
}

/** How an expectation reads in a title. */
function words(expected: Expected): string {
  if (typeof expected === "object") return expected.map(words).join(" or ");
  if (expected === 0) return "nothing";
  return expected === 1 ? "done" : `${expected}`;
}

for (const cell of cells) {
  test(`${cell.who}, ${cell.command} of a ${cell.scope} credential: ${words(cell.expected)}`, async (t) => {
    const came = await tryCell(cell, "keyrow");
    const { expected } = cell;
    if (typeof expected === "object") t.true(expected.includes(came), `came to ${came}`);
    else t.is(came, expected);
    t.is(await tryCell(cell, "postgrest"), came, "PostgREST's claims come to the same");
  });
}

test("the matrix is complete: every persona, scope and command, each once", (t) => {
  const names = cells.map(({ who, scope, command }) => `${who}/${scope}/${command}`);
  const all = Object.keys(personas).flatMap((who) =>
    scopes.flatMap((scope) => commands.map((command) => `${who}/${scope}/${command}`)),
  );
  t.deepEqual(names.toSorted(), all.toSorted());
  t.is(new Set(names).size, names.length);
  t.true(names.length >= 13 * 3 * 5);
});
