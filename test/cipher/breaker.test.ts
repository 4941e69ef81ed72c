import test, { type ExecutionContext } from "ava";
import { type BreakerState, createBreaker } from "../../src/cipher/breaker.ts";

/** A breaker whose probes succeed as often as told, in turn; resolves once it is closed again. */
function stage(t: ExecutionContext, outcomes: boolean[]) {
  // Probes keep no process alive.
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(() => clearInterval(alive));
  const changes: Array<[BreakerState, unknown]> = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const breaker = createBreaker({
    async probe() {
      if (outcomes.shift() !== true) throw new Error("away");
    },
    onChange(state, reason) {
      changes.push([state, reason instanceof Error ? reason.message : reason]);
      if (state === "closed") resolve();
    },
  });
  return { breaker, changes, closed: promise };
}

test("it is closed at first", (t) => {
  const { breaker, changes } = stage(t, []);
  t.is(breaker.state, "closed");
  t.deepEqual(changes, []);
  breaker.close();
});

test("tripped, it is open until a probe succeeds, and probes go on by themselves", async (t) => {
  const { breaker, changes, closed } = stage(t, [false, false, true]);
  breaker.trip("a reason");
  t.is(breaker.state, "open");
  // Another failure of the same moment changes nothing.
  breaker.trip("another");
  await closed;
  t.is(breaker.state, "closed");
  t.deepEqual(changes, [
    ["open", "a reason"],
    ["half-open", undefined],
    ["open", "away"],
    ["half-open", undefined],
    ["open", "away"],
    ["half-open", undefined],
    ["closed", undefined],
  ]);
  breaker.close();
});

test("it can be tripped again", async (t) => {
  const { breaker, closed, changes } = stage(t, [true, true]);
  breaker.trip("first");
  await closed;
  breaker.trip("second");
  t.is(breaker.state, "open");
  t.deepEqual(changes.at(-1), ["open", "second"]);
  breaker.close();
});
