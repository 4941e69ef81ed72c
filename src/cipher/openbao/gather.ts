import { type BatchItem, type BatchResult, MOST_ITEMS, sizeOf } from "./batch.ts";

/** What somebody has asked for, and waits for. */
interface Asked {
  readonly items: readonly BatchItem[];
  /** In characters. */
  readonly size: number;
  answer(results: BatchResult[]): void;
  fail(error: unknown): void;
}

type Send = (items: readonly BatchItem[]) => Promise<BatchResult[]>;

// What is larger takes long, and nobody should wait for somebody else's.
const MOST_TOGETHER = 256 * 1024;

/**
 * Sends batches, so many at once. What comes meanwhile waits for one of them to be over, and goes together in one call,
 * which costs less than many; large batches go alone, and at once. Each gets the answers to its own items, in order. The
 * error of a call is also that of those who wait, for they would be told the same, and later.
 */
export function createGatherer(send: Send, mostAtOnce: number): Send {
  const waiting: Asked[] = [];
  let underWay = 0;

  async function go(): Promise<void> {
    if (underWay === mostAtOnce || waiting.length === 0) return;
    const together = takeTogether(waiting);
    underWay += 1;
    try {
      const results = await send(together.flatMap(({ items }) => items));
      let start = 0;
      for (const { items, answer } of together) {
        answer(results.slice(start, start + items.length));
        start += items.length;
      }
    } catch (error) {
      for (const { fail } of [...together, ...waiting.splice(0)]) fail(error);
    }
    underWay -= 1;
    void go();
  }

  return (items) => {
    const size = items.reduce((sum, item) => sum + sizeOf(item), 0);
    if (size > MOST_TOGETHER) return send(items);
    return new Promise((answer, fail) => {
      waiting.push({ items, size, answer, fail });
      void go();
    });
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
