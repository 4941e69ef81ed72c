// Plain JavaScript without a dependency, like the launcher that uses it.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isatty } from "node:tty";
import { claim, claimFor, holders } from "./lockfile.mjs";

const CLAIM = ".keyrow-install-";
const say = (line) => process.stderr.write(`${line}\n`);

/** What the person at the terminal can mend; its message is all that is shown. */
export class Failure extends Error {}

/**
 * In a source checkout, installs what package-lock.json names when node_modules is not that; of two at once, one
 * installs and the other waits. `testing` wants what development needs as well. Throws a Failure.
 */
export async function installDependencies(root, testing) {
  if (!existsSync(join(root, "package-lock.json"))) return;
  for (let told = false; !isInstalled(root, testing); await sleep(100)) {
    const claimed = await claimFolder(root);
    if (claimed.release) return installIn(root, testing).finally(claimed.release);
    if (!told) say(`Process ${claimed.holder.pid} is installing the dependencies; waiting for it...`);
    told = true;
  }
}

/** npm writes down what it has put into node_modules when it is done: this is compared with the lock file. */
function isInstalled(root, testing) {
  try {
    const locked = packagesOf(join(root, "package-lock.json"));
    const installed = packagesOf(join(root, "node_modules/.package-lock.json"));
    return Object.entries(locked).every(([path, wanted]) => {
      const found = installed[path];
      if (path === "" || wanted.link) return true;
      if (!found) return wanted.optional || wanted.devOptional || wanted.peer || (wanted.dev && !testing);
      return found.version === wanted.version && found.integrity === wanted.integrity && existsSync(join(root, path));
    });
  } catch {
    return false;
  }
}

function packagesOf(file) {
  return JSON.parse(readFileSync(file, "utf8")).packages;
}

async function claimFolder(root) {
  try {
    return await claim(root, CLAIM, "npm ci");
  } catch (error) {
    throw new Failure(`the dependencies are not installed, and ${root} can't be written (${error.code}).
hint: run \`npm ci\` there as the user who owns it, then start again.`);
  }
}

async function installIn(root, testing) {
  // Another one may have done it before we got the claim.
  if (isInstalled(root, testing)) return;
  const stopSpinner = showProgress("Installing the locked dependencies (once, about half a minute)...");
  // An install that is cut short must not look like a whole one.
  rmSync(join(root, "node_modules/.package-lock.json"), { force: true });
  const { code, said } = await runNpm(root, testing);
  // Removes the claim of the npm that has gone.
  holders(root, CLAIM);
  stopSpinner(code === 0 ? "done." : "failed.");
  if (code !== 0 || !isInstalled(root, testing)) throw failed(root, code, said);
}

function runNpm(root, testing) {
  const args = ["ci", "--loglevel=error", "--ignore-scripts", "--no-audit", "--no-fund", "--include=optional"];
  const [command, ...first] = npm();
  const options = { cwd: root, stdio: ["ignore", "ignore", "pipe"] };
  const child = spawn(command, [...first, ...args, ...(testing ? ["--include=dev"] : [])], options);
  const interrupt = (signal) => {
    child.kill(signal);
    child.once("exit", () => process.exit(signal === "SIGINT" ? 130 : 143));
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  let said = "";
  child.stderr.on("data", (chunk) => {
    said = `${said}${chunk}`.slice(-10_000);
  });
  child.once("spawn", () => claimFor(child.pid, root, CLAIM, "npm ci"));
  return new Promise((resolve) => {
    child.once("error", ({ code }) => resolve({ code: 127, said: `npm could not be run (${code})` }));
    child.once("close", (code, signal) => resolve({ code: code ?? signal, said }));
  }).finally(() => process.removeListener("SIGINT", interrupt).removeListener("SIGTERM", interrupt));
}

/** The npm that runs us, where it is npm; pnpm and yarn set the same variable. */
function npm() {
  const path = process.env.npm_execpath ?? "";
  return basename(path) === "npm-cli.js" && existsSync(path) ? [process.execPath, path] : ["npm"];
}

function failed(root, code, said) {
  const lines = said.split("\n").filter((line) => line.trim() && !line.includes("A complete log of this run"));
  const last = lines.slice(-5).map((line) => `\n  ${line.trim()}`);
  return new Failure(`the dependencies could not be installed: npm ci ended with ${code}.
hint: look at the network and the disk, then start again, or run \`npm ci\` in ${root} to see more.${last.join("")}`);
}

/** Shows the line, on a terminal with a sign of life; what it gives ends the line with a word. */
function showProgress(line) {
  if (!isatty(2)) {
    say(line);
    return () => {};
  }
  const signs = ["|", "/", "-", "\\"];
  let turn = 0;
  const draw = () => process.stderr.write(`\r${line} ${signs[turn++ % signs.length]}`);
  draw();
  const timer = setInterval(draw, 120);
  return (word) => {
    clearInterval(timer);
    say(`\r${line} ${word}`);
  };
}
