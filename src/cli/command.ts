import { Command } from "commander";
import type { Config } from "../config.ts";
import type { Ended } from "../script/child.ts";

/** A subcommand to be described further: every command of `keyrow` starts here, and is added in `program.ts`. */
export function command(name: string, description: string): Command {
  return new Command(name).description(description);
}

const WIDEST_EXAMPLE = 50;

/**
 * The part of a command's help that shows how it is used; each line is a command line and what it does, which stands below
 * where one of them is long.
 */
export function examples(...lines: Array<readonly [line: string, does: string]>): string {
  const width = Math.max(...lines.map(([line]) => line.length));
  const shown = lines.map(([line, does]) =>
    width > WIDEST_EXAMPLE ? `  ${line}\n      ${does}` : `  ${line.padEnd(width)}  ${does}`,
  );
  return ["", "Examples:", ...shown].join("\n");
}

/** What every help says of exit codes that has no others to tell of. */
export const EXIT_CODES = "\nExit codes: 0 done, 1 error, 2 usage, 3 not found, 4 not allowed, 5 unavailable.";

/** What the help of a command ends with that works on the database as a DB admin. */
export const ADMIN_DATABASE = `\nThe database is that of ADMIN_DATABASE_URL, as a login that may become keyrow_admin and is no superuser, or the embedded one.${EXIT_CODES}`;

/** Collects an option that may stand several times. */
export function several(word: string, before: readonly string[] = []): string[] {
  return [...before, word];
}

/** The configuration, read by an action alone: help needs none of it. */
export async function configuration(): Promise<Config> {
  const { readConfig } = await import("../config.ts");
  return readConfig();
}

/** Adds to a command that values pass through: nothing is done where Node itself would print them. */
export function unprinted(it: Command, section: "stream" | "child_process" = "stream"): Command {
  return it.hook("preAction", async () => {
    const { refuseDebugOf } = await import("../script/environment.ts");
    refuseDebugOf(section);
  });
}

/** Says so where nothing here tells whether the servers take tokens of an issuer that an admin has named. */
export async function warnOfUnknown(issuer: { readonly known: boolean } | undefined): Promise<void> {
  if (issuer?.known !== false) return;
  const { tell } = await import("./report.ts");
  tell("warning", "Whether the servers take tokens of this issuer is not known here.");
  tell("hint", "Set JWT_ISSUERS to the servers' file for it to be checked; where they don't list it, it is of no use.");
}

/** A line on standard output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Ends without an error of the catalogue: what did not happen, and the exit code. */
export function end(what: string, exitCode: number): void {
  process.stderr.write(`${what}\n`);
  process.exitCode = exitCode;
}

/** Ends as a command did that this one has run, or was to run. */
export async function endAs({ exitCode, error }: Ended): Promise<void> {
  if (error !== undefined) {
    const { report } = await import("./report.ts");
    await report(error);
  }
  process.exitCode = exitCode;
}

/** Help whose paragraphs have lines of so many columns at most; what is indented is as it is. */
export function fitted(help: string, width: number): string {
  return help
    .split("\n")
    .flatMap((line) => (line.startsWith(" ") ? [line] : wrap(line, width)))
    .join("\n");
}

/** A text as lines of so many columns at most, where its words let it. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** How many columns help may take: those of the terminal, at most 100 for the eye; 80 where there is none. */
export function helpWidth(stream: NodeJS.WriteStream): number {
  return Math.max(40, Math.min(columnsOf(stream), 100));
}

/** How many columns a terminal has: 80 where it does not say, or says that it has none at all. */
export function columnsOf(stream: NodeJS.WriteStream): number {
  return stream.columns || 80;
}
