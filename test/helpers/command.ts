import { fileURLToPath } from "node:url";
import { execa } from "execa";

/** The program that `keyrow` is, in TypeScript. */
export const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));

const { PATH = "", NODE_COMPILE_CACHE } = process.env;

/** What a process of a test has of this one's environment: where programs are, and what others have compiled already. */
export const surroundings: Readonly<Record<string, string>> = {
  PATH,
  // A busy machine's OpenBao is slow, and not away.
  KEYROW_TRANSIT_TIMEOUT: "20s",
  ...(NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE }),
};

/** How a command is run: with this environment and no other. */
export interface Running {
  readonly env?: Record<string, string>;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
}

// A file's tests run at once, and a machine has few processors.
const MOST_AT_ONCE = 3;
let running = 0;
const waiting: Array<() => void> = [];

/** Runs `keyrow` as a process; what it printed is as it is, to the last byte. */
export async function keyrow(args: readonly string[], { env = {}, input = "", cwd }: Running = {}) {
  if (running === MOST_AT_ONCE) await new Promise<void>((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    const { stdout, stderr, exitCode } = await execa(process.execPath, [cli, ...args], {
      env: { ...surroundings, HOME: "/nonexistent", ...env },
      extendEnv: false,
      reject: false,
      stripFinalNewline: false,
      timeout: 60_000,
      forceKillAfterDelay: 5_000,
      input,
      ...(cwd !== undefined && { cwd }),
    });
    return { stdout, stderr, exitCode };
  } finally {
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }
}
