import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";

const root = join(import.meta.dirname, "../..");

/** What is in a checkout and no package needs: what the build of an image leaves out, too. */
const LEFT_OUT = new Set([".git", ".keyrow", "node_modules", "dist", "bench", "test", "docs"]);

/** Copies the sources of this checkout. */
export function copySources(to: string): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(root)) {
    if (!LEFT_OUT.has(name) && !/\.(tgz|log)$/.test(name))
      cpSync(join(root, name), join(to, name), { recursive: true });
  }
}

/** Packs this checkout in `directory`, away from it, and unpacks that as an application's one dependency; its folder. */
export async function installPacked(directory: string): Promise<{ application: string; files: readonly string[] }> {
  const sources = join(directory, "sources");
  copySources(sources);
  symlinkSync(join(root, "node_modules"), join(sources, "node_modules"));
  await execa("npm", ["pack", "--pack-destination", directory], { cwd: sources });
  const tarball = readdirSync(directory).find((name) => name.endsWith(".tgz")) ?? "";
  const { stdout } = await execa("tar", ["tzf", tarball], { cwd: directory });
  const application = join(directory, "application");
  const installed = join(application, "node_modules/keyrow");
  mkdirSync(join(application, "node_modules/.bin"), { recursive: true });
  mkdirSync(installed);
  await execa("tar", ["xzf", join(directory, tarball), "--strip-components=1", "-C", installed]);
  writeFileSync(join(application, "package.json"), '{ "name": "application", "type": "module", "private": true }');
  linkDependencies(join(application, "node_modules"));
  symlinkSync("../keyrow/src/launch.mjs", join(application, "node_modules/.bin/keyrow"));
  return { application, files: stdout.split("\n").map((name) => name.replace(/^package\//, "")) };
}

/** Links what this checkout has installed, in place of the registry. */
function linkDependencies(to: string): void {
  const from = join(root, "node_modules");
  for (const name of readdirSync(from)) if (!name.startsWith(".")) symlinkSync(join(from, name), join(to, name));
}
