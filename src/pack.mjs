// What npm runs before it packs: the sources become JavaScript and declarations in dist/, which is all that is published.
import { spawnSync } from "node:child_process";
import { copyFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
rmSync(join(root, "dist"), { recursive: true, force: true });
const tsc = join(dirname(createRequire(import.meta.url).resolve("typescript/package.json")), "bin/tsc");
const { status } = spawnSync(process.execPath, [tsc, "-p", join(root, "tsconfig.build.json")], { stdio: "inherit" });
// Of the sources that are JavaScript already, the one that others import.
if (status === 0)
  for (const name of ["lockfile.mjs", "lockfile.d.mts"])
    copyFileSync(join(root, "src", name), join(root, "dist/src", name));
process.exitCode = status ?? 1;
