import { KeyrowError } from "./errors.ts";
import { MAX_ENTRIES } from "./limits.ts";
import { entriesOfText, type InputMeasure } from "./measure.ts";

/**
 * Refuses variables that are nested too deeply, and variables and literals of too many entries, each counted as often as
 * it is used: each may become a condition of a query. Throws LIMIT_EXCEEDED.
 */
export function checkVariables(
  variables: Readonly<Record<string, unknown>> | null | undefined,
  { entries, uses }: InputMeasure,
  maxDepth: number,
): void {
  let total = entries;
  for (const [name, value] of Object.entries(variables ?? {})) {
    total += entriesOf(value, maxDepth) * (uses.get(name) ?? 1);
    if (total > MAX_ENTRIES) throw tooMany();
  }
  if (total > MAX_ENTRIES) throw tooMany();
}

/** The entries of a variable, itself and nested ones counted. */
function entriesOf(variable: unknown, maxDepth: number): number {
  let entries = 0;
  const waiting: Array<[value: unknown, depth: number]> = [[variable, 0]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [value, depth] = next;
    entries += typeof value === "string" ? entriesOfText(value) : 1;
    if (typeof value !== "object" || value === null) continue;
    if (depth === maxDepth) {
      throw new KeyrowError("LIMIT_EXCEEDED", { message: `A variable is deeper than ${maxDepth} levels.` });
    }
    const inner = Object.values(value);
    if (entries + inner.length > MAX_ENTRIES) throw tooMany();
    for (const one of inner) waiting.push([one, depth + 1]);
  }
  return entries;
}

function tooMany(): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", {
    message: `Variables and literals are over the limit of ${MAX_ENTRIES} entries, each counted as often as it is used.`,
  });
}
