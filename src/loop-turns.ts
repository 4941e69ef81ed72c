import { setImmediate } from "node:timers/promises";

/** Waits for a turn of the event loop; each must be followed by one piece of work, done at once. */
export type LoopTurn = () => Promise<void>;

/**
 * Gives turns of the event loop, first come, first served, so that between two pieces of work that each hold the process
 * everybody else is served who is there.
 */
export function createLoopTurns(): LoopTurn {
  let last = Promise.resolve();
  return () => {
    // In one round of the loop a new connection is taken, and in the next its request is read and answered.
    last = last.then(() => setImmediate()).then(() => setImmediate());
    return last;
  };
}
