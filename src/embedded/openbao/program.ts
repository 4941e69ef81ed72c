import { execFile } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { KeyrowError } from "../../errors.ts";
import { plainEnvironment } from "../account.ts";
import { installProgram } from "./install.ts";
import { OLDEST } from "./release.ts";

const run = promisify(execFile);

/** What is known of where OpenBao's program is. */
export interface ProgramOptions {
  /** Absolute, as BAO_BIN has it; undefined: one is looked for. */
  readonly program: string | undefined;
  /** Where one is installed that is not found; this process holds it. */
  readonly directory: string;
}

/**
 * OpenBao's program: the named one, or the one on PATH where it is new enough, or one that is installed. Throws
 * EMBEDDED_OPENBAO with the remedy.
 */
export async function findProgram(
  { program, directory }: ProgramOptions,
  progress: (line: string) => void,
): Promise<string> {
  if (program === undefined) {
    const found = programOnPath();
    return found !== undefined && (await isNewEnough(found)) ? found : installProgram(directory, progress);
  }
  if (await isNewEnough(program)) return program;
  throw new KeyrowError("EMBEDDED_OPENBAO", {
    message: `BAO_BIN: ${program} is not an OpenBao of version ${OLDEST.join(".")} or newer that runs here.`,
    hint: "Give the path of another, or unset it: then the one on PATH is taken, or one is installed.",
  });
}

/** The `bao` on PATH, of whatever version, or undefined. */
export function programOnPath(): string | undefined {
  const candidates = plainEnvironment.PATH.split(delimiter)
    // Others depend on the directory that it is started in.
    .filter(isAbsolute)
    .map((directory) => join(directory, "bao"));
  return candidates.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return statSync(path).isFile();
    } catch {
      return false;
    }
  });
}

async function isNewEnough(program: string): Promise<boolean> {
  try {
    const { stdout } = await run(program, ["version"], { env: plainEnvironment, cwd: "/", timeout: 20_000 });
    const [, major, minor] = /^OpenBao v(\d+)\.(\d+)\./.exec(stdout) ?? [];
    const [oldestMajor, oldestMinor] = OLDEST;
    return Number(major) > oldestMajor || (Number(major) === oldestMajor && Number(minor) >= oldestMinor);
  } catch {
    return false;
  }
}
