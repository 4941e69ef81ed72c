import type { TransitKey } from "../../cipher/openbao/access.ts";

/** What a token may do, by path, as OpenBao's policies have it. */
export type Policy = Readonly<
  Record<string, { readonly capabilities: readonly string[]; readonly allowed_parameters?: Record<string, never[]> }>
>;

/** The names of the AppRoles and of their policies. */
export const SERVER = "keyrow-server";
export const OPERATOR = "keyrow-operator";

// Of the default policy, which neither has, what a token needs to live.
const ownToken: Policy = {
  "auth/token/lookup-self": { capabilities: ["read"] },
  "auth/token/renew-self": { capabilities: ["update"] },
};

/** For the server: to use the key. `update` alone, so that no call can make a key that is lost anew under its name. */
export function serverPolicy({ mount, key }: TransitKey): Policy {
  const update = { capabilities: ["update"] };
  return {
    [`${mount}/encrypt/${key}`]: update,
    [`${mount}/decrypt/${key}`]: update,
    [`${mount}/rewrap/${key}`]: update,
    [`${mount}/keys/${key}`]: { capabilities: ["read"] },
    ...ownToken,
  };
}

/** For `keyrow keys rotate` and `retire`: to add a version, and to say which are the oldest in use; nothing to open. */
export function operatorPolicy({ mount, key }: TransitKey): Policy {
  return {
    [`${mount}/keys/${key}`]: { capabilities: ["read"] },
    [`${mount}/keys/${key}/rotate`]: { capabilities: ["update"] },
    [`${mount}/keys/${key}/config`]: {
      capabilities: ["update"],
      // Not that it may be exported, or deleted.
      allowed_parameters: { min_decryption_version: [], min_encryption_version: [] },
    },
    ...ownToken,
  };
}
