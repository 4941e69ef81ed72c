import test from "ava";
import { KeyrowError } from "../src/errors.ts";
import { createTurns } from "../src/turns.ts";

test("a user runs so many at once, so many more wait, and the next is refused; others are not held up", async (t) => {
  const turns = createTurns({ running: 2, waiting: 1 });
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
