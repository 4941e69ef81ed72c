import type { Patience } from "../../src/cipher/cipher.ts";
import type { EncryptedColumnsOptions, Settings } from "./options.ts";

// However many values a request seals and opens, one after the other, it waits no longer than this for a slow cipher.
const PATIENCE_MS = 1_200;

// A request's settings are one object from first to last.
const patienceOf = new WeakMap<Settings, Patience>();

/** The options with a cipher that a request as a whole has so much patience with. */
export function forRequest(options: EncryptedColumnsOptions, settings: Settings | null): EncryptedColumnsOptions {
  const patience = (settings && patienceOf.get(settings)) ?? { left: PATIENCE_MS };
  if (settings) patienceOf.set(settings, patience);
  const { cipher } = options;
  return {
    ...options,
    cipher: { ...cipher, seal: (items) => cipher.seal(items, patience), open: (items) => cipher.open(items, patience) },
  };
}
