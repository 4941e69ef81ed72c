import { CommanderError } from "commander";
import { coloured } from "../colour.ts";
import { describeError, type ErrorCode, KeyrowError } from "../errors.ts";
import { printable, printableJson } from "../printable.ts";

/** How a command ends. */
export const exitCodes = { ok: 0, error: 1, usage: 2, notFound: 3, notAllowed: 4, unavailable: 5 } as const;

const codesByError: Partial<Record<ErrorCode, number>> = {
  USAGE: exitCodes.usage,
  NOT_FOUND: exitCodes.notFound,
  UNAUTHENTICATED: exitCodes.notAllowed,
  FORBIDDEN: exitCodes.notAllowed,
  UNAVAILABLE: exitCodes.unavailable,
  CIPHER_UNAVAILABLE: exitCodes.unavailable,
  SERVER_UNREACHABLE: exitCodes.unavailable,
  DATABASE_UNREACHABLE: exitCodes.unavailable,
};

// Where an error has no hint of its own: the server says of a token nothing but that it is not valid.
const hints: Partial<Record<ErrorCode, string>> = {
  UNAUTHENTICATED: "Run `keyrow login` again, or give KEYROW_TOKEN one that is.",
};

function exitCodeOf({ code, status }: KeyrowError): number {
  // One request too many may pass by itself; one that is too large, of the same code, never does.
  return status === 429 ? exitCodes.unavailable : (codesByError[code] ?? exitCodes.error);
}

const MOST = 4_000;

/**
 * Tells on standard error why a command ends, in `error:` and `hint:` lines or, where `--json` was given, as JSON in one
 * line; gives the exit code for it.
 */
export async function report(error: unknown, asJson = wantsJson()): Promise<number> {
  // Help and version end the program in this way, too; where no command was given, the help is on standard error already.
  if (error instanceof CommanderError && error.exitCode === 0) return exitCodes.ok;
  if (error instanceof CommanderError && error.code === "commander.help") return exitCodes.usage;
  const told = await toldOf(error);
  if (asJson) printJson(told);
  else printLines(told);
  return exitCodeOf(told.error);
}

/** A line on standard error of what stops nothing. */
export function tell(label: "warning" | "note" | "hint", sentence: string): void {
  print(label, lowerCase(sentence));
}

/** Whether errors are told as JSON; what follows `--` is another program's. */
function wantsJson(): boolean {
  const words = process.argv.slice(2);
  const end = words.indexOf("--");
  return words.slice(0, end < 0 ? undefined : end).includes("--json");
}

interface Told {
  readonly error: KeyrowError;
  /** Where an error was that nobody foresaw. */
  readonly details: readonly string[];
}

async function toldOf(error: unknown): Promise<Told> {
  if (error instanceof KeyrowError) return { error: hinted(error), details: [] };
  if (error instanceof CommanderError) return { error: usageOf(error), details: [] };
  const { wantsDetails } = await import("../config.ts");
  const hint = "Run it again with LOG_LEVEL=debug to see where.";
  const message = "Something went wrong here (INTERNAL).";
  return wantsDetails()
    ? { error: new KeyrowError("INTERNAL", { message }), details: details(error) }
    : { error: new KeyrowError("INTERNAL", { message, hint }), details: [] };
}

function hinted(error: KeyrowError): KeyrowError {
  const { code, message, status, cause } = error;
  const hint = hints[code];
  return error.hint !== undefined || hint === undefined
    ? error
    : new KeyrowError(code, { message, hint, status, cause });
}

function usageOf({ message: text, help = "keyrow --help" }: CommanderError & { help?: string }): KeyrowError {
  const [, message = "", hint = `See \`${help}\`.`] =
    /^(?:error: )?(.*?)(?:\n\((Did you mean .*)\))?$/s.exec(text) ?? [];
  return new KeyrowError("USAGE", { message: withoutValues(message), hint });
}

/** What was typed may be a secret in the wrong place, and standard error may be a log of a build. */
function withoutValues(message: string): string {
  return (
    message
      .replace(/(but got \d+): .*$/s, "$1")
      .replace(/'(--?[^=']+)=.*'/s, "'$1'")
      // A private key begins with dashes, too.
      .replace(/(unknown option) '(?!(-[a-z]|--[a-z][a-z-]{0,30})'$).*$/is, "$1")
  );
}

function details(error: unknown): string[] {
  const { name, code = "", at } = describeError(error);
  return [`${name} ${code}`.trimEnd(), ...at.map((frame) => `    ${frame}`)];
}

function printJson({ error: { code, message, hint }, details }: Told): void {
  const shown = { code, message: cut(message), hint: hint && cut(hint), ...(details.length > 0 && { debug: details }) };
  process.stderr.write(`${printableJson({ error: shown })}\n`);
}

function printLines({ error: { code, message, hint }, details }: Told): void {
  // Its problems are a line each. Any other line end is one of a name, which must not add lines of its own.
  for (const line of code === "CONFIG_INVALID" ? message.split("\n") : [message]) print("error", lowerCase(line));
  if (hint) print("hint", lowerCase(hint));
  for (const line of details) print("debug", line);
}

const colours = { error: "red", warning: "yellow", note: "dim", hint: "dim", debug: "dim" } as const;

function print(label: keyof typeof colours, line: string): void {
  const shown = coloured(colours[label], `${label}:`, process.stderr);
  // What came from outside, a path, a mistyped word or a server's name, must not steer the terminal or flood it.
  process.stderr.write(`${shown} ${printable(cut(line))}\n`);
}

function cut(text: string): string {
  return text.length > MOST ? `${text.slice(0, MOST)}…` : text;
}

/** A sentence as the line of a command: without capital and full stop; names such as JWT_SECRET stay as they are. */
function lowerCase(line: string): string {
  const end = line.endsWith(".") && !/\. [A-Z`-]/.test(line) ? line.slice(0, -1) : line;
  return end.replace(/^[A-Z](?=[a-z]*(?: |$))/, (letter) => letter.toLowerCase());
}
