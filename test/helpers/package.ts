import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";

const root = join(import.meta.dirname, "../..");

/** What is in a checkout and no package needs: what the build of an image leaves out, too. */
const LEFT_OUT = new Set([".git", ".keyrow", "node_modules", "dist", "bench", "test"]);

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
  const { stdout } = await execa("tar", ["tzf", tarballIn(directory)], { cwd: directory });
  const application = join(directory, "application");
  await unpack(directory, application, () => true);
  return { application, files: stdout.split("\n").map((name) => name.replace(/^package\//, "")) };
}

/** Unpacks what is packed in `directory` again, without its optional dependencies; the application's folder. */
export async function installWithoutOptional(directory: string): Promise<string> {
  const application = join(directory, "plain");
  const { optionalDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const left = Object.keys(optionalDependencies).map((name) => name.split("/")[0]);
  await unpack(directory, application, (name) => !left.includes(name));
  return application;
}

const tarballIn = (directory: string) => readdirSync(directory).find((name) => name.endsWith(".tgz")) ?? "";

/** Unpacks the package into an application, and links what this checkout has installed, in place of the registry. */
async function unpack(directory: string, application: string, wanted: (name: string) => boolean): Promise<void> {
  const modules = join(application, "node_modules");
  const installed = join(modules, "keyrow");
  mkdirSync(join(modules, ".bin"), { recursive: true });
  mkdirSync(installed);
  await execa("tar", ["xzf", join(directory, tarballIn(directory)), "--strip-components=1", "-C", installed]);
  writeFileSync(join(application, "package.json"), '{ "name": "application", "type": "module", "private": true }');
  const from = join(root, "node_modules");
  for (const name of readdirSync(from)) {
    if (!name.startsWith(".") && wanted(name)) symlinkSync(join(from, name), join(modules, name));
  }
  symlinkSync("../keyrow/src/launch.mjs", join(modules, ".bin/keyrow"));
}
