import { fileURLToPath } from "node:url";
import { execa } from "execa";

const cli = fileURLToPath(new URL("../../src/cli.ts", import.meta.url));

/** How a command is run: with this environment and no other. */
export interface Running {
  readonly env?: Record<string, string>;
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
}

/** Runs `keyrow` as a process; what it printed is as it is, to the last byte. */
export async function keyrow(args: readonly string[], { env = {}, input = "", cwd }: Running = {}) {
  const { stdout, stderr, exitCode } = await execa(process.execPath, [cli, ...args], {
    env: { PATH: process.env.PATH ?? "", HOME: "/nonexistent", ...env },
    extendEnv: false,
    reject: false,
    stripFinalNewline: false,
    timeout: 30_000,
    input,
    ...(cwd !== undefined && { cwd }),
  });
  return { stdout, stderr, exitCode };
}
