import { KeyrowError } from "./errors.ts";

/** Gives shares; each must be given back. */
export type Shares = ReturnType<typeof createShares>;

/**
 * Lets each user hold so many of something at once. Who asks for more waits for so many ms, first come, first served, and
 * then throws LIMIT_EXCEEDED. Who holds one must never wait for another.
 */
export function createShares(most: number): { take(user: string, waitMs: number): Promise<() => void> } {
  const lines = new Map<string, { held: number; readonly waiting: Set<() => void> }>();

  function wait(waiting: Set<() => void>, ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const mine = () => {
        clearTimeout(deadline);
        waiting.delete(mine);
        resolve();
      };
      const deadline = setTimeout(() => {
        waiting.delete(mine);
        reject(tookTooLong());
      }, ms);
      waiting.add(mine);
    });
  }

  return {
    async take(user, waitMs) {
      const line = lines.get(user) ?? { held: 0, waiting: new Set() };
      lines.set(user, line);
      if (line.held === most) await wait(line.waiting, waitMs);
      else line.held += 1;
      return () => {
        const [next] = line.waiting;
        // The share goes on to who waits.
        if (next !== undefined) return next();
        line.held -= 1;
        if (line.held === 0) lines.delete(user);
      };
    },
  };
}

/** What a request is told whose time is over. */
export function tookTooLong(): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", { message: "The request took too long." });
}
