import { setImmediate as turn } from "node:timers/promises";
import test from "ava";
import { KeyrowError } from "../src/errors.ts";
import { createShares } from "../src/shares.ts";

test("a user holds so many at once, and the next comes in its order when one is given back; others are not held up", async (t) => {
  const shares = createShares(2);
  const [first, second] = [await shares.take("ana", 60_000), await shares.take("ana", 60_000)];
  const came: string[] = [];
  const [third, fourth] = ["third", "fourth"].map(async (name) => {
    const giveBack = await shares.take("ana", 60_000);
    came.push(name);
    return giveBack;
  });
  const [bo, cleo] = [await shares.take("bo", 60_000), await shares.take("bo", 60_000)];
  await turn();
  t.deepEqual(came, []);
  first?.();
  await turn();
  t.deepEqual(came, ["third"]);
  second?.();
  await turn();
  t.deepEqual(came, ["third", "fourth"]);
  for (const giveBack of [await third, await fourth, bo, cleo]) giveBack?.();
  await t.notThrowsAsync(Promise.all([shares.take("ana", 60_000), shares.take("ana", 60_000)]));
});

test("who waits too long is refused, and leaves the line", async (t) => {
  const shares = createShares(1);
  const giveBack = await shares.take("ana", 60_000);
  const error = await t.throwsAsync(shares.take("ana", 1), { instanceOf: KeyrowError });
  t.is(error.code, "LIMIT_EXCEEDED");
  const next = shares.take("ana", 60_000);
  giveBack();
  (await next)();
  await t.notThrowsAsync(shares.take("ana", 1));
});
