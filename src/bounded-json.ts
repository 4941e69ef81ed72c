import { KeyrowError } from "./errors.ts";

/**
 * The JSON of plain data, or undefined where it has more bytes than it may. It is counted first: aliases make of one long
 * text in memory any number of them in the answer.
 */
export function toBoundedJson(value: unknown, mostBytes: number): Buffer | undefined {
  if (leastCharacters(value, mostBytes) > mostBytes) return undefined;
  const text = stringify(value);
  if (text === undefined || text.length > mostBytes) return undefined;
  const bytes = Buffer.from(text, "utf8");
  return bytes.length > mostBytes ? undefined : bytes;
}

/** What a request is told whose answer is larger than it may be. */
export function tooLarge(): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", {
    message: "The answer would be too large.",
    hint: "ask for fewer rows or fields at once",
  });
}

/** How many characters the JSON has at least; stops counting beyond `most`. With escapes it may be six times as many. */
function leastCharacters(value: unknown, most: number): number {
  let count = 0;
  const waiting: unknown[] = [value];
  while (waiting.length > 0 && count <= most) {
    const next = waiting.pop();
    if (typeof next !== "object" || next === null) count += leastOf(next);
    else if (Array.isArray(next)) {
      count += next.length + 1;
      for (const one of next) waiting.push(one);
    } else {
      count += 1;
      // Entries would each be a list of their own, in every answer.
      for (const key of Object.keys(next)) {
        const one = (next as Record<string, unknown>)[key];
        if (one === undefined) continue;
        count += key.length + 4;
        if (typeof one === "object" && one !== null) waiting.push(one);
        else count += leastOf(one);
      }
    }
  }
  return count;
}

function leastOf(leaf: unknown): number {
  return typeof leaf === "string" ? leaf.length + 2 : 1;
}

/** Undefined where the data is nested more deeply than can be written. */
function stringify(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}
