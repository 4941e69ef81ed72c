import { randomInt } from "node:crypto";
import test from "ava";
import { maskValue } from "../src/mask.ts";

const masks: Array<[title: string, value: string, mask: string]> = [
  ["the empty string shows nothing", "", "*****"],
  ["a short value shows nothing", "hunter2", "*****"],
  ["fifteen characters show nothing", "abcdefghijklmno", "*****"],
  ["sixteen characters show the last four", "abcdefghijklmnop", "*****mnop"],
  ["however long, it shows the last four", `${"x".repeat(65532)}wxyz`, "*****wxyz"],
  ["a GitHub token keeps its prefix", `ghp_${"a1B2".repeat(9)}`, "ghp_*****a1B2"],
  ["a fine-grained GitHub token as well", `github_pat_${"y".repeat(82)}`, "github_pat_*****yyyy"],
  ["the longest known prefix counts", `sk-proj-${"z".repeat(48)}`, "sk-proj-*****zzzz"],
  ["a shorter known prefix takes the place of one that is too long", `sk-proj-${"z".repeat(8)}`, "sk-*****z"],
  ["the tail gives way to the prefix", "AKIAIOSFODNN7EXAMPLE", "AKIA*****E"],
  ["a prefix that fills the quarter leaves no tail", "ghp_abcdefghijkl", "ghp_*****"],
  ["a prefix in a short value is not shown", "ghp_abcdefghijk", "*****"],
  ["a prefix elsewhere is none", `x-ghp_${"a".repeat(40)}`, "*****aaaa"],
  ["a prefix in capitals is none", `GHP_${"a".repeat(40)}`, "*****aaaa"],
  ["a JWT keeps its first three letters", `eyJ${"hbGci".repeat(20)}`, "eyJ*****bGci"],
  ["a tail with NUL is not shown", `${"a".repeat(40)}bc\u0000d`, "*****"],
  ["a tail with a line end is not shown", `ghp_${"a".repeat(40)}\n`, "ghp_*****"],
  ["a tail with a space is not shown", `${"a".repeat(40)} bc`, "*****"],
  ["a tail with a no-break space is not shown", `${"a".repeat(40)}\u00a0bc`, "*****"],
  ["a tail that turns the writing direction is not shown", `${"a".repeat(40)}\u202eabc`, "*****"],
  ["a tail with a joiner is not shown", `${"a".repeat(40)}\u200dabc`, "*****"],
  ["a tail with an invisible letter is not shown", `${"a".repeat(40)}\u3164abc`, "*****"],
  ["a tail with a loose accent is not shown", `${"a".repeat(40)}e\u0301bc`, "*****"],
  ["a tail with half a surrogate pair is not shown", `${"a".repeat(40)}\ud83dabc`, "*****"],
  ["a NUL elsewhere changes nothing", `\u0000${"a".repeat(40)}`, "*****aaaa"],
  ["astral characters count as one and stay whole", "🔑".repeat(16), "*****🔑🔑🔑🔑"],
  ["fifteen astral characters show nothing, for all their thirty units", "🔑".repeat(15), "*****"],
  ["astral characters count towards a long prefix", `github_pat_${"🔑".repeat(49)}`, "github_pat_*****🔑🔑🔑🔑"],
  ["a pair at the tail's beginning is not cut", `${"a".repeat(40)}🔑🔑🔑b`, "*****🔑🔑🔑b"],
  ["a pair before the tail is not cut", `${"a".repeat(40)}🔑🔑bcd🔑`, "*****bcd🔑"],
];
for (const [title, value, mask] of masks) test(title, (t) => t.is(maskValue(value), mask));

const alphabet = [..."abcXYZ0189-_.*•é密🔑", "\u0000", "\n", " ", "\u0301", "\u200d", "\ud83d", "\udd11", "👩"];
const prefixes = ["", "", "ghp_", "github_pat_", "sk-", "sk-proj-", "xoxb-", "AKIA", "glpat-", "eyJ", "SG.", "dop_v1_"];

/** A value of random length that often begins with a known prefix; the lengths around each limit come up often. */
function randomValue(): string {
  const length = randomInt(10) === 0 ? randomInt(3000) : randomInt(80);
  const plain = randomInt(2) === 0;
  const character = () => alphabet[randomInt(plain ? 12 : alphabet.length)];
  return prefixes[randomInt(prefixes.length)] + Array.from({ length }, character).join("");
}

test("of any value it shows no more than a quarter, at its ends alone, in no more than 20 characters", (t) => {
  const wrong = [];
  for (let index = 0; index < 50_000; index++) {
    const value = randomValue();
    const mask = maskValue(value);
    const characters = Array.from(mask).length;
    // Some value's tail may hold asterisks of its own: any way of reading the mask that fits will do.
    const fits = Array.from(mask.matchAll(/(?=\*{5})/g)).some(({ index: at }) => {
      const [head, tail] = [mask.slice(0, at), mask.slice(at + 5)];
      const known = head === "" || prefixes.includes(head);
      return known && value.startsWith(head) && value.endsWith(tail) && Array.from(tail).length <= 4;
    });
    const quarter = characters - 5 <= Array.from(value).length / 4;
    if (!fits || !quarter || characters > 20 || !mask.isWellFormed() || /[\p{C}\p{Z}\p{M}]/u.test(mask)) {
      wrong.push({ value, mask });
    }
  }
  t.deepEqual(wrong, []);
});

test("the mask does not tell the length of a value", (t) => {
  const masks = Array.from({ length: 2000 }, (_, index) => maskValue(`${"a".repeat(index + 12)}wxyz`));
  t.deepEqual([...new Set(masks)], ["*****wxyz"]);
});
