import type { Cipher } from "./cipher/cipher.ts";
import { createKeyring } from "./cipher/keyring.ts";
import { LOCAL_KEY_ID, type LocalKey } from "./cipher/local.ts";
import { createLocalRing, type LocalRing } from "./cipher/local-ring.ts";
import type { OpenBaoAccess, TransitKey } from "./cipher/openbao/access.ts";
import { createOpenBaoClient } from "./cipher/openbao/client.ts";
import { createTokenKeeper } from "./cipher/openbao/token.ts";
import { createTransit, type Transit, type TransitParts } from "./cipher/transit.ts";
import { KeyrowError } from "./errors.ts";
import type { Log } from "./log.ts";

/** What a ring is made of. */
export interface RingParts {
  /** Newest first; none where OpenBao alone seals and opens. */
  readonly localKeys: readonly LocalKey[];
  /** Their file, which is followed; undefined: these are all there will be. */
  readonly keyFile?: string | undefined;
  /** Undefined where the local keys seal. */
  readonly openBao?: { readonly access: OpenBaoAccess; readonly place: TransitKey } | undefined;
  /** Whether the newest local key seals while OpenBao is away. */
  readonly fallback: "local" | "refuse";
  readonly log: Log;
  readonly meters?: RingMeters | undefined;
}

/** Who is told of what the ring does. */
export interface RingMeters extends Pick<TransitParts, "onCall" | "onState"> {
  /** So many values were sealed by a local key for want of OpenBao. */
  readonly onFallback: (values: number) => void;
}

/** The keys of a server or a command. */
export interface Ring {
  /** All of them as one. */
  readonly cipher: Cipher;
  /** Those of the key file; undefined where there is none. */
  readonly local: LocalRing | undefined;
  readonly transit: Transit | undefined;
  /** As the cipher's, but that OpenBao may be away: it is checked before it is used, whenever it is back. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/** Makes the ring; nobody is asked anything before it is used. Throws CONFIG_INVALID, and KEY_MISSING for no key at all. */
export function createRing({ localKeys, keyFile, openBao, fallback, log, meters }: RingParts): Ring {
  const local = localKeys.length === 0 ? undefined : createLocalRing({ keys: localKeys, path: keyFile, log });
  // Somebody may have moved values to a key that was added since.
  const onUnknown = async (keyIds: readonly string[]) => {
    if (keyIds.some((keyId) => LOCAL_KEY_ID.test(keyId))) await local?.refresh();
  };
  if (openBao === undefined) {
    const cipher = createKeyring(local === undefined ? [] : [local], { onUnknown });
    return { cipher, local, transit: undefined, check: () => cipher.check(), close: async () => undefined };
  }
  if (isOpenToOthers(openBao.access.address)) {
    log.warn("values travel to OpenBao unencrypted, for BAO_ADDR begins with http: use https");
  }
  const client = createOpenBaoClient(openBao.access);
  const tokens = createTokenKeeper(client, openBao.access.login);
  const transit = createTransit({ client, tokens, place: openBao.place, log, ...meters });
  const onUsed = (values: number) => {
    log.warn({ values }, "sealed under a local key, for OpenBao is away");
    meters?.onFallback(values);
  };
  const instead = fallback === "local" && local !== undefined ? { cipher: local, onUsed } : undefined;
  const ciphers = local === undefined ? [transit] : [transit, local];
  const cipher = createKeyring(ciphers, { fallback: instead, onUnknown });
  return {
    cipher,
    local,
    transit,
    check: () => cipher.check().catch(unlessAway),
    close: () => transit.close(),
  };
}

/** Whether others on the way can read along. */
function isOpenToOthers(address: string): boolean {
  const { protocol, hostname } = new URL(address);
  return protocol === "http:" && !/^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

function unlessAway(error: unknown): void {
  if (!(error instanceof KeyrowError && error.code === "CIPHER_UNAVAILABLE")) throw error;
}
