import test from "ava";
import { KeyrowError } from "../src/errors.ts";
import { createTurns } from "../src/turns.ts";

const limits = { running: 2, waiting: 1, total: 100, waitMs: 60_000 };

test("a user runs so many at once, so many more wait, and the next is refused; others are not held up", async (t) => {
  const turns = createTurns(limits);
  const [first] = [await turns.take("ana"), await turns.take("ana")];
  let third = false;
  const waiting = turns.take("ana").then((giveBack) => {
    third = true;
    return giveBack;
  });
  const error = await t.throwsAsync(turns.take("ana"), { instanceOf: KeyrowError });
  t.is(error.code, "LIMIT_EXCEEDED");
  await turns.take("bo");
  t.false(third);
  first?.();
  first?.();
  (await waiting)();
  t.true(third);
  await turns.take("ana");
});

test("all users together have so many under way, and the next is UNAVAILABLE until one is given back", async (t) => {
  const turns = createTurns({ ...limits, total: 2 });
  const giveBack = await turns.take("ana");
  await turns.take("bo");
  const own = await t.throwsAsync(turns.take("ana"), { instanceOf: KeyrowError });
  t.is(own.code, "UNAVAILABLE");
  const error = await t.throwsAsync(turns.take("cleo"), { instanceOf: KeyrowError });
  t.is(error.code, "UNAVAILABLE");
  giveBack();
  await t.notThrowsAsync(turns.take("cleo"));
});

const halves: Array<[total: number, most: number]> = [
  [1, 1],
  [2, 1],
  [3, 1],
  [5, 2],
  [6, 3],
  [1000, 3],
];
for (const [total, most] of halves) {
  test(`of ${total} requests at once one user has ${most} at most, and others the rest`, async (t) => {
    const turns = createTurns({ ...limits, running: 3, waiting: 0, total });
    for (let one = 0; one < most; one += 1) await turns.take("ana");
    const error = await t.throwsAsync(turns.take("ana"), { instanceOf: KeyrowError });
    t.is(error.code, total === 1 ? "UNAVAILABLE" : "LIMIT_EXCEEDED");
    for (let one = most; one < Math.min(total, 20); one += 1) await t.notThrowsAsync(turns.take(`user ${one}`));
  });
}

test("a turn that does not come in time is refused, and makes room for another", async (t) => {
  const turns = createTurns({ ...limits, running: 1, total: 4, waitMs: 1 });
  const giveBack = await turns.take("ana");
  const error = await t.throwsAsync(turns.take("ana"), { instanceOf: KeyrowError });
  t.is(error.code, "LIMIT_EXCEEDED");
  await t.notThrowsAsync(turns.take("bo"));
  giveBack();
  await t.notThrowsAsync(turns.take("ana"));
});
