import { z } from "zod";
import type { OpenBaoLogin } from "./access.ts";
import type { OpenBaoClient } from "./client.ts";
import { OpenBaoFault } from "./fault.ts";

const auth = z.object({
  client_token: z.string().min(1),
  lease_duration: z.number().int().nonnegative(),
  renewable: z.boolean(),
});
// What never ends, as OpenBao's first token, has no word on renewing.
const lookup = z.object({ ttl: z.number().int().nonnegative(), renewable: z.boolean().default(false) });

/** The token that calls are made with. */
export interface TokenKeeper {
  /** The token; where an AppRole has none, it is fetched. Throws an OpenBaoFault. */
  token(): Promise<string>;
  /** Whoever was refused calls this: an AppRole's token is fetched anew at the next call. */
  lost(token: string): void;
  close(): void;
}

// Renewed when a third of its time is left; timers take no more than so many ms.
const MOST_WAIT_MS = 24 * 60 * 60_000;
const RETRY_MS = 5_000;

/** Keeps a token alive: renews it before it ends, and fetches another where it can and the old one is lost. */
export function createTokenKeeper(client: OpenBaoClient, login: OpenBaoLogin): TokenKeeper {
  let current: Promise<string> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function renewLater(token: string, seconds: number): void {
    clearTimeout(timer);
    // 0: it never ends.
    if (closed || seconds === 0) return;
    timer = setTimeout(() => void renew(token, seconds), Math.min((seconds * 1_000 * 2) / 3, MOST_WAIT_MS));
    timer.unref();
  }

  async function renew(token: string, before: number): Promise<void> {
    try {
      const answer = await client.call({ method: "POST", path: "auth/token/renew-self", token, body: {} });
      const { lease_duration: seconds, renewable } = read(auth, answer.auth);
      // At the end of its longest time it is given less and less: then an AppRole fetches another.
      if (renewable && (seconds >= before / 2 || "token" in login)) return renewLater(token, seconds);
    } catch (error) {
      const refused = error instanceof OpenBaoFault && error.kind === "status" && (error.status ?? 0) < 500;
      if (!refused && !closed) {
        timer = setTimeout(() => void renew(token, before), RETRY_MS);
        timer.unref();
        return;
      }
    }
    if ("roleId" in login) current = undefined;
  }

  async function fetch(): Promise<string> {
    if ("token" in login) {
      const { token } = login;
      const { ttl, renewable } = read(lookup, await lookUp(token));
      if (renewable) renewLater(token, ttl);
      return token;
    }
    const body = { role_id: login.roleId, secret_id: login.secretId };
    const answer = await client.call({ method: "POST", path: "auth/approle/login", body });
    const { client_token: token, lease_duration: seconds } = read(auth, answer.auth);
    renewLater(token, seconds);
    return token;
  }

  /** A policy need not allow it; the token is used as it is then. */
  async function lookUp(token: string): Promise<unknown> {
    const answer = await client.call({ method: "GET", path: "auth/token/lookup-self", token, accept: [403] });
    return answer.data ?? { ttl: 0, renewable: false };
  }

  return {
    token() {
      if (current !== undefined) return current;
      const fetched = fetch();
      current = fetched;
      fetched.catch(() => {
        if (current === fetched) current = undefined;
      });
      return fetched;
    },
    lost(token) {
      const known = current;
      void known?.then(
        (held) => {
          if (held === token && current === known) current = undefined;
        },
        () => undefined,
      );
    },
    close() {
      closed = true;
      clearTimeout(timer);
    },
  };
}

function read<T>(schema: z.ZodType<T>, data: unknown): T {
  const { success, data: known } = schema.safeParse(data);
  if (success) return known as T;
  throw new OpenBaoFault("garbage");
}
