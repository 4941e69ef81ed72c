import { KeyrowError } from "./errors.ts";
import { perUser } from "./limits.ts";

interface Line {
  running: number;
  readonly waiting: Array<() => void>;
}

/**
 * Lets each user run so many requests at once, and so many more wait for their turn, so that nobody takes every
 * connection of the database. Throws LIMIT_EXCEEDED beyond that; a turn must be given back.
 */
export function createTurns(limits: { readonly running: number; readonly waiting: number } = perUser): {
  take(user: string): Promise<() => void>;
} {
  const lines = new Map<string, Line>();

  function giveBack(user: string, line: Line): void {
    const next = line.waiting.shift();
    // The turn goes on to who waits.
    if (next !== undefined) next();
    else line.running -= 1;
    if (line.running === 0) lines.delete(user);
  }

  return {
    async take(user) {
      const line = lines.get(user) ?? { running: 0, waiting: [] };
      lines.set(user, line);
      if (line.running < limits.running) line.running += 1;
      else if (line.waiting.length >= limits.waiting) {
        throw new KeyrowError("LIMIT_EXCEEDED", {
          message: `A user may have ${limits.running + limits.waiting} requests under way at once.`,
          hint: "wait for answers before you ask for more",
        });
      } else await new Promise<void>((resolve) => line.waiting.push(resolve));
      let given = false;
      return () => {
        if (!given) giveBack(user, line);
        given = true;
      };
    },
  };
}
