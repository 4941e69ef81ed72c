import type { TransitKey } from "./access.ts";
import { type BatchItem, type BatchResult, readResults, sizeOfAll, split } from "./batch.ts";
import { MOST_BYTES, type OpenBaoClient } from "./client.ts";
import { OpenBaoFault } from "./fault.ts";
import { createGatherer } from "./gather.ts";
import type { TokenKeeper } from "./token.ts";
import { type Versions, versionsOf } from "./versions.ts";

/** What Transit does with a key. */
export type Operation = "encrypt" | "decrypt" | "rewrap";

/** One call to Transit, for metrics. */
export interface TransitCall {
  readonly operation: Operation;
  readonly outcome: "ok" | OpenBaoFault["kind"];
  readonly items: number;
  readonly ms: number;
}

/** What it takes to use a key. */
export interface TransitKeyParts {
  readonly client: OpenBaoClient;
  readonly tokens: TokenKeeper;
  readonly place: TransitKey;
  readonly onCall?: ((call: TransitCall) => void) | undefined;
}

/** A Transit key as OpenBao has it; every call throws an OpenBaoFault where it comes to nothing. */
export interface UsableKey {
  /**
   * Items through an operation, in as few calls as OpenBao takes, under load together with somebody else's; answers per
   * item, in order.
   */
  run(operation: Operation, items: readonly BatchItem[]): Promise<BatchResult[]>;
  /** The key's versions, as OpenBao told them when asked at this moment (of performance.now) or later. */
  versions(notBefore: number): Promise<Versions>;
  /** The versions as they were last told; undefined where they never were. */
  readonly known: Versions | undefined;
}

/** How fast large batches are at the least: so much longer may a call with them take. */
export const BYTES_PER_MS = 20_000;

// Calls of an operation: OpenBao works on each with one processor, and what comes under load should go together.
const MOST_AT_ONCE = 4;

/** Makes the calls about one key, with a token that is kept alive. */
export function createUsableKey({ client, tokens, place, onCall }: TransitKeyParts): UsableKey {
  let known: { readonly versions: Versions; readonly since: number } | undefined;
  let asking: { readonly answer: Promise<Versions>; readonly since: number } | undefined;
  let next: Promise<Versions> | undefined;

  async function call(method: "GET" | "POST", what: string, body?: object, bytes = 0): Promise<unknown> {
    const token = await tokens.token();
    try {
      const { data } = await client.call({
        method,
        path: `${place.mount}/${what}/${place.key}`,
        token,
        more: Math.ceil(bytes / BYTES_PER_MS),
        // Sealed, in base64 and in JSON, a value is no longer than twice what was sent.
        bytes: MOST_BYTES + 2 * bytes,
        // Where every item of a batch failed, it is 400 all the same.
        accept: what === "decrypt" ? [400] : [],
        ...(body && { body }),
      });
      return data;
    } catch (error) {
      if (error instanceof OpenBaoFault && error.status === 403) tokens.lost(token);
      throw error;
    }
  }

  function ask(): Promise<Versions> {
    const since = performance.now();
    const answer = versionsOf(place, () => call("GET", "keys"))
      .then((versions) => {
        known = { versions, since };
        return versions;
      })
      .finally(() => {
        asking = undefined;
      });
    asking = { answer, since };
    return answer;
  }

  async function batch(operation: Operation, items: readonly BatchItem[]): Promise<BatchResult[]> {
    const bytes = sizeOfAll(items);
    const started = performance.now();
    const told = (outcome: TransitCall["outcome"]) =>
      onCall?.({ operation, outcome, items: items.length, ms: performance.now() - started });
    try {
      const body = { batch_input: items, partial_failure_response_code: 200 };
      const results = readResults(await call("POST", operation, body, bytes), items.length);
      told("ok");
      return results;
    } catch (error) {
      if (error instanceof OpenBaoFault) told(error.kind);
      throw error;
    }
  }

  const gathered = (operation: Operation) => createGatherer((items) => batch(operation, items), MOST_AT_ONCE);
  const send = { encrypt: gathered("encrypt"), decrypt: gathered("decrypt"), rewrap: gathered("rewrap") };

  return {
    async run(operation, items) {
      const results = await Promise.all(split(items).map(send[operation]));
      return results.flat();
    },
    versions(notBefore) {
      if (known !== undefined && known.since >= notBefore) return Promise.resolve(known.versions);
      if (asking === undefined) return ask();
      if (asking.since >= notBefore) return asking.answer;
      // One behind it, for all who came too late for it.
      next ??= asking.answer
        .catch(() => undefined)
        .then(() => {
          next = undefined;
          return ask();
        });
      return next;
    },
    get known() {
      return known?.versions;
    },
  };
}
