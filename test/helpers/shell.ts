import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { execa } from "execa";
import { cli, surroundings } from "./command.ts";

/** Somebody's shell, to run what a page says in it. */
export interface Shell {
  readonly directory: string;
  /** Its PATH. */
  readonly path: string;
}

/** Makes one in a directory: `npx keyrow` is this checkout's, and `programs` are by the names that they have there. */
export function makeShell(
  directory: string,
  { programs = {}, path = "" }: { programs?: Record<string, string>; path?: string } = {},
): Shell {
  const bin = join(directory, "bin");
  mkdirSync(bin, { recursive: true });
  writeFileSync(join(bin, "npx"), `#!/bin/sh\nshift\nexec "${process.execPath}" "${cli}" "$@"\n`);
  chmodSync(join(bin, "npx"), 0o755);
  for (const [name, program] of Object.entries(programs)) {
    if (!existsSync(join(bin, name))) symlinkSync(program, join(bin, name));
  }
  return { directory, path: [bin, path, process.env.PATH ?? ""].filter((part) => part !== "").join(":") };
}

/** Runs a block as a shell would that stops at the first fault, with these settings and no others. */
export function shell({ directory, path }: Shell, text: string, env: Record<string, string>) {
  return execa("bash", ["--norc", "-euo", "pipefail", "-c", text], {
    cwd: directory,
    env: { ...surroundings, ...env, PATH: path, HOME: directory, NO_COLOR: "1" },
    extendEnv: false,
    reject: false,
    timeout: 60_000,
  });
}

/** Runs a block that has to succeed, and gives what it printed. */
export async function does(t: ExecutionContext, at: Shell, text: string, env: Record<string, string>): Promise<string> {
  const { exitCode, stdout, stderr } = await shell(at, text, env);
  t.is(exitCode, 0, `${text}\n${stdout}\n${stderr}`);
  return stdout;
}

/** The blocks of a page of `docs/` in some languages, and the one that has something in it. */
export function pageOf(name: string, ...languages: string[]) {
  const text = readFileSync(new URL(`../../docs/${name}`, import.meta.url), "utf8");
  const fence = new RegExp(`\`\`\`(?:${languages.join("|")})\\n([\\s\\S]*?)\`\`\``, "g");
  const blocks = [...text.matchAll(fence)].map(([, block = ""]) => block);
  const block = (part: string): string => {
    const [only, ...more] = blocks.filter((one) => one.includes(part));
    if (only === undefined || more.length > 0) throw new Error(`not one block of ${name} has ${part}`);
    return only;
  };
  return { text, blocks, block };
}
