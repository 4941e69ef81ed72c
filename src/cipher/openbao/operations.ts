import { KeyrowError } from "../../errors.ts";
import type { Bound, KeyState, Plain, Sealed } from "../cipher.ts";
import { type Context, encodeContext } from "../context.ts";
import { encodeValue } from "../local.ts";
import type { TransitKey } from "./access.ts";
import type { BatchItem, BatchResult } from "./batch.ts";
import { OpenBaoFault, type UnfitKind } from "./fault.ts";
import { checked, openedValue, parse, rewrapped } from "./stored.ts";
import type { UsableKey } from "./transit-key.ts";
import { type Versions, versionOf } from "./versions.ts";

/** Seals values in as few calls as OpenBao takes, each under the name of the version that did it. */
export async function seal(key: UsableKey, items: readonly Plain[]): Promise<Sealed[]> {
  const plain = items.map(({ value }) => encodeValue(value));
  const input = items.map(({ context }, index) => ({
    plaintext: (plain[index] as Buffer).toString("base64"),
    context: contextText(context),
  }));
  const results = await key.run("encrypt", input);
  return named(
    key,
    results.map(({ ciphertext }, index) => checked(ciphertext, plain[index] as Buffer)),
  );
}

/** Brings values under the newest version inside OpenBao, and sees that each opens there; answers per item. */
export async function rewrap(
  key: UsableKey,
  place: TransitKey,
  items: readonly Bound[],
): Promise<Array<Sealed | KeyrowError>> {
  const moved = await eachHeld(key, place, "rewrap", items, ({ ciphertext }, { encrypted }) =>
    rewrapped(ciphertext, encrypted),
  );
  const good = moved.flatMap((encrypted, index) =>
    typeof encrypted === "string" ? [{ encrypted, context: (items[index] as Bound).context }] : [],
  );
  // Wrapped once more, and thrown away: it opens inside OpenBao, or this would fail.
  const proofs = await key.run("rewrap", good.map(asInput));
  const sealed = await named(
    key,
    good.map(({ encrypted }) => encrypted),
  );
  let next = 0;
  return moved.map((one) => {
    if (typeof one !== "string") return one;
    const index = next++;
    return proofs[index]?.error === undefined ? (sealed[index] as Sealed) : new KeyrowError("CANNOT_OPEN");
  });
}

/** Runs the items whose keys OpenBao has, and gives what `read` makes of each answer; for the others, why not. */
export async function eachHeld(
  key: UsableKey,
  place: TransitKey,
  operation: "decrypt" | "rewrap",
  items: readonly Bound[],
  read: (result: BatchResult, item: Bound) => string | KeyrowError,
): Promise<Array<string | KeyrowError>> {
  const states = await statesOf(key, place, items);
  const held = items.filter((_, index) => states[index] === "held");
  const results = await key.run(operation, held.map(asInput));
  const isTooNew = ({ error = "" }: BatchResult) => error.includes("version is too new");
  // What is known is of before a restore, then, or of before the key was made anew.
  const versions = results.some(isTooNew) ? await key.versions(performance.now()) : undefined;
  let next = 0;
  return states.map((state, index) => {
    if (state !== "held") return refusal(state);
    const result = results[next++] as BatchResult;
    const item = items[index] as Bound;
    if (result.error === undefined) return read(result, item);
    return refusal((isTooNew(result) && versions?.state(item.keyId)) || "missing");
  });
}

/** The states of the items' keys, asked about anew where they are not as they should be. */
async function statesOf(key: UsableKey, place: TransitKey, items: readonly Bound[]): Promise<KeyState[]> {
  const known = statesIn(await key.versions(Number.NEGATIVE_INFINITY), place, items);
  if (known.every((state) => state === "held" || state === "missing")) return known;
  return statesIn(await key.versions(performance.now()), place, items);
}

/** `missing` also where a ciphertext is of another version than its key id. */
function statesIn(versions: Versions, place: TransitKey, items: readonly Bound[]): KeyState[] {
  // Most items are of one key.
  const seen = new Map<string, { readonly version: number | undefined; readonly state: KeyState }>();
  return items.map(({ keyId, encrypted }) => {
    const key = seen.get(keyId) ?? { version: versionOf(place, keyId), state: versions.state(keyId) };
    seen.set(keyId, key);
    return key.version !== undefined && key.version === parse(encrypted)?.version ? key.state : "missing";
  });
}

/**
 * Ciphertexts, made a moment ago, with the ids of the versions that they name. Those are asked for now: a key that was
 * lost and made anew has the same versions, and values under the old name would not open again; and it may bind nothing.
 */
async function named(key: UsableKey, ciphertexts: readonly string[]): Promise<Sealed[]> {
  const versions = await key.versions(performance.now());
  if (versions.unfit) throw new OpenBaoFault(versions.unfit);
  return ciphertexts.map((encrypted) => ({ encrypted, keyId: idOf(versions, parse(encrypted)?.version ?? 0) }));
}

/** The id of a version; a fault where the key has none such. */
export function idOf(versions: Versions, version: number): string {
  const id = versions.idOf(version);
  if (id === undefined) throw new OpenBaoFault("garbage");
  return id;
}

/**
 * One value sealed, opened, and not opened elsewhere: a key that is not derived ignores the context without a word. Sealed
 * twice it has two forms, or whoever reads the database would see which values are the same.
 */
export async function probe(key: UsableKey, place: TransitKey): Promise<void> {
  const { unfit } = await key.versions(performance.now());
  if (unfit) throw unfitKey(place, unfit);
  const here: Plain = { context: ["keyrow", "check"], value: "a value to try this key with" };
  const [one, other] = (await seal(key, [here, here])) as [Sealed, Sealed];
  if (one.encrypted === other.encrypted) throw new OpenBaoFault("garbage");
  const [opened, elsewhere] = await key.run("decrypt", [
    asInput({ ...one, context: here.context }),
    asInput({ ...one, context: ["keyrow", "elsewhere"] }),
  ]);
  if (openedValue(opened?.plaintext) !== here.value) throw new OpenBaoFault("garbage");
  if (elsewhere?.error !== undefined) return;
  throw unfitKey(place, "unbound");
}

function unfitKey({ mount, key }: TransitKey, why: UnfitKind): KeyrowError {
  if (why === "unbound") {
    return new KeyrowError("TRANSIT_UNBOUND", {
      message: `The Transit key ${mount}/${key} binds no value to its row.`,
      hint: "Make a key with type=aes256-gcm96 and derived=true, and name it by KEYROW_TRANSIT_KEY.",
    });
  }
  return new KeyrowError("TRANSIT_CONVERGENT", {
    message: `The Transit key ${mount}/${key} seals what is the same to the same text.`,
    hint: "Make a key without convergent_encryption, and name it by KEYROW_TRANSIT_KEY.",
  });
}

function contextText(context: Context): string {
  return encodeContext(context).toString("base64");
}

function asInput({ context, encrypted }: Pick<Bound, "context" | "encrypted">): BatchItem {
  return { ciphertext: encrypted, context: contextText(context) };
}

/** What is too new opens when OpenBao has its newest state again; of the rest, nobody is told why. */
function refusal(state: KeyState): KeyrowError {
  return new KeyrowError(state === "too-new" ? "CIPHER_UNAVAILABLE" : "CANNOT_OPEN");
}
