import type { Readable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";

// A busy machine is slow, and only what never comes about costs so much.
const MOST_MS = 60_000;
const PAUSE_MS = 10;

/**
 * Waits until `find` gives something, and gives that; what it throws is nothing yet. Throws where it has found nothing after a
 * minute: `what` was waited for.
 */
export async function until<T>(
  find: () => T | Promise<T>,
  what: () => string = () => String(find),
): Promise<NonNullable<Exclude<T, false>>> {
  let cause: unknown;
  for (const deadline = Date.now() + MOST_MS; Date.now() < deadline; await delay(PAUSE_MS)) {
    try {
      const found = await find();
      if (found !== undefined && found !== null && found !== false) return found as NonNullable<Exclude<T, false>>;
    } catch (error) {
      cause = error;
    }
  }
  throw new Error(`waited too long for ${what()}`, { cause });
}

/** The address that a process serves at, as it says on standard error once it listens. */
export function addressOf({ stderr }: { readonly stderr: Readable | null | undefined }): Promise<string> {
  let log = "";
  stderr?.on("data", (chunk) => {
    log += chunk;
  });
  return addressIn(() => log);
}

/** The address that a server says in its log once it listens. */
export async function addressIn(log: () => string): Promise<string> {
  const line = await until(
    () =>
      log()
        .split("\n")
        .find((one) => one.includes('"msg":"ready"')),
    () => `a server that says: ${log()}`,
  );
  return `http://127.0.0.1:${JSON.parse(line).port}`;
}
