import type { OpenBaoAccess, TransitKey } from "../cipher/openbao/access.ts";
import { createOpenBaoClient } from "../cipher/openbao/client.ts";
import { OpenBaoFault } from "../cipher/openbao/fault.ts";
import { createTokenKeeper } from "../cipher/openbao/token.ts";
import { type Versions, versionOf, versionsOf } from "../cipher/openbao/versions.ts";
import { KeyrowError } from "../errors.ts";

/** Makes the Transit key's next version, and gives its id. Throws CIPHER_UNAVAILABLE and FORBIDDEN. */
export function rotateTransitKey(access: OpenBaoAccess, place: TransitKey): Promise<string> {
  return withKey(access, place, "rotate", async ({ post, versions }) => {
    // Told of it first, for OpenBao's refusal to rotate what is not there has no form of its own.
    await versions();
    await post("rotate", {});
    const after = await versions();
    return after.idOf(after.latest) ?? "";
  });
}

/**
 * Lets nobody open what a version of the Transit key, or an older one, has sealed. OpenBao keeps the version, so that
 * its own commands can take this back. Throws USAGE for the newest version and for what is no version of the key's.
 */
export function retireTransitVersion(access: OpenBaoAccess, place: TransitKey, keyId: string): Promise<void> {
  return withKey(access, place, "config", async ({ post, versions }) => {
    const known = await versions();
    const version = versionOf(place, keyId);
    if (version === undefined || known.state(keyId) !== "held") throw unknownKey();
    if (version === known.latest) throw sealing();
    await post("config", { min_decryption_version: version + 1 });
  });
}

/** What is said of a key id that is none of the ring's, or retired already. */
export function unknownKey(): KeyrowError {
  return new KeyrowError("USAGE", {
    message: "There is no such key, or it is retired already.",
    hint: "`keyrow keys status` shows the keys in use.",
  });
}

/** What is said where the key that seals was to be retired, be it in place of OpenBao's alone. */
export function sealing(which: "" | " local" = ""): KeyrowError {
  return new KeyrowError("USAGE", {
    message: `This key seals new values${which && " while OpenBao is away"}, so it can't be retired.`,
    hint: `Run \`keyrow keys rotate${which}\` and \`keyrow rewrap\` first.`,
  });
}

interface KeyCalls {
  post(what: string, body: object): Promise<unknown>;
  versions(): Promise<Versions>;
}

async function withKey<T>(
  access: OpenBaoAccess,
  place: TransitKey,
  right: string,
  work: (calls: KeyCalls) => Promise<T>,
): Promise<T> {
  const client = createOpenBaoClient(access);
  const tokens = createTokenKeeper(client, access.login);
  const path = `${place.mount}/keys/${place.key}`;
  try {
    return await work({
      post: async (what, body) =>
        client.call({ method: "POST", path: `${path}/${what}`, token: await tokens.token(), body }),
      versions: () =>
        versionsOf(place, async () => (await client.call({ method: "GET", path, token: await tokens.token() })).data),
    });
  } catch (error) {
    throw error instanceof OpenBaoFault ? explained(error, `${path}/${right}`) : error;
  } finally {
    tokens.close();
    await client.close();
  }
}

function explained(fault: OpenBaoFault, path: string): KeyrowError {
  if (fault.status !== 403) return new KeyrowError("CIPHER_UNAVAILABLE", { cause: fault });
  return new KeyrowError("FORBIDDEN", {
    message: `OpenBao does not allow this login to use ${path}.`,
    hint: "Give BAO_TOKEN of somebody who may: docs/openbao.md has the policy for operators.",
    cause: fault,
  });
}
