import { Readable } from "node:stream";
import test from "ava";
import { readTap } from "./helpers/tap.ts";

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
  ];
  const counts = await readTap(Readable.from(tap.map((line) => `${line}\n`)), (line) => shown.push(line));
  t.deepEqual(counts, { passed: 1, failed: 1, skipped: 2 });
  t.true(shown.includes("    message: why"));
  t.true(shown.includes("FAILED  cli: 1 passed, 1 failed, 2 skipped"));
});
