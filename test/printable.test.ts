import test from "ava";
import { isPrintable, printable, printableJson } from "../src/printable.ts";

const steering: Record<string, string> = {
  "an escape": "\u001b",
  "a newline": "\n",
  "a DEL": "\u007f",
  "a CSI of C1": "\u009b",
  "a right-to-left override": "\u202e",
  "an isolate": "\u2066",
  "a zero-width space": "\u200b",
  "a byte order mark": "\ufeff",
  "a line separator": "\u2028",
  "a paragraph separator": "\u2029",
  "a tag beyond the basic plane": "\u{e0001}",
  "half a surrogate pair": "\ud83d",
};
for (const [title, character] of Object.entries(steering)) {
  test(`${title} is a ? for a terminal, and escaped in JSON that reads as before`, (t) => {
    const text = `a${character}b`;
    t.false(isPrintable(text));
    t.is(printable(text), "a?b");
    const json = printableJson([{ [text]: text }]);
    t.true(isPrintable(json), json);
    t.deepEqual(JSON.parse(json), [{ [text]: text }]);
  });
}

for (const text of ["", "a b", "naïve", "\u{1f511}", "名前", "\"\\'$`*/"]) {
  test(`${JSON.stringify(text)} is printed as it is`, (t) => {
    t.is(printable(text), text);
    t.is(printableJson({ text }), JSON.stringify({ text }));
  });
}
