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
 * Seals and opens, always in batches; answers stand in the order of the items.
 * `seal` throws CIPHER_UNAVAILABLE as a whole; `open` answers per item, CANNOT_OPEN or CIPHER_UNAVAILABLE in its place.
 */
export interface Cipher {
  seal(items: readonly Plain[]): Promise<Sealed[]>;
  open(items: readonly Bound[]): Promise<Array<string | KeyrowError>>;
  /** Whether values under this key id can be opened at all: the key is in the ring. */
  holds(keyId: string): boolean;
  /** Seals and opens a probe; throws CIPHER_UNAVAILABLE where that fails. */
  check(): Promise<void>;
}
