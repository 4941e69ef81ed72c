import { type BatchItem, type BatchResult, MOST_ITEMS, sizeOfAll } from "./batch.ts";

/** What somebody has asked for, and waits for. */
interface Asked {
  readonly items: readonly BatchItem[];
  /** In characters. */
  readonly size: number;
  answer(results: BatchResult[]): void;
  fail(error: unknown): void;
}

type Send = (items: readonly BatchItem[]) => Promise<BatchResult[]>;

/** How many characters go together at most: what is larger takes long, and nobody should wait for somebody else's. */
export const MOST_TOGETHER = 256 * 1024;
// Large batches at once: OpenBao should have time for small ones beside them.
const MOST_LARGE = 2;

/**
 * Sends batches, so many at once. What comes meanwhile waits for one of them to be over, and goes together in one call,
 * which costs less than many. Large batches go alone, and have a line of their own. Each gets the answers to its own
 * items, in order, or the error of its call.
 */
export function createGatherer(send: Send, mostAtOnce: number): Send {
  const small = createLine(send, mostAtOnce, takeTogether);
  const large = createLine(send, MOST_LARGE, (waiting) => waiting.splice(0, 1));
  return (items) => {
    const size = sizeOfAll(items);
    return new Promise((answer, fail) => (size > MOST_TOGETHER ? large : small)({ items, size, answer, fail }));
  };
}

/** A line of what waits for its call; `take` takes from it what goes into the next one. */
function createLine(send: Send, mostAtOnce: number, take: (waiting: Asked[]) => Asked[]): (asked: Asked) => void {
  const waiting: Asked[] = [];
  let underWay = 0;

  async function go(): Promise<void> {
    if (underWay === mostAtOnce || waiting.length === 0) return;
    const together = take(waiting);
    underWay += 1;
    try {
      const results = await send(together.flatMap(({ items }) => items));
      let start = 0;
      for (const { items, answer } of together) {
        answer(results.slice(start, start + items.length));
        start += items.length;
      }
    } catch (error) {
      for (const { fail } of together) fail(error);
    }
    underWay -= 1;
    void go();
  }

  return (asked) => {
    waiting.push(asked);
    void go();
  };
}

/** Takes the first off the line, and those behind it that fit into one call with it. */
function takeTogether(waiting: Asked[]): Asked[] {
  let [count, size] = [0, 0];
  const end = waiting.findIndex((asked) => {
    count += asked.items.length;
    size += asked.size;
    return count > MOST_ITEMS || size > MOST_TOGETHER;
  });
  return waiting.splice(0, end === -1 ? waiting.length : end);
}
