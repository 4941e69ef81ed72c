import test from "ava";
import { parseJson, parseJsonBytes } from "../src/json.ts";

const read = [
  '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}',
  '{"a":"a","b":"\\"a\\":{"}',
  '["a","a"]',
  '{"":0}',
  '"a"',
  "[]",
];
for (const text of read) {
  test(`reads ${text} as JSON.parse does`, (t) => t.deepEqual(parseJson(text), JSON.parse(text)));
}

const refused: Array<[title: string, text: string]> = [
  ["a key twice", '{"a":1,"a":1}'],
  ["a key twice, once escaped", '{"a":1,"\\u0061":1}'],
  ["a key twice, deep down", '[{"x":{"a":[],"b":{},"a":0}}]'],
  ["a key twice behind braces in a string", '{"a":"}{\\\\","a":0}'],
  ["the empty key twice", '{"":0,"":0}'],
  ["__proto__ twice", '{"__proto__":0,"__proto__":0}'],
  ["what is no JSON", '{"hunter2'],
];
for (const [title, text] of refused) {
  test(`refuses ${title} without repeating it`, (t) => {
    const error = t.throws(() => parseJson(text), { instanceOf: SyntaxError });
    t.false(error?.message.includes("hunter2"));
  });
}

test("a depth of 100,000 and a string of a megabyte are no trouble", (t) => {
  t.notThrows(() => parseJson("[".repeat(100_000) + "]".repeat(100_000)));
  t.notThrows(() => parseJson(JSON.stringify({ a: '\\"'.repeat(500_000) })));
});

test("bytes must be UTF-8 without a byte order mark", (t) => {
  t.deepEqual(parseJsonBytes(Buffer.from('{"a":"😀"}')), { a: "😀" });
  for (const bytes of [
    Buffer.from('"\xff"', "latin1"),
    Buffer.from('\ufeff""'),
    Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]),
  ]) {
    t.throws(() => parseJsonBytes(bytes), { instanceOf: SyntaxError });
  }
});
