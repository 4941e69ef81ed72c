import { KeyrowError } from "../errors.ts";
import type { Bound, Cipher, Patience, Plain, Sealed } from "./cipher.ts";

/** What `key_id` says of rows that came from elsewhere: no key of a ring is ever called this. */
export const LEGACY_KEY_ID = "legacy";

/** What seals while the first cipher of a ring is away. */
export interface Fallback {
  readonly cipher: Cipher;
  /** Told how many values it has sealed. */
  readonly onUsed: (values: number) => void;
}

/** What a ring may have besides its ciphers. */
export interface KeyringOptions {
  readonly fallback?: Fallback | undefined;
  /** Called where no cipher knows a key of a value that is to be opened: it may add ciphers to the ring. */
  readonly onUnknown?: ((keyIds: readonly string[]) => Promise<void>) | undefined;
}

/**
 * One cipher over several: the first seals, or the fallback while that one is away, and what was sealed is opened by
 * the one that knows its `keyId`, never by trying; throws KEY_MISSING where there is none.
 */
export function createKeyring(ciphers: readonly Cipher[], { fallback, onUnknown }: KeyringOptions = {}): Cipher {
  const [first] = ciphers;
  if (!first) throw new KeyrowError("KEY_MISSING", { message: "The key ring is empty." });
  // Legacy is refused here, whatever a cipher claims: setting a row's `key_id` back must not take its binding away.
  const holder = (keyId: string) =>
    keyId === LEGACY_KEY_ID ? undefined : ciphers.find((cipher) => cipher.state(keyId) !== "missing");
  return {
    seal: (items, patience) =>
      fallback ? sealOrFallBack(first, fallback, items, patience) : first.seal(items, patience),
    async open(items, patience) {
      const keyIds = new Set(items.map(({ keyId }) => keyId));
      const unknown = [...keyIds].filter((keyId) => holder(keyId) === undefined);
      if (unknown.length > 0) await onUnknown?.(unknown);
      const holders = new Map([...keyIds].map((keyId) => [keyId, holder(keyId)]));
      return openByHolder(items, holders, patience);
    },
    state: (keyId) => holder(keyId)?.state(keyId) ?? "missing",
    current: () => first.current(),
    check: async () => {
      await Promise.all(ciphers.map((cipher) => cipher.check()));
    },
  };
}

/** What was refused for another reason than absence would be refused by the fallback as well. */
async function sealOrFallBack(
  first: Cipher,
  fallback: Fallback,
  items: readonly Plain[],
  patience: Patience | undefined,
): Promise<Sealed[]> {
  try {
    return await first.seal(items, patience);
  } catch (error) {
    if (!(error instanceof KeyrowError && error.code === "CIPHER_UNAVAILABLE")) throw error;
    const sealed = await fallback.cipher.seal(items);
    fallback.onUsed(items.length);
    return sealed;
  }
}

/** Opens the items of each cipher in one batch, all batches at once, and puts the answers back in order. */
async function openByHolder(
  items: readonly Bound[],
  holders: ReadonlyMap<string, Cipher | undefined>,
  patience: Patience | undefined,
): Promise<Array<string | KeyrowError>> {
  const batches = new Map<Cipher, number[]>();
  for (const [position, { keyId }] of items.entries()) {
    const cipher = holders.get(keyId);
    if (!cipher) continue;
    const batch = batches.get(cipher);
    if (batch) batch.push(position);
    else batches.set(cipher, [position]);
  }

  const opened: Array<string | KeyrowError | undefined> = new Array(items.length);
  await Promise.all(
    Array.from(batches, async ([cipher, positions]) => {
      const answers = await cipher.open(
        positions.map((position) => items[position] as Bound),
        patience,
      );
      for (const [index, position] of positions.entries()) opened[position] = answers[index];
    }),
  );
  // What nobody holds or answered; `??` and not `||`, for the empty string is a value.
  return Array.from(opened, (answer) => answer ?? new KeyrowError("CANNOT_OPEN"));
}
