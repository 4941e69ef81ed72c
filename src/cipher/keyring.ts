import { KeyrowError } from "../errors.ts";
import type { Bound, Cipher } from "./cipher.ts";

/** What `key_id` says of rows that came from elsewhere: no key of a ring is ever called this. */
export const LEGACY_KEY_ID = "legacy";

/**
 * One cipher over several, newest first: the first seals, and what it sealed is opened by the one that holds its
 * `keyId`, never by trying; throws KEY_MISSING where there is none.
 */
export function createKeyring(ciphers: readonly Cipher[]): Cipher {
  const [newest] = ciphers;
  if (!newest) throw new KeyrowError("KEY_MISSING", { message: "The key ring is empty." });
  // Legacy is refused here, whatever a cipher claims: setting a row's `key_id` back must not take its binding away.
  const holder = (keyId: string) =>
    keyId === LEGACY_KEY_ID ? undefined : ciphers.find((cipher) => cipher.holds(keyId));
  return {
    seal: (items) => newest.seal(items),
    open: (items) => openByHolder(items, holder),
    holds: (keyId) => holder(keyId) !== undefined,
    check: async () => {
      await Promise.all(ciphers.map((cipher) => cipher.check()));
    },
  };
}

/** Opens the items of each cipher in one batch, all batches at once, and puts the answers back in order. */
async function openByHolder(
  items: readonly Bound[],
  holder: (keyId: string) => Cipher | undefined,
): Promise<Array<string | KeyrowError>> {
  const batches = new Map<Cipher, number[]>();
  for (const [position, { keyId }] of items.entries()) {
    const cipher = holder(keyId);
    if (!cipher) continue;
    const batch = batches.get(cipher);
    if (batch) batch.push(position);
    else batches.set(cipher, [position]);
  }

  const opened: Array<string | KeyrowError | undefined> = new Array(items.length);
  await Promise.all(
    Array.from(batches, async ([cipher, positions]) => {
      const answers = await cipher.open(positions.map((position) => items[position] as Bound));
      for (const [index, position] of positions.entries()) opened[position] = answers[index];
    }),
  );
  // What nobody holds or answered; `??` and not `||`, for the empty string is a value.
  return Array.from(opened, (answer) => answer ?? new KeyrowError("CANNOT_OPEN"));
}
