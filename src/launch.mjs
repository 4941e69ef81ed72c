#!/usr/bin/env node
// Plain JavaScript without a dependency: it runs on the system's Node, before anything is installed, and hands over to
// the packaged Node, which runs TypeScript as it is.
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { isatty } from "node:tty";
import { fileURLToPath, pathToFileURL } from "node:url";
import { Failure, installDependencies } from "./install.mjs";
import { nodeOptions } from "./node-options.mjs";

const NEEDED = 24;
// What a client needs alone.
const NEEDED_HERE = [20, 18, 1];
// What works with a database. Everything else is a client, and needs no other process.
const SERVER = [
  "start",
  "serve",
  "worker",
  "migrate",
  "setup",
  "adopt",
  "token",
  "keys",
  "rewrap",
  "system",
  "identity",
  "machine",
  "handover",
  "db",
];
// Of `keyrow token`, those that ask a server.
const OF_TOKEN = ["create", "list", "revoke"];
const src = dirname(fileURLToPath(import.meta.url));
const root = dirname(src);

try {
  // Of the checkout alone; they want what development needs as well.
  const runner = new Map(Object.entries({ "--test": "test/run.ts", "--bench": "bench/run.ts" })).get(process.argv[2]);
  await installDependencies(root, runner !== undefined);
  // What is published is compiled.
  const published = !existsSync(join(src, "cli.ts"));
  const program = published ? join(root, "dist/src/cli.js") : join(src, "cli.ts");
  const args = runner ? [join(root, runner), ...process.argv.slice(3)] : [program, ...process.argv.slice(2)];
  if (published && runsHere()) await import(pathToFileURL(program).href);
  else finish(await run(await startOn(nodes(), args)));
} catch (error) {
  const text = error instanceof Failure ? error.message : `the launcher failed: ${error.message}`;
  process.stderr.write(`error: ${text}\n`);
  process.exitCode = 1;
}

/** Whether this very process runs the command. */
function runsHere() {
  const [, , command, sub] = process.argv;
  if (SERVER.includes(command) && !(command === "token" && OF_TOKEN.includes(sub))) return false;
  const own = process.versions.node.split(".").map(Number);
  const at = NEEDED_HERE.findIndex((number, index) => number !== own[index]);
  return at < 0 || own[at] > NEEDED_HERE[at];
}

/** The paths of Nodes to try, the packaged one first. */
function nodes() {
  const require = createRequire(import.meta.url);
  // A Mac on arm64 can also run the packaged one for x64, so its own, where it is new enough, goes first there.
  const own = Number.parseInt(process.versions.node, 10) >= NEEDED ? [process.execPath] : [];
  const packaged = [process.arch, "x64"].flatMap((arch) => {
    if (arch !== process.arch && process.platform !== "darwin") return [];
    try {
      return [join(dirname(require.resolve(`node-${process.platform}-${arch}/package.json`)), "bin/node")];
    } catch {
      return [];
    }
  });
  return process.platform === "darwin" && process.arch === "arm64" ? [...own, ...packaged] : [...packaged, ...own];
}

/** The child on the first Node that starts: the packaged one needs a C library that not every Linux has. */
async function startOn(candidates, args) {
  // The fourth descriptor is a pipe that closes when this process goes, however it goes.
  const options = {
    stdio: ["inherit", "inherit", "inherit", "pipe"],
    env: { ...process.env, KEYROW_LAUNCHER_FD: "3" },
  };
  const follow = ["--import", new URL("follow.mjs", import.meta.url).href];
  for (const node of candidates) {
    const child = spawn(node, [...nodeOptions, ...follow, ...args], options);
    const started = await new Promise((resolve) =>
      child.once("spawn", () => resolve(true)).once("error", () => resolve(false)),
    );
    if (started) return child;
  }
  throw new Failure(`Keyrow needs Node ${NEEDED} or newer, and this is ${process.versions.node} on ${process.platform} ${process.arch}.
hint: no packaged Node runs here; install one from https://nodejs.org, then start again.`);
}

/** Passes signals on until the child has ended; gives its exit code or the signal that ended it. */
function run(child) {
  let told = false;
  const tell = (signal) => {
    told = true;
    child.kill(signal);
  };
  process.on("SIGTERM", tell);
  process.on("SIGHUP", tell);
  process.on("SIGINT", () => {
    // From a terminal it reaches the child by itself, and twice would read as impatience.
    if ([0, 1, 2].some(isatty)) told = true;
    else tell("SIGINT");
  });
  const watch = watchParents(() => told || tell("SIGTERM"));
  child.stdio[3].on("error", () => {});
  return new Promise((resolve) => {
    child.once("exit", (code, signal) => {
      clearInterval(watch);
      resolve({ code, signal });
    });
  });
}

/**
 * npm runs us in a shell, which passes no signal on, and may itself be killed. Where npm started us, `gone` is called
 * when either of them has gone; who starts us otherwise may go and leave us running.
 */
function watchParents(gone) {
  if (!process.env.npm_lifecycle_event || process.ppid === 1) return undefined;
  const before = parents();
  return setInterval(() => parents() === before || gone(), 200).unref();
}

function parents() {
  const parent = process.ppid;
  try {
    const stat = readFileSync(`/proc/${parent}/stat`, "latin1");
    const end = stat.lastIndexOf(")");
    const shell = /^(ba|da|a|z|k)?sh$|^busybox$/.test(stat.slice(stat.indexOf("(") + 1, end));
    return shell ? `${parent} ${stat.slice(end + 2).split(" ")[1]}` : `${parent}`;
  } catch {
    return `${parent}`;
  }
}

/** Ends as the child did. */
function finish({ code, signal }) {
  if (signal === null) process.exit(code);
  for (const name of ["SIGTERM", "SIGHUP", "SIGINT"]) process.removeAllListeners(name);
  process.exitCode = 128 + constants.signals[signal];
  process.kill(process.pid, signal);
}
