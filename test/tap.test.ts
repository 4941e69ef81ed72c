import { Readable } from "node:stream";
import test from "ava";
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
  ];
  const counts = await readTap(Readable.from(tap.map((line) => `${line}\n`)), (line) => shown.push(line));
  t.deepEqual(counts, { passed: 1, failed: 1, skipped: 2 });
  t.true(shown.includes("    message: why"));
  t.true(shown.includes("FAILED  cli: 1 passed, 1 failed, 2 skipped"));
});

test("a run in which nothing ran is a failure, and one whose tests were all skipped is none", (t) => {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  t.is(faultOf(counts, 0), "No test ran.");
  t.is(faultOf({ ...counts, skipped: 2 }, 0), undefined);
  t.is(faultOf({ ...counts, passed: 1 }, 0), undefined);
  t.regex(faultOf({ ...counts, passed: 1 }, 1) ?? "", /ended with 1/);
  t.is(faultOf({ ...counts, failed: 1 }, 1), undefined, "the test tells");
});
