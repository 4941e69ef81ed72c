import type { JwtKey } from "../jwt-key.ts";

/** Gives the key that a token's header asks for, with the one algorithm it is good for; throws where there is none. */
export type KeySource = (header: {
  readonly alg?: unknown;
  readonly kid?: unknown;
  readonly typ?: unknown;
}) => JwtKey | Promise<JwtKey>;

/** Somebody who makes tokens: what theirs must satisfy, and how their subjects become users. */
export interface Issuer {
  /** What operators call it. */
  readonly name: string;
  /** Exactly what `iss` is; undefined: whatever no other issuer is named, none included. */
  readonly issuer: string | undefined;
  readonly keyFor: KeySource;
  /** It is of the file of JWT_ISSUERS, where identities and machines may name it; else it is the settings'. */
  readonly listed?: true;
  readonly audience: string;
  /** The claim that names the user. */
  readonly userClaim: string;
  /**
   * `uuid`: it is the user's id. `identities`: who that is stands in keyrow.identities. `provision`: there as well, and
   * who comes for the first time gets a user of their own.
   */
  readonly subjects: "uuid" | "identities" | "provision";
}

/** A key that is always the same. */
export function fixedKey(key: JwtKey): KeySource {
  return () => key;
}
