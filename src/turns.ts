import { KeyrowError } from "./errors.ts";

interface Line {
  running: number;
  readonly waiting: Set<() => void>;
}

/** How many requests run and wait at once. */
export interface TurnLimits {
  /** Of one user, at once. */
  readonly running: number;
  /** Of one user, for their turn. */
  readonly waiting: number;
  /** Of all users, running or waiting; one user has half of them at most. */
  readonly total: number;
  /** How long one waits for its turn. */
  readonly waitMs: number;
}

/** Gives turns; each must be given back. */
export type Turns = ReturnType<typeof createTurns>;

/**
 * Lets each user run so many requests at once, and so many more wait for their turn, so that nobody takes every
 * connection of the database, nor every place of the server. Throws UNAVAILABLE where all users together have too many,
 * and LIMIT_EXCEEDED where one has, or where the turn does not come.
 */
export function createTurns(limits: TurnLimits): { take(user: string): Promise<() => void> } {
  const lines = new Map<string, Line>();
  let total = 0;
  // One, where there is one alone.
  const most = Math.min(limits.running + limits.waiting, Math.max(1, Math.floor(limits.total / 2)));

  function giveBack(user: string, line: Line): void {
    total -= 1;
    const [next] = line.waiting;
    // The turn goes on to who waits.
    if (next !== undefined) {
      line.waiting.delete(next);
      next();
    } else line.running -= 1;
    if (line.running === 0) lines.delete(user);
  }

  function wait(line: Line): Promise<void> {
    return new Promise((resolve, reject) => {
      const mine = () => {
        clearTimeout(deadline);
        resolve();
      };
      const deadline = setTimeout(() => {
        line.waiting.delete(mine);
        total -= 1;
        reject(tooMany("The request waited too long for the others of its user."));
      }, limits.waitMs);
      line.waiting.add(mine);
    });
  }

  return {
    async take(user) {
      const line = lines.get(user) ?? { running: 0, waiting: new Set() };
      if (total >= limits.total) {
        throw new KeyrowError("UNAVAILABLE", {
          message: "The server has as many requests under way as it takes. Try again later.",
        });
      }
      if (line.running + line.waiting.size >= most) {
        throw tooMany(`A user may have ${most} ${most === 1 ? "request" : "requests"} under way at once.`);
      }
      lines.set(user, line);
      total += 1;
      if (line.running < limits.running) line.running += 1;
      else await wait(line);
      let given = false;
      return () => {
        if (!given) giveBack(user, line);
        given = true;
      };
    },
  };
}

function tooMany(message: string): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", { message, hint: "wait for answers before you ask for more" });
}
