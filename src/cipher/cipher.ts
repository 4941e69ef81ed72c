import type { KeyrowError } from "../errors.ts";
import type { Context } from "./context.ts";

/** A value to seal, and what it is bound to. */
export interface Plain {
  readonly context: Context;
  readonly value: string;
}

/** A sealed value as the database keeps it: the ciphertext and the id of the key that sealed it. */
export interface Sealed {
  readonly encrypted: string;
  readonly keyId: string;
}

/** A sealed value with what it should be bound to. */
export interface Bound extends Sealed {
  readonly context: Context;
}

/**
 * What is known of a key:
 * `held`, values under it open; `unreachable`, whoever holds it is away, and can't be asked; `missing`, it is none of
 * the cipher's; `too-new`, its version is newer than any there, as after a restore from an older backup; `replaced`,
 * its key was made anew since, or its version was; `retired`, it is not to be used any more.
 */
export type KeyState = "held" | "unreachable" | "missing" | "too-new" | "replaced" | "retired";

/** What somebody has had of what is slow, over several calls in a row; a cipher adds what it was too slow by. */
export interface Patience {
  /** In ms. */
  spent: number;
}

/**
 * Seals and opens, always in batches; answers stand in the order of the items.
 * `seal` throws CIPHER_UNAVAILABLE as a whole; `open` answers per item, CANNOT_OPEN or CIPHER_UNAVAILABLE in its place.
 * Where patience is at its end, whoever would have to be asked is unavailable.
 */
export interface Cipher {
  seal(items: readonly Plain[], patience?: Patience): Promise<Sealed[]>;
  open(items: readonly Bound[], patience?: Patience): Promise<Array<string | KeyrowError>>;
  /** What is known of a key id here, without asking anybody. */
  state(keyId: string): KeyState;
  /** The key id that `seal` would use now; throws CIPHER_UNAVAILABLE. */
  current(): Promise<string>;
  /** Seals and opens a probe, and sees that it does not open elsewhere; throws CIPHER_UNAVAILABLE where that fails. */
  check(): Promise<void>;
}

/** Whether values under a key in this state will open, now or when whoever holds it is back. */
export function isHeld(state: KeyState): boolean {
  return state === "held" || state === "unreachable";
}
