import { constants } from "node:os";
import { isatty } from "node:tty";
import { execa } from "execa";
import { KeyrowError } from "../errors.ts";
import { childEnvironment } from "./environment.ts";

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

/** How a command ended: by its exit code, or 128 and the signal's number; or that it did not start, as a shell counts it. */
export interface Ended {
  readonly exitCode: number;
  readonly error?: KeyrowError;
}

/** Runs a command with variables added; signals go on to it. */
export async function runWith(
  [command = "", ...args]: readonly string[],
  variables: ReadonlyMap<string, string>,
  keepToken: boolean,
): Promise<Ended> {
  for (const [name, value] of variables) {
    if (value.includes("\0")) {
      throw new KeyrowError("VALIDATION", {
        message: `The value of ${name} holds NUL, which no environment can.`,
        hint: "Leave it out by --only, and give it to the command in a file.",
      });
    }
  }
  // Before there is a command to tell: it may be up before the next line runs, and a signal that nobody takes ends
  // this process and leaves the command behind with its values.
  const tell = (signal: NodeJS.Signals) => {
    // From a terminal these reach the command by themselves, and twice would read as impatience.
    if ((signal === "SIGINT" || signal === "SIGQUIT") && [0, 1, 2].some((fd) => isatty(fd))) return;
    child.kill(signal);
  };
  for (const signal of SIGNALS) process.on(signal, tell);
  const child = execa(command, args, {
    stdio: "inherit",
    reject: false,
    extendEnv: false,
    env: childEnvironment(Object.fromEntries(variables), keepToken),
    // When it ends is the command's own business.
    forceKillAfterDelay: false,
  });
  const { exitCode: ended, signal, code } = await child;
  for (const one of SIGNALS) process.off(one, tell);
  if (signal !== undefined) return { exitCode: 128 + constants.signals[signal as NodeJS.Signals] };
  if (ended !== undefined) return { exitCode: ended };
  const exitCode = code === "ENOENT" ? 127 : 126;
  const error = new KeyrowError("USAGE", {
    message: `The command ${JSON.stringify(command)} can't be run (${code}).`,
    hint: exitCode === 127 ? "Look at its name and at PATH." : "See that it is a file that you may execute.",
  });
  return { exitCode, error };
}
