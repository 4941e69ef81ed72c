import { spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import test from "ava";
import { avaArguments } from "./helpers/ava.ts";
import { makeTemporaryDirectory } from "./helpers/cluster.ts";
import { faultOf, readTap } from "./helpers/tap.ts";

test("an error without frames still names a place, so that the reporter can tell which test failed", (t) => {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = 0;
  t.teardown(() => {
    Error.stackTraceLimit = limit;
  });
  t.is(new RangeError("out of frames").stack, "RangeError: out of frames\n    at nowhere");
});

test("passed, failed, skipped and planned tests are counted, and failures are shown in full", async (t) => {
  const shown: string[] = [];
  const tap = [
    "TAP version 13",
    "ok 1 - cli › prints help",
    "not ok 2 - cli › fails",
    "  ---",
    "    message: why",
    "  ...",
    "ok 3 - cli › elsewhere # SKIP",
    "not ok 4 - cli › later # TODO",
    "",
    "1..3",
  ];
  const counts = await readTap(Readable.from(tap.map((line) => `${line}\n`)), (line) => shown.push(line));
  t.deepEqual(counts, { passed: 1, failed: 1, skipped: 2, whole: true });
  t.true(shown.includes("    message: why"));
  t.true(shown.includes("FAILED  cli: 1 passed, 1 failed, 2 skipped"));
});

test("a run in which nothing ran is a failure, and one whose tests were all skipped is none", (t) => {
  const counts = { passed: 0, failed: 0, skipped: 0, whole: true };
  t.is(faultOf(counts, 0), "No test ran.");
  t.is(faultOf({ ...counts, skipped: 2 }, 0), undefined);
  t.is(faultOf({ ...counts, passed: 1 }, 0), undefined);
  t.regex(faultOf({ ...counts, passed: 1 }, 1) ?? "", /ended with 1/);
  t.is(faultOf({ ...counts, failed: 1 }, 1), undefined, "the test tells");
});

test("a report that was cut short is a failure, whatever it had told", async (t) => {
  const counts = await readTap(Readable.from(["ok 1 - a › b\nnot ok 2 - a › c\n"]), () => undefined);
  t.regex(faultOf(counts, 1) ?? "", /^ava ended with 1 before its report was whole/);
});

test("a test that never ends is named and counted, when the run's time is up", async (t) => {
  const root = join(import.meta.dirname, "..");
  const directory = makeTemporaryDirectory();
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  symlinkSync(join(root, "node_modules"), join(directory, "node_modules"));
  const hung = `import test from "ava"; test("it hangs", () => new Promise(() => setInterval(() => {}, 1000)));`;
  writeFileSync(join(directory, "hung.test.js"), hung);
  writeFileSync(join(directory, "package.json"), JSON.stringify({ type: "module" }));
  const args = [...avaArguments, "--timeout", "5s", "hung.test.js"];
  const ava = spawn(process.execPath, args, { cwd: directory, stdio: ["ignore", "pipe", "ignore"], env: alone() });
  const shown: string[] = [];
  const [counts] = await Promise.all([readTap(ava.stdout, (line) => shown.push(line)), once(ava, "exit")]);
  t.deepEqual(counts, { passed: 0, failed: 1, skipped: 0, whole: true });
  t.true(shown.includes("\nFAILED  it hangs"));
});

/** The environment without what ava tells its own workers. */
function alone(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(AVA_|NODE_ENV|NODE_OPTIONS|TEST_)/.test(name)),
  );
}
