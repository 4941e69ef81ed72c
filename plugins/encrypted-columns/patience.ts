import type { Patience } from "../../src/cipher/cipher.ts";
import type { EncryptedColumnsOptions, Settings } from "./options.ts";

// A request's settings are one object from first to last.
const patienceOf = new WeakMap<Settings, Patience>();

/** The options with a cipher that a request has patience with once, however many values it seals and opens. */
export function forRequest(options: EncryptedColumnsOptions, settings: Settings | null): EncryptedColumnsOptions {
  const patience = (settings && patienceOf.get(settings)) ?? { spent: 0 };
  if (settings) patienceOf.set(settings, patience);
  const { cipher } = options;
  return {
    ...options,
    cipher: { ...cipher, seal: (items) => cipher.seal(items, patience), open: (items) => cipher.open(items, patience) },
  };
}
