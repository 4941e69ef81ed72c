import type pg from "pg";
import { tooLarge } from "./bounded-json.ts";
import { MAX_RESULT_CHARACTERS } from "./limits.ts";

/** What a request's transactions are set to: one object from its first to its last. */
export type Settings = Readonly<Record<string, string | undefined>>;

// What each request's queries have answered so far, in characters.
const spent = new WeakMap<Settings, number>();

/** Counts the characters of an answer towards its request's budget. A change was made, so its answer is never refused. */
export function spend(settings: Settings, { rows, command }: pg.QueryResult<object>): void {
  let characters = spent.get(settings) ?? 0;
  for (const row of rows) {
    for (const cell of Object.values(row)) characters += typeof cell === "string" ? cell.length : 8;
  }
  spent.set(settings, characters);
  if (command === "SELECT") checkBudget(settings);
}

/** Throws LIMIT_EXCEEDED where a request's answers hold more than one may. */
export function checkBudget(settings: Settings): void {
  if (charactersLeft(settings) < 0) throw tooLarge();
}

/** How many characters the database may still answer to the request of these settings. */
export function charactersLeft(settings: Settings): number {
  return MAX_RESULT_CHARACTERS - (spent.get(settings) ?? 0);
}
