import { styleText } from "node:util";
import { CommanderError } from "commander";
import { describeError, type ErrorCode, KeyrowError } from "../errors.ts";
import { printable } from "../printable.ts";

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

function exitCodeOf({ code, status }: KeyrowError): number {
  // One request too many may pass by itself; one that is too large, of the same code, never does.
  return status === 429 ? exitCodes.unavailable : (codesByError[code] ?? exitCodes.error);
}

const MOST = 4_000;

/** Tells on standard error, in `error:` and `hint:` lines, why a command ends, and gives the exit code for it. */
export async function report(error: unknown): Promise<number> {
  if (error instanceof CommanderError) return reportUsage(error);
  if (error instanceof KeyrowError) {
    // Its problems are a line each. Any other line end is one of a name, which must not add lines of its own.
    for (const line of error.code === "CONFIG_INVALID" ? error.message.split("\n") : [error.message]) {
      print("error", lowerCase(line));
    }
    if (error.hint) print("hint", lowerCase(error.hint));
    return exitCodeOf(error);
  }
  const { wantsDetails } = await import("../config.ts");
  print("error", "something went wrong here (INTERNAL)");
  if (wantsDetails()) for (const line of details(error)) print("debug", line);
  else print("hint", "run it again with LOG_LEVEL=debug to see where");
  return exitCodes.error;
}

function reportUsage(error: CommanderError): number {
  // Help and version end the program in this way, too.
  if (error.exitCode === 0) return exitCodes.ok;
  // No command was given: the help is on standard error already.
  if (error.code === "commander.help") return exitCodes.usage;
  const [, message = "", suggestion = "see `keyrow --help`"] =
    /^(?:error: )?(.*?)(?:\n\((Did you mean .*)\))?$/s.exec(error.message) ?? [];
  print("error", lowerCase(withoutValues(message)));
  print("hint", lowerCase(suggestion));
  return exitCodes.usage;
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

function print(label: "error" | "hint" | "debug", line: string): void {
  const shown = styleText(label === "error" ? "red" : "dim", `${label}:`, { stream: process.stderr });
  // What came from outside, a path, a mistyped word or a server's name, must not steer the terminal or flood it.
  process.stderr.write(`${shown} ${printable(line.length > MOST ? `${line.slice(0, MOST)}…` : line)}\n`);
}

/** A sentence as the line of a command: without capital and full stop; names such as JWT_SECRET stay as they are. */
function lowerCase(line: string): string {
  const end = line.endsWith(".") && !line.slice(0, -1).includes(". ") ? line.slice(0, -1) : line;
  return end.replace(/^[A-Z](?=[a-z]*(?: |$))/, (letter) => letter.toLowerCase());
}
