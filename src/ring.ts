import type { Cipher } from "./cipher/cipher.ts";
import { createKeyring } from "./cipher/keyring.ts";
import { createLocalCipher, LOCAL_KEY_ID, type LocalKey } from "./cipher/local.ts";
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
  /** Reads them again: a rewrap may move values to a key that was added since. */
  readonly readAgain?: (() => Promise<readonly LocalKey[]>) | undefined;
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
export function createRing({ localKeys, readAgain, openBao, fallback, log, meters }: RingParts): Ring {
  const locals = localKeys.map(createLocalCipher);
  const ciphers: Cipher[] = [...locals];
  const onUnknown = readAgain && createReloader(ciphers, readAgain, log);
  if (openBao === undefined) {
    const cipher = createKeyring(ciphers, { onUnknown });
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
  ciphers.unshift(transit);
  const cipher = createKeyring(ciphers, { fallback: instead, onUnknown });
  return {
    cipher,
    locals,
    transit,
    check: () => cipher.check().catch(unlessAway),
    close: () => transit.close(),
  };
}

const READ_AGAIN_MS = 1_000;

/** Adds the keys that a key file has by now, for values under a local key that is not known; once a second at most. */
function createReloader(
  ciphers: Cipher[],
  readAgain: () => Promise<readonly LocalKey[]>,
  log: Log,
): (keyIds: readonly string[]) => Promise<void> {
  let since = Number.NEGATIVE_INFINITY;
  let reading = Promise.resolve();

  async function read(): Promise<void> {
    try {
      const found = (await readAgain()).filter(({ id }) => ciphers.every((cipher) => cipher.state(id) === "missing"));
      ciphers.push(...found.map(createLocalCipher));
      if (found.length > 0) log.info({ keys: found.map(({ id }) => id) }, "found new keys in the key file");
    } catch (error) {
      // What was read at the start goes on.
      log.warn({ error }, "the key file could not be read again");
    }
  }

  return async (keyIds) => {
    if (!keyIds.some((keyId) => LOCAL_KEY_ID.test(keyId))) return;
    if (performance.now() - since >= READ_AGAIN_MS) {
      since = performance.now();
      reading = read();
    }
    await reading;
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
