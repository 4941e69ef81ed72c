import test from "ava";
import { toBoundedJson } from "../src/bounded-json.ts";

const values: Array<[what: string, value: unknown]> = [
  ["null", null],
  ["numbers and words", { a: [1, 22, true, null], b: -1.5 }],
  ["empty lists and objects", [[], {}, "", [[]]]],
  ["texts", { text: "abc", list: ["d", "é", "\u{1f511}", "\u0001", '"', "\ud800"] }],
  ["what is left out", { a: undefined, b: 1 }],
  ["one text many times", Array.from({ length: 100 }, () => "x".repeat(1_000))],
];
for (const [what, value] of values) {
  test(`${what}: the JSON where it has as many bytes as it may, and nothing where it has one more`, (t) => {
    const json = JSON.stringify(value);
    const bytes = Buffer.byteLength(json);
    t.is(toBoundedJson(value, bytes)?.toString(), json);
    t.is(toBoundedJson(value, bytes - 1), undefined);
  });
}

test("what is longer than a text can be is refused", (t) => {
  const text = "x".repeat(10_000_000);
  t.is(
    toBoundedJson(
      Array.from({ length: 100_000 }, () => text),
      1_000,
    ),
    undefined,
  );
});

test("what is nested more deeply than can be written is refused", (t) => {
  const deep = Array.from({ length: 1_000_000 }).reduce((inner) => [inner], 1);
  t.is(toBoundedJson(deep, 10_000_000), undefined);
});
