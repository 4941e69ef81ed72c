import { createDecipheriv, type KeyObject } from "node:crypto";
import type { Bound } from "../cipher/cipher.ts";
import { LEGACY_KEY_ID } from "../cipher/keyring.ts";
import { decodeBase64, decodeValue } from "../cipher/local.ts";
import type { TransitKey } from "../cipher/openbao/access.ts";
import type { OpenBaoClient } from "../cipher/openbao/client.ts";
import { OpenBaoFault } from "../cipher/openbao/fault.ts";
import type { TokenKeeper } from "../cipher/openbao/token.ts";
import { createUsableKey } from "../cipher/openbao/transit-key.ts";
import { KeyrowError } from "../errors.ts";
import type { Opener } from "./reseal.ts";

const TAG_BYTES = 16;

/** The keys of the application that values come from; each may be missing. */
export interface LegacyKeys {
  /** 32 bytes, for `iv:authTag:encrypted`. */
  readonly aes?: KeyObject | undefined;
  /** A key without `derived`, for `vault:vN:...`. */
  readonly transit?:
    | { readonly client: OpenBaoClient; readonly tokens: TokenKeeper; readonly place: TransitKey }
    | undefined;
}

/**
 * Opens what another application has sealed, bound to nothing. No server has it: it is for an operator's one move into
 * this one's keys. It knows rows of the key id `legacy` alone.
 */
export function createLegacyOpener({ aes, transit }: LegacyKeys): Opener {
  const key = transit && createUsableKey(transit);

  async function openTransit(items: readonly Bound[]): Promise<Array<string | KeyrowError>> {
    if (key === undefined) return items.map(cannotOpen);
    try {
      const results = await key.run(
        "decrypt",
        items.map(({ encrypted }) => ({ ciphertext: encrypted })),
      );
      return results.map(({ error, plaintext }) => (error === undefined ? decoded(plaintext) : cannotOpen()));
    } catch (error) {
      throw error instanceof OpenBaoFault && transit !== undefined ? explained(error, transit.place) : error;
    }
  }

  return {
    state: (keyId) => (keyId === LEGACY_KEY_ID ? "held" : "missing"),
    async open(items) {
      const isVault = ({ keyId, encrypted }: Bound) => keyId === LEGACY_KEY_ID && encrypted.startsWith("vault:");
      const fromVault = await openTransit(items.filter(isVault));
      let next = 0;
      return items.map((item) => {
        if (item.keyId !== LEGACY_KEY_ID) return cannotOpen();
        if (isVault(item)) return fromVault[next++] as string | KeyrowError;
        return aes === undefined ? cannotOpen() : openAes(aes, item.encrypted);
      });
    },
  };
}

/** What OpenBao refuses stays refused: a key by that name is missing, or is not this login's to use. */
function explained(fault: OpenBaoFault, { mount, key }: TransitKey): KeyrowError {
  const { kind, status = 0 } = fault;
  // OpenBao's word for a key that is not there has no form of its own.
  const refused = kind === "garbage" || (kind === "status" && status < 500);
  if (!refused) return new KeyrowError("CIPHER_UNAVAILABLE", { cause: fault });
  return new KeyrowError("FORBIDDEN", {
    message: `OpenBao opens nothing under the Transit key ${mount}/${key} for this login.`,
    hint: `Check the name, and that the login may update ${mount}/decrypt/${key}: docs/openbao.md has the policy.`,
    cause: fault,
  });
}

function cannotOpen(): KeyrowError {
  return new KeyrowError("CANNOT_OPEN");
}

function decoded(plaintext: string | undefined): string | KeyrowError {
  try {
    return decodeValue(decodeBase64(plaintext as string));
  } catch {
    return cannotOpen();
  }
}

/** `iv:authTag:encrypted` of AES-256-GCM without a context, its fields in hex or in base64; the tag tells which. */
function openAes(key: KeyObject, encrypted: string): string | KeyrowError {
  try {
    const [iv = "", tag = "", body = "", ...more] = encrypted.split(":");
    if (more.length > 0) return cannotOpen();
    const read = /^[0-9a-fA-F]{32}$/.test(tag) ? decodeHex : decodeBase64;
    const decipher = createDecipheriv("aes-256-gcm", key, read(iv), { authTagLength: TAG_BYTES });
    decipher.setAuthTag(read(tag));
    const plain = decipher.update(read(body));
    decipher.final();
    return decodeValue(plain);
  } catch {
    return cannotOpen();
  }
}

function decodeHex(text: string): Buffer {
  const bytes = Buffer.from(text, "hex");
  // Node drops what is not hex without a word.
  if (bytes.toString("hex") !== text.toLowerCase()) throw new RangeError("not hexadecimal");
  return bytes;
}
