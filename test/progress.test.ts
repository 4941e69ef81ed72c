import { PassThrough } from "node:stream";
import { stripVTControlCharacters } from "node:util";
import test from "ava";
import { createProgressBar } from "../src/cli/progress.ts";

/** What a terminal of so many columns is given for one state. */
function shown(columns: number | undefined, done: number, total: number): string {
  const stream = Object.assign(new PassThrough(), { isTTY: true, columns, hasColors: () => false });
  createProgressBar("rewrap", stream as unknown as NodeJS.WriteStream).update(done, total);
  return stripVTControlCharacters(String(stream.read())).replace("\r", "");
}

for (const columns of [20, 40, 60, 79, 80, 120, undefined, 0]) {
  test(`a progress bar stays on one line of a terminal with ${columns} columns`, (t) => {
    for (const done of [0, 1, 99_999, 100_000, 123_456]) {
      const line = shown(columns, done, 100_000);
      t.true(line.length < (columns || 80), line);
      t.true(line.startsWith("rewrap  "), line);
    }
  });
}

test("a progress bar is as wide as there is room, and the numbers go first", (t) => {
  t.regex(shown(120, 50_000, 100_000), /^rewrap {2}█{15}░{15} {2}50,000 of 100,000 rows, .* left$/);
  t.regex(shown(80, 50_000, 100_000), /^rewrap {2}█+░+ {2}50,000 of 100,000 rows, .* left$/);
  t.regex(shown(30, 50_000, 100_000), /^rewrap {2}50,000 of 100,000/);
});
