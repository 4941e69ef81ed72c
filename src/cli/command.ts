import { Command } from "commander";

/** A subcommand to be described further: every command of `keyrow` starts here, and is added in `program.ts`. */
export function command(name: string, description: string): Command {
  return new Command(name).description(description);
}

/** The part of a command's help that shows how it is used; each line is a command line and what it does. */
export function examples(...lines: Array<readonly [line: string, does: string]>): string {
  const width = Math.max(...lines.map(([line]) => line.length));
  return ["", "Examples:", ...lines.map(([line, does]) => `  ${line.padEnd(width)}  ${does}`)].join("\n");
}

/** How many columns help may take: those of the terminal, at most 100 for the eye; 80 where there is none. */
export function helpWidth(stream: NodeJS.WriteStream): number {
  // Some terminals say that they have no columns at all.
  return Math.max(40, Math.min(stream.columns || 80, 100));
}
