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
  const waiting: object[] = [];
  const add = (one: unknown) => {
    if (typeof one === "string") count += one.length + 2;
    else if (typeof one === "object" && one !== null) waiting.push(one);
    else count += 1;
  };
  add(value);
  for (let next = waiting.pop(); next !== undefined && count <= most; next = waiting.pop()) {
    if (Array.isArray(next)) {
      count += next.length + 1;
      for (const one of next) add(one);
      continue;
    }
    for (const [key, one] of Object.entries(next)) {
      if (one === undefined) continue;
      count += key.length + 4;
      add(one);
    }
  }
  return count;
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
