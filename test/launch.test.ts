import { type ChildProcessByStdio, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import test, { type ExecutionContext } from "ava";
import { holders } from "../src/lockfile.mjs";
import { makeTemporaryDirectory } from "./helpers/cluster.ts";

const root = join(import.meta.dirname, "..");

/** What the launcher is given to run: says who it is, and waits for a signal when told to. */
const program = `
import { getHeapSpaceStatistics } from "node:v8";
const young = getHeapSpaceStatistics().find((one) => one.space_name === "new_space")?.space_size;
process.stdout.write(JSON.stringify({ young, pid: process.pid, node: process.versions.node, args: process.argv.slice(2) }) + "\\n");
if (process.argv[2] === "exit") process.exit(Number(process.argv[3]));
if (process.argv[2] === "wait") {
  const timer = setInterval(() => {}, 1000);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => { process.stdout.write(signal + "\\n"); clearInterval(timer); process.exitCode = 7; });
  }
}
if (process.argv[2] === "die") process.kill(process.pid, "SIGKILL");
`;

/** Puts its packages in place slowly enough for two launches to meet, as npm does, or fails. */
const npm = `#!/usr/bin/env node
import { appendFileSync, mkdirSync, writeFileSync } from "node:fs";
appendFileSync("npm-calls", process.argv.slice(2).join(" ") + "\\n");
if (process.env.TEST_NPM_FAILS) { console.error("npm error code ETEST"); process.exit(9); }
setTimeout(() => {
  mkdirSync("node_modules/tiny", { recursive: true });
  writeFileSync("node_modules/.package-lock.json", JSON.stringify({ packages: { "node_modules/tiny": { version: "1.0.0" } } }));
}, 300);
`;

/** A checkout with the real launcher, a stub for what it runs, and what its lock file wants installed or not. */
function checkout(t: ExecutionContext, installed = true): string {
  const directory = makeTemporaryDirectory();
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  mkdirSync(join(directory, "src"));
  mkdirSync(join(directory, "bin"));
  for (const name of ["launch.mjs", "follow.mjs", "install.mjs", "lockfile.mjs", "node-options.mjs"]) {
    cpSync(join(root, "src", name), join(directory, "src", name));
  }
  writeFileSync(join(directory, "src/cli.ts"), program);
  writeFileSync(join(directory, "package.json"), '{ "name": "stub", "type": "module" }');
  const packages = { "": {}, "node_modules/tiny": { version: "1.0.0" } };
  writeFileSync(join(directory, "package-lock.json"), JSON.stringify({ packages }));
  writeFileSync(join(directory, "bin/npm"), npm);
  chmodSync(join(directory, "bin/npm"), 0o755);
  symlinkSync(process.execPath, join(directory, "bin/node"));
  if (installed) spawnSync(join(directory, "bin/npm"), ["stub"], { cwd: directory, env: environment(directory) });
  rmSync(join(directory, "npm-calls"), { force: true });
  return directory;
}

function environment(directory: string, more: Record<string, string> = {}): Record<string, string> {
  return { PATH: `${join(directory, "bin")}:${process.env.PATH}`, ...more };
}

type Launched = ChildProcessByStdio<null, Readable, Readable>;

function launch(t: ExecutionContext, directory: string, args: string[], env = {}, user = {}): Launched {
  const child = spawn(process.execPath, [join(directory, "src/launch.mjs"), ...args], {
    ...user,
    env: environment(directory, env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  return child;
}

async function outcome(child: Launched): Promise<{ out: string; err: string; code: unknown; signal: unknown }> {
  const [out, err, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
  return { out, err, code, signal };
}

/** The lines of the program: the first is what it says of itself. */
async function firstLine(lines: AsyncIterator<string>): Promise<{ pid: number; node: string; args: string[] }> {
  return JSON.parse((await lines.next()).value);
}

test("arguments, output and exit code pass through", async (t) => {
  const { out, err, code } = await outcome(launch(t, checkout(t), ["exit", "42", "--flag", "a b"]));
  t.deepEqual(JSON.parse(out).args, ["exit", "42", "--flag", "a b"]);
  t.true(Number.parseInt(JSON.parse(out).node, 10) >= 24);
  t.is(code, 42);
  t.is(err, "");
});

test("the program's young generation has room for many requests, or what NODE_OPTIONS says at most", async (t) => {
  const directory = checkout(t);
  const young = async (more?: Record<string, string>) =>
    JSON.parse((await outcome(launch(t, directory, ["exit", "0"], more))).out).young as number;
  t.true((await young()) >= 16 * 2 ** 20);
  t.true((await young({ NODE_OPTIONS: "--max-semi-space-size=2" })) <= 4 * 2 ** 20);
});

test("the checkout's own runners get what follows their names", async (t) => {
  const directory = checkout(t);
  for (const name of ["test", "bench"]) {
    mkdirSync(join(directory, name));
    writeFileSync(join(directory, name, "run.ts"), program);
    const { out, code } = await outcome(launch(t, directory, [`--${name}`, "exit", "5"]));
    t.deepEqual(JSON.parse(out).args, ["exit", "5"]);
    t.is(code, 5);
  }
});

test("a program that was killed ends the launcher by the same signal", async (t) => {
  const { signal, err } = await outcome(launch(t, checkout(t), ["die"]));
  t.is(signal, "SIGKILL");
  t.is(err, "");
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  test(`${signal} sent to the launcher alone reaches the program, which decides the exit code`, async (t) => {
    const child = launch(t, checkout(t), ["wait"]);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const exit = once(child, "exit");
    await firstLine(lines);
    child.kill(signal);
    t.is((await lines.next()).value, signal);
    t.deepEqual(await exit, [7, null]);
  });
}

test("when the launcher is killed by -9, the program is told to stop", async (t) => {
  const child = launch(t, checkout(t), ["wait"]);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { pid } = await firstLine(lines);
  child.kill("SIGKILL");
  t.is((await lines.next()).value, "SIGTERM");
  // Its output ends with it.
  t.true((await lines.next()).done);
  t.not(pid, child.pid);
});

test("when the shell that npm runs the launcher in goes, the program is told to stop", async (t) => {
  const directory = checkout(t);
  const command = `"${process.execPath}" src/launch.mjs wait; true`;
  const env = environment(directory, { npm_lifecycle_event: "start" });
  const shell = spawn("sh", ["-c", command], { cwd: directory, env, stdio: ["ignore", "pipe", "inherit"] });
  const lines = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
  await firstLine(lines);
  shell.kill("SIGKILL");
  t.is((await lines.next()).value, "SIGTERM");
  t.true((await lines.next()).done);
});

test("what is missing is installed once, without scripts, also by two launches at once", async (t) => {
  const directory = checkout(t, false);
  const both = await Promise.all([1, 2].map(() => outcome(launch(t, directory, ["exit", "0"]))));
  t.deepEqual(
    both.map(({ code }) => code),
    [0, 0],
  );
  const calls = readFileSync(join(directory, "npm-calls"), "utf8").trim().split("\n");
  t.is(calls.length, 1);
  t.regex(calls[0] ?? "", /^ci .*--ignore-scripts/);
  t.regex(both.map(({ err }) => err).join(""), /Installing the locked dependencies/);
  t.deepEqual(holders(directory, ".keyrow-install-"), []);
  t.false(readdirSync(directory).some((name) => name.startsWith(".keyrow-install-")));
});

test("a lock file that names another version installs again", async (t) => {
  const directory = checkout(t);
  const packages = { "": {}, "node_modules/tiny": { version: "2.0.0" } };
  writeFileSync(join(directory, "package-lock.json"), JSON.stringify({ packages }));
  const { err, code } = await outcome(launch(t, directory, ["exit", "0"], { TEST_NPM_FAILS: "1" }));
  t.is(code, 1);
  t.regex(
    err,
    /^Installing .*\nerror: the dependencies could not be installed: npm ci ended with 9\.\nhint: .*\n {2}npm error code ETEST\n$/,
  );
});

test("where packages are missing and can't be written, two lines say what to run", async (t) => {
  const directory = checkout(t, false);
  // Root may write everywhere, so it tries as somebody else.
  const somebody = process.getuid?.() === 0 ? { uid: 65534, gid: 65534 } : {};
  chmodSync(directory, 0o555);
  t.teardown(() => chmodSync(directory, 0o755));
  const { err, code } = await outcome(launch(t, directory, [], {}, somebody));
  t.is(code, 1);
  t.regex(err, /^error: the dependencies are not installed, and .* can't be written \(EACCES\)\.\nhint: .*\n$/);
});

test("an installed checkout that can't be written runs", async (t) => {
  const directory = checkout(t);
  chmodSync(directory, 0o555);
  t.teardown(() => chmodSync(directory, 0o755));
  t.is((await outcome(launch(t, directory, ["exit", "3"]))).code, 3);
});
