import test from "ava";
import { createLoopTurns } from "../src/loop-turns.ts";

test("turns come in their order, each two rounds of the event loop after the one before", async (t) => {
  const loopTurn = createLoopTurns();
  let round = 0;
  const count = () => {
    round += 1;
    counting = setImmediate(count);
  };
  let counting = setImmediate(count);
  const order: number[] = [];
  const rounds: number[] = [];
  const work = [1, 2, 3, 4].map(async (number) => {
    await loopTurn();
    order.push(number);
    rounds.push(round);
  });
  await Promise.all(work);
  clearImmediate(counting);
  t.deepEqual(order, [1, 2, 3, 4]);
  for (const [i, at] of rounds.entries()) if (i > 0) t.is(at - (rounds[i - 1] as number), 2);
});
