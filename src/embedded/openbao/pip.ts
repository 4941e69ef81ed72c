import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { settings } from "../../settings.ts";
import { signal } from "../child.ts";

/** A way to run Python's pip: a program and its first arguments. */
export type Pip = readonly [command: string, ...args: string[]];

const ways: readonly Pip[] = [["python3", "-m", "pip"], ["pip3"]];

/** Python's pip as this machine has it, or undefined. */
export function findPip(): Pip | undefined {
  return ways.find(([command, ...args]) => {
    return spawnSync(command, [...args, "--version"], { env: environment(), stdio: "ignore" }).status === 0;
  });
}

/** Runs pip to its end; gives its exit code, or what ended it, and what it said of errors, without addresses. */
export async function runPip([command, ...first]: Pip, args: string[]): Promise<{ code: string; said: string }> {
  let child: ChildProcessByStdio<null, null, Readable> | undefined;
  // Before there is one: a signal that comes while it begins would end us, and leave it behind.
  const release = onSignals(() => child && signal(child, "SIGTERM"));
  try {
    child = spawn(command, [...first, ...args], { env: environment(), stdio: ["ignore", "ignore", "pipe"] });
    const [said, [code, name]] = await Promise.all([text(child.stderr), once(child, "exit")]);
    const errors = said.split("\n").filter((line) => line.startsWith("ERROR:"));
    return {
      code: String(name ?? code),
      said: (errors.at(-1) ?? "").replaceAll(/\b\w+:\/\/\S+/g, "...").slice(0, 300),
    };
  } finally {
    release();
  }
}

/** Whoever ends us while it downloads does not want the rest. */
function onSignals(end: () => void): () => void {
  const names = ["SIGINT", "SIGTERM", "SIGHUP", "exit"] as const;
  for (const name of names) process.on(name, end);
  return () => {
    for (const name of names) process.off(name, end);
  };
}

/** Ours, for it has proxies and indexes, but without what is set for Keyrow: that may be secret. */
function environment(): NodeJS.ProcessEnv {
  const others = Object.entries(process.env).filter(([name]) => !(name in settings));
  return { ...Object.fromEntries(others), PIP_USER: "0" };
}
