import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import test from "ava";
import { cli, surroundings } from "./command.ts";

const script = "/usr/bin/script";

/** A test on a terminal. On a machine without util-linux it is skipped and counted; in CI its absence is a failure. */
export const onTerminal = (existsSync(script) && process.platform === "linux") || process.env.CI ? test : test.skip;

/** Runs the command on a terminal of its own, and types `keys` once it shows `prompt`; what the terminal showed. */
export async function typeInto(
  args: readonly string[],
  env: Record<string, string>,
  prompt: string,
  keys: string,
  cwd?: string,
): Promise<{ shown: string; exitCode: number }> {
  const command = [process.execPath, cli, ...args].map((word) => `'${word}'`).join(" ");
  const child = spawn(script, ["-qec", command, "/dev/null"], {
    env: { ...surroundings, NO_COLOR: "1", ...env },
    ...(cwd !== undefined && { cwd }),
  });
  let shown = "";
  let typed = false;
  child.stdout.on("data", (chunk) => {
    shown += chunk;
    if (typed || !shown.includes(prompt)) return;
    typed = true;
    child.stdin.write(keys);
  });
  const [exitCode] = await once(child, "close");
  return { shown, exitCode };
}
