import { KeyrowError } from "../errors.ts";
import { printableJson } from "../printable.ts";

/** How variables are written. */
export const formats = ["dotenv", "json", "shell"] as const;
export type Format = (typeof formats)[number];

/** Variables as a text that reads back as the same. Throws VALIDATION, naming the variable, where a format can't hold one. */
export async function writeVariables(variables: ReadonlyMap<string, string>, format: Format): Promise<string> {
  if (format === "json") return `${printableJson(Object.fromEntries(variables))}\n`;
  if (format === "shell")
    return [...variables].map(([name, value]) => `export ${name}=${shellQuote(name, value)}\n`).join("");
  const { parse } = await import("dotenv");
  const text = [...variables].map(([name, value]) => `${dotenvLine(parse, name, value)}\n`).join("");
  // Of each line it is tried, with others around it.
  const read = parse(text);
  const lost = [...variables].find(([name, value]) => read[name] !== value);
  if (lost !== undefined) throw unholdable(lost[0], "dotenv", "such quotes or characters");
  return text;
}

// Between single quotes everything is itself but the quote (POSIX, Shell Command Language, 2.2.2).
function shellQuote(name: string, value: string): string {
  if (value.includes("\0")) throw unholdable(name, "the shell", "NUL");
  return `'${value.replaceAll("'", "'\\''")}'`;
}

/** dotenv escapes nothing: what stands between which quotes as itself is tried, by its own parser. */
function dotenvLine(parse: (text: string) => Record<string, string>, name: string, value: string): string {
  const escaped = value.replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  const plain = /^[\w./:@%+,=-]+$/.test(value) ? [value] : [];
  const forms = [...plain, `'${value}'`, `\`${value}\``, `"${escaped}"`, value];
  const found = forms.find((form) => {
    // A quote that stays open, as after a backslash, would reach into the next one of its kind.
    const read = parse(`${name}=${form}\nz.1='2'\nz.2="2"\nz.3=\`2\`\n`);
    return read[name] === value && Object.keys(read).length === 4 && [1, 2, 3].every((n) => read[`z.${n}`] === "2");
  });
  if (found === undefined || value.includes("\0")) throw unholdable(name, "dotenv", "such quotes or characters");
  return `${name}=${found}`;
}

function unholdable(name: string, format: string, what: string): KeyrowError {
  return new KeyrowError("VALIDATION", {
    message: `The value of ${name} can't be written for ${format}: it has no way to write ${what}.`,
    hint: "Use --format json, or leave it out.",
  });
}

/** Reads variables from a dotenv file or a JSON object of texts. Throws VALIDATION, which repeats nothing of it. */
export async function readVariablesFrom(text: string, format: "dotenv" | "json"): Promise<Map<string, string>> {
  if (format === "dotenv") {
    const { parse } = await import("dotenv");
    return new Map(Object.entries(parse(text)));
  }
  const { parseJson } = await import("../json.ts");
  const read = (): unknown => {
    try {
      return parseJson(text);
    } catch (error) {
      throw new KeyrowError("VALIDATION", { message: (error as Error).message, hint: "Give a JSON object of texts." });
    }
  };
  const value = read();
  const entries = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  if (entries.length === 0 || entries.some(([, one]) => typeof one !== "string")) {
    throw new KeyrowError("VALIDATION", {
      message: "The file is not a JSON object whose values are texts.",
      hint: 'Its form: { "github/deploy": "ghp_..." }.',
    });
  }
  return new Map(entries as Array<[string, string]>);
}
