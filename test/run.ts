import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { KeyrowError } from "../src/errors.ts";
import { avaArguments } from "./helpers/ava.ts";
import { clusterEnvironment, makeTemporaryDirectory, removeWithServers, startTestCluster } from "./helpers/cluster.ts";
import { type Counts, faultOf, readTap } from "./helpers/tap.ts";
import { prepareTemplate } from "./helpers/template.ts";

const root = join(import.meta.dirname, "..");
const total: Counts = { passed: 0, failed: 0, skipped: 0 };
const show = (line: string): void => void process.stdout.write(`${line}\n`);
const running = new Set<ChildProcess>();
let interrupted: NodeJS.Signals | undefined;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    interrupted ??= signal;
    for (const child of running) child.kill(signal);
  });
}

await check("Types (tsc)", ["typescript/bin/tsc", "-p", root]);
await check("Lint and format (biome)", ["@biomejs/biome/bin/biome", "check", "--error-on-warnings", root]);
if (!interrupted) await testAll(process.argv.slice(2));
if (interrupted) show(`\nInterrupted by ${interrupted}.`);
const parts = [`${total.passed} passed`, `${total.failed} failed`];
show(`\n${[...parts, ...(total.skipped ? [`${total.skipped} skipped`] : [])].join(", ")}`);
process.exitCode = interrupted || total.failed > 0 ? 1 : 0;

/** Runs a tool from node_modules; it counts as one test. */
async function check(heading: string, [script = "", ...args]: string[]): Promise<void> {
  if (interrupted) return;
  show(`\n${heading}`);
  const child = start([join(root, "node_modules", script), ...args], "inherit");
  const [code] = await once(child, "exit");
  total[code === 0 ? "passed" : "failed"] += 1;
  show(code === 0 ? "    ok" : "FAILED");
}

function start(args: string[], stdout: "inherit" | "pipe", env: Record<string, string> = {}): ChildProcess {
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: ["ignore", stdout, "inherit"],
    env: { ...process.env, ...env },
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

/** Starts the cluster, runs ava on it, and takes everything away again, whatever happens. */
async function testAll(args: string[]): Promise<void> {
  const directory = makeTemporaryDirectory("keyrow-test-");
  try {
    show("\nPostgreSQL for the tests");
    const cluster = await startTestCluster(directory);
    try {
      await prepareTemplate(cluster);
      show("    ok\n\nTests (ava)");
      // What tests leave behind when they are cut short lies in here.
      const temporary = join(directory, "tmp");
      mkdirSync(temporary, { mode: 0o711 });
      // Every process of a test loads the same sources: compiled once, they are there for all.
      const NODE_COMPILE_CACHE = join(directory, "compiled");
      if (!interrupted) await runAva(args, { ...clusterEnvironment(cluster), TMPDIR: temporary, NODE_COMPILE_CACHE });
    } finally {
      await cluster.stop();
    }
  } catch (error) {
    total.failed += 1;
    show(`FAILED  ${error instanceof Error ? error.message : error}`);
    if (error instanceof KeyrowError) show(`hint: ${error.hint}`);
    else if (error instanceof Error) show(error.stack ?? "");
  } finally {
    await removeWithServers(directory);
  }
}

async function runAva(args: string[], env: Record<string, string>): Promise<void> {
  // TERM: ava would otherwise draw its separators by the terminal it is not writing to.
  const ava = start([...avaArguments, ...args], "pipe", { ...env, TERM: "xterm-256color" });
  if (!ava.stdout) throw new Error("ava has no output");
  const [counts, [code]] = await Promise.all([readTap(ava.stdout, show), once(ava, "exit")]);
  for (const key of ["passed", "failed", "skipped"] as const) total[key] += counts[key];
  if (interrupted) return;
  const fault = faultOf(counts, code);
  if (fault === undefined) return;
  total.failed += 1;
  show(`\nFAILED  ${fault}`);
}
