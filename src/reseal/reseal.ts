import type { Place } from "../../plugins/encrypted-columns/seal.ts";
import { contextOf } from "../../plugins/encrypted-columns/tag.ts";
import type { Bound, Cipher, Sealed } from "../cipher/cipher.ts";
import type { Context } from "../cipher/context.ts";
import { inParts } from "../cipher/parts.ts";
import type { Transit } from "../cipher/transit.ts";
import { KeyrowError } from "../errors.ts";
import type { Row } from "./rows.ts";

/** Opens what rows hold now: the ring, or for once a legacy key. */
export type Opener = Pick<Cipher, "open" | "state">;

/** Where values are to go. */
export interface Target {
  readonly cipher: Cipher;
  /** Set where that is Transit: what it has sealed itself, it brings under its newest key without giving it away. */
  readonly transit: Transit | undefined;
}

/** A row's value sealed anew, or why it could not be opened. */
export type Resealed = Sealed | KeyrowError;

/** What a row's value is bound to. */
export function boundOf({ tag, table, column }: Place, row: Row): Bound {
  const columns = { scope: row.scope, user_id: row.user_id, workspace_id: row.workspace_id };
  return {
    context: contextOf(tag, { table, column, id: row.id }, columns),
    encrypted: row.encrypted_value,
    keyId: row.key_id,
  };
}

// OpenBao has about a second for a call: with so little in it, it is in time also on a machine that has much else to do.
const MOST_CHARACTERS = 1024 * 1024;

/**
 * Seals the values of rows anew under the target, in order. Each new form was opened again and compared before it is
 * given. Throws CIPHER_UNAVAILABLE where the target, or whoever opens them, is away: then nothing is known of any row.
 */
export async function reseal(items: readonly Bound[], opener: Opener, target: Target): Promise<Resealed[]> {
  const resealed: Resealed[] = [];
  const parts = inParts(items, ({ encrypted }) => encrypted.length, { size: MOST_CHARACTERS });
  for (const part of parts) resealed.push(...(await resealPart(part, opener, target)));
  return resealed;
}

async function resealPart(items: readonly Bound[], opener: Opener, target: Target): Promise<Resealed[]> {
  const results = new Array<Resealed>(items.length);
  const fill = (positions: readonly number[], resealed: readonly Resealed[]) => {
    for (const [index, position] of positions.entries()) results[position] = resealed[index] as Resealed;
  };
  const { transit } = target;
  const isTargets = ({ keyId }: Bound) => transit !== undefined && transit.state(keyId) !== "missing";
  const positions = (own: boolean) => [...items.keys()].filter((index) => isTargets(items[index] as Bound) === own);
  const [inside, across] = [positions(true), positions(false)];
  const pick = (chosen: readonly number[]) => chosen.map((index) => items[index] as Bound);
  if (transit !== undefined) fill(inside, await transit.rewrap(pick(inside)));
  fill(across, await carry(pick(across), opener, target.cipher));
  const away = results.find((one) => one instanceof KeyrowError && one.code === "CIPHER_UNAVAILABLE");
  if (away !== undefined) throw away;
  return results;
}

/** Opens, seals, and opens again: what does not come back as it was is not moved. */
async function carry(items: readonly Bound[], opener: Opener, cipher: Cipher): Promise<Resealed[]> {
  const values = await opener.open(items);
  const opened = items.flatMap(({ context }, index) => {
    const value = values[index];
    return typeof value === "string" ? [{ context, value }] : [];
  });
  const sealed = await cipher.seal(opened);
  const again = await cipher.open(
    sealed.map((one, index) => ({ ...one, context: (opened[index] as { context: Context }).context })),
  );
  let next = 0;
  return values.map((value) => {
    if (value instanceof KeyrowError) return value;
    const index = next++;
    const proof = again[index];
    if (proof === value) return sealed[index] as Sealed;
    return proof instanceof KeyrowError ? proof : new KeyrowError("CANNOT_OPEN");
  });
}
