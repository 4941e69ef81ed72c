import type { Cipher } from "./cipher/cipher.ts";
import { createKeyring } from "./cipher/keyring.ts";
import { createLocalCipher, type LocalKey } from "./cipher/local.ts";
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
  /** Those of the key file, newest first. */
  readonly locals: readonly Cipher[];
  readonly transit: Transit | undefined;
  /** As the cipher's, but that OpenBao may be away: it is checked before it is used, whenever it is back. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/** Makes the ring; nobody is asked anything before it is used. Throws CONFIG_INVALID, and KEY_MISSING for no key at all. */
export function createRing({ localKeys, openBao, fallback, log, meters }: RingParts): Ring {
  const locals = localKeys.map(createLocalCipher);
  if (openBao === undefined) {
    const cipher = createKeyring(locals);
    return { cipher, locals, transit: undefined, check: () => cipher.check(), close: async () => undefined };
  }
  if (isOpenToOthers(openBao.access.address)) {
    log.warn("values travel to OpenBao unencrypted, for BAO_ADDR begins with http: use https");
  }
  const client = createOpenBaoClient(openBao.access);
  const tokens = createTokenKeeper(client, openBao.access.login);
  const transit = createTransit({ client, tokens, place: openBao.place, log, ...meters });
  const [newest] = locals;
  const onUsed = (values: number) => {
    log.warn({ values }, "sealed under a local key, for OpenBao is away");
    meters?.onFallback(values);
  };
  const instead = fallback === "local" && newest !== undefined ? { cipher: newest, onUsed } : undefined;
  const cipher = createKeyring([transit, ...locals], instead);
  return {
    cipher,
    locals,
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
