import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { decodeValue } from "../cipher/local.ts";
import { preferNoColour } from "../colour.ts";
import { KeyrowError } from "../errors.ts";
import { MAX_VALUE_BYTES } from "../limits.ts";
import { isPrintable } from "../printable.ts";
import type { CredentialName } from "./credentials.ts";

const LONGEST = { provider: 100, name: 255 } as const;

/** Provider and name of `smtp/relay`, parted by the first slash; throws USAGE, which never repeats what was given. */
export function parseCredentialName(text: string): CredentialName {
  const [, provider = "", name = ""] = /^([^/]*)\/(.*)$/s.exec(text) ?? [];
  const fits = (part: "provider" | "name", given: string) => given !== "" && Array.from(given).length <= LONGEST[part];
  // What goes to a terminal with every list.
  if (isPrintable(text) && fits("provider", provider) && fits("name", name)) return { provider, name };
  throw new KeyrowError("USAGE", {
    message: "That is not the name of a credential.",
    hint: `Write <provider>/<name>, as in smtp/relay: at most ${LONGEST.provider} and ${LONGEST.name} characters.`,
  });
}

/** The end that `--expires` names: a day (its first moment in UTC) or a time, in the future; null for `never`. */
export function parseExpiry(text: string, now = new Date()): Date | null {
  if (text === "never") return null;
  const [, day = "", time = "T00:00:00Z"] =
    /^(\d{4}-\d\d-\d\d)(T\d\d:\d\d(?::\d\d(?:\.\d{1,3})?)?(?:Z|[+-]\d\d:\d\d))?$/.exec(text) ?? [];
  const end = new Date(day + time);
  if (isDay(day) && !Number.isNaN(end.getTime()) && end > now) return end;
  throw new KeyrowError("USAGE", {
    message: "The value of --expires is not a date to come.",
    hint: "Give a day or a time, as in 2030-01-31 or 2030-01-31T18:00:00Z, or never.",
  });
}

/** Whether the calendar has the day: a Date takes February 30 for March 2. */
function isDay(day: string): boolean {
  const start = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(start.getTime()) && start.toISOString().startsWith(day);
}

/**
 * The value that a stream holds, without one newline at its end unless it is wanted exactly. Throws VALIDATION where it
 * is empty or no UTF-8 and LIMIT_EXCEEDED where it is too long, without reading on.
 */
export async function readValue(input: Readable, exactly = false): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of input) {
    chunks.push(Buffer.from(chunk));
    length += chunk.length;
    // With room for the newline, which does not count.
    if (length > MAX_VALUE_BYTES + 2) throw tooLong();
  }
  const text = decode(Buffer.concat(chunks));
  const value = exactly ? text : text.replace(/\r?\n$/, "");
  if (Buffer.byteLength(value) > MAX_VALUE_BYTES) throw tooLong();
  if (value !== "") return value;
  if (input !== process.stdin) throw new KeyrowError("VALIDATION", { message: "The file is empty." });
  throw new KeyrowError("VALIDATION", {
    message: "There is no value on standard input.",
    hint: "Pipe it in, as in `... < file`, or run the command in a terminal to be asked.",
  });
}

function decode(bytes: Buffer): string {
  try {
    return decodeValue(bytes);
  } catch {
    throw new KeyrowError("VALIDATION", {
      message: "The value is not valid UTF-8.",
      hint: "A value is text. Encode bytes first, as `base64` does.",
    });
  }
}

function tooLong(): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", {
    message: `A value may have at most ${MAX_VALUE_BYTES} bytes.`,
    hint: "Keep what is larger elsewhere, and here the key to it.",
  });
}

/** Asks for a value on the terminal, hidden; undefined where the person broke off. */
export function askValue(title: string): Promise<string | undefined> {
  return askHidden(`Value of ${title}`);
}

/** Asks for anything secret on the terminal; undefined where the person broke off. */
export async function askHidden(message: string): Promise<string | undefined> {
  preferNoColour();
  const { default: password } = await import("@inquirer/password");
  // Ctrl-D closes the terminal's reader, and the prompt would wait for a line that never comes.
  const closed = new AbortController();
  const breakOff = () => closed.abort();
  process.stdin.once("pause", breakOff);
  try {
    const value = await password(
      {
        message,
        // Nobody beside the terminal should see it, or how long it is.
        toggleMask: false,
        validate: (given) => given !== "" || "It can't be empty.",
      },
      { output: process.stderr, signal: closed.signal },
    );
    if (Buffer.byteLength(value) > MAX_VALUE_BYTES) throw tooLong();
    return value;
  } catch (error) {
    if (error instanceof Error && ["ExitPromptError", "AbortPromptError"].includes(error.name)) return undefined;
    throw error;
  } finally {
    process.stdin.off("pause", breakOff);
  }
}

/** Asks a question on the terminal; anything but y or yes is no, and so are Ctrl-C and Ctrl-D. */
export function confirmed(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  return new Promise((resolve) => {
    const breakOff = () => {
      process.stderr.write("\n");
      resolve(false);
    };
    terminal.once("close", breakOff);
    terminal.question(`${question} [y/N] `, (answer) => {
      terminal.off("close", breakOff).close();
      resolve(/^y(es)?$/i.test(answer.trim()));
    });
  });
}
