import test from "ava";
import type { BatchItem, BatchResult } from "../../src/cipher/openbao/batch.ts";
import { createGatherer } from "../../src/cipher/openbao/gather.ts";

/** A call that is under way, and how to end it. */
interface Call {
  readonly items: readonly BatchItem[];
  answer(): void;
  fail(error: Error): void;
}

/** A gatherer whose calls end when the test says so; what is opened is named as what was sealed. */
function gather(mostAtOnce: number) {
  const calls: Call[] = [];
  const send = createGatherer((items) => {
    const { promise, resolve, reject } = Promise.withResolvers<BatchResult[]>();
    const answer = () => resolve(items.map(({ ciphertext = "" }) => ({ plaintext: `open ${ciphertext}` })));
    calls.push({ items, answer, fail: reject });
    return promise;
  }, mostAtOnce);
  return { calls, ask: (...names: string[]) => send(names.map((ciphertext) => ({ ciphertext }))) };
}

const opened = (...names: string[]) => names.map((name) => ({ plaintext: `open ${name}` }));
const namesOf = ({ items }: Call) => items.map(({ ciphertext }) => ciphertext);
const many = (count: number, prefix = "n") => Array.from({ length: count }, (_, index) => `${prefix}${index}`);

test("calls go at once, up to so many; what comes meanwhile goes together, and each gets its own answers", async (t) => {
  const { calls, ask } = gather(2);
  const first = [ask("a"), ask("b", "c")];
  t.deepEqual(calls.map(namesOf), [["a"], ["b", "c"]]);
  const later = [ask("d", "e"), ask("f"), ask("g")];
  t.is(calls.length, 2);
  calls[1]?.answer();
  t.deepEqual(await first[1], opened("b", "c"));
  t.deepEqual(calls.slice(2).map(namesOf), [["d", "e", "f", "g"]]);
  calls[2]?.answer();
  t.deepEqual(await Promise.all(later), [opened("d", "e"), opened("f"), opened("g")]);
  calls[0]?.answer();
  t.deepEqual(await first[0], opened("a"));
  void ask("h");
  t.deepEqual(calls.slice(3).map(namesOf), [["h"]], "a place that was given back is taken again");
});

test("two hundred items go together, and no more", async (t) => {
  const { calls, ask } = gather(1);
  const first = ask("a");
  const asked = [ask(...many(199)), ask("b"), ask("c"), ask(...many(200)), ask("d")];
  for (let next = 0; next < 5; next++) {
    calls[next]?.answer();
    // The next call is made when the one before was answered, and those who asked know of it.
    await (next === 0 ? first : asked[[0, 2, 3, 4][next - 1] as number]);
  }
  t.deepEqual(
    calls.map(({ items }) => items.length),
    [1, 200, 1, 200, 1],
  );
  t.deepEqual(await Promise.all(asked.slice(1, 3)), [opened("b"), opened("c")]);
});

test("a quarter of a MiB goes together, and no more", async (t) => {
  const { calls, ask } = gather(1);
  const [half, rest] = ["h".repeat(128 * 1024), "r".repeat(128 * 1024 - 1)];
  const first = ask("a");
  const asked = [ask(half), ask(rest), ask("b"), ask("c")];
  calls[0]?.answer();
  await first;
  t.deepEqual(calls.slice(1).map(namesOf), [[half, rest, "b"]]);
  calls[1]?.answer();
  await asked[0];
  calls[2]?.answer();
  t.deepEqual(await Promise.all(asked.slice(2)), [opened("b"), opened("c")]);
});

test("what is larger goes alone, two at once, and small ones don't wait for it", async (t) => {
  const { calls, ask } = gather(1);
  const large = (name: string) => name.repeat(256 * 1024 + 1);
  const asked = ["x", "y", "z"].map((name) => ask(large(name)));
  const small = ask("a");
  t.deepEqual(calls.map(namesOf), [[large("x")], [large("y")], ["a"]]);
  calls[2]?.answer();
  t.deepEqual(await small, opened("a"));
  t.is(calls.length, 3);
  calls[1]?.answer();
  t.deepEqual(await asked[1], opened(large("y")));
  t.deepEqual(calls.slice(3).map(namesOf), [[large("z")]]);
  for (const call of calls) call.answer();
  t.is((await Promise.all(asked)).length, 3);
});

test("the error of a call is that of all in it, and of nobody else", async (t) => {
  const { calls, ask } = gather(1);
  const first = ask("a");
  const together = [ask("b"), ask("c")];
  calls[0]?.fail(new Error("away"));
  await t.throwsAsync(first, { message: "away" });
  calls[1]?.fail(new Error("gone"));
  const later = ask("d");
  for (const one of together) await t.throwsAsync(one, { message: "gone" });
  t.deepEqual(calls.map(namesOf), [["a"], ["b", "c"], ["d"]]);
  calls[2]?.answer();
  t.deepEqual(await later, opened("d"));
});
