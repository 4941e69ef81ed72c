import { randomUUID } from "node:crypto";
import jwt from "jsonwebtoken";
import type pg from "pg";
import type { Issuer } from "./issuers/issuer.ts";
import { OWN_ISSUER } from "./own-issuer.ts";
import type { Session } from "./session.ts";
import type { SigningKey } from "./signing-key.ts";
import type { Claims } from "./token.ts";
import { LIMITS_CLAIM } from "./token-limits.ts";
import { createWithPgClient } from "./with-pg-client.ts";

/** What `typ` is in their header: no other token is taken for one, nor one for another (RFC 8725, section 3.11). */
const OWN_TYPE = "keyrow+jwt";

/** The issuer of the tokens that Keyrow makes: its key opens no other issuer's tokens, and no other key its own. */
export function ownIssuer({ kid, publicKey }: SigningKey, audience: string): Issuer {
  return {
    name: "keyrow",
    issuer: OWN_ISSUER,
    keyFor: (header) => {
      if (header.kid !== kid || header.typ !== OWN_TYPE) throw new Error("not a token of this key");
      return { algorithm: "ES256", key: publicKey };
    },
    audience,
    userClaim: "sub",
    subjects: "uuid",
  };
}

/** A token as the database has recorded it. */
export interface RecordedToken {
  readonly id: string;
  readonly userId: string;
  readonly expiresAt: Date;
}

/** Signs what the database has recorded. */
export type TokenSigner = (token: RecordedToken) => string;

/** Makes the signer of recorded tokens. They say their id alone: what they may do is read from the record, each time. */
export function ownSigner(key: SigningKey, audience: string, now?: () => number): TokenSigner {
  const sign = signerOf(key, audience, now);
  return ({ id, userId, expiresAt }) => {
    const exp = Math.floor(expiresAt.getTime() / 1000);
    return sign({ sub: userId, exp, jti: id, [LIMITS_CLAIM]: { token: id } });
  };
}

/** The claim of a machine's own token: whoever is no machine any more is a stranger with it. */
export const MACHINE_CLAIM = "keyrow_machine";

/** Makes the signer of machines' tokens. They say which machine it is: what it has is read from its row, each time. */
export function machineSigner(key: SigningKey, audience: string) {
  const sign = signerOf(key, audience);
  return ({ id, expiresAt }: { readonly id: string; readonly expiresAt: Date }): string => {
    const exp = Math.floor(expiresAt.getTime() / 1000);
    return sign({ sub: id, exp, jti: randomUUID(), [MACHINE_CLAIM]: true });
  };
}

function signerOf({ kid, privateKey }: SigningKey, audience: string, now: () => number = Date.now) {
  return (claims: object): string =>
    jwt.sign({ aud: audience, iss: OWN_ISSUER, iat: Math.floor(now() / 1000), ...claims }, privateKey, {
      algorithm: "ES256",
      header: { alg: "ES256", kid, typ: OWN_TYPE },
    });
}

/**
 * Makes the check that a token which Keyrow made still is one: a call for such a token, none for any other. It throws
 * what becomes UNAUTHENTICATED. Each statement asks again by its policies.
 */
export function createLiveness(
  pool: pg.Pool,
  session: Session,
  requestMs?: number,
): (claims: Claims, requestId: string) => Promise<void> {
  const withPgClient = createWithPgClient(pool, requestMs);
  return async (claims, requestId) => {
    if (!claims.limits?.some(({ token }) => token !== undefined)) return;
    await withPgClient(session(claims, requestId), (client) => client.query({ text: "select keyrow.limits()" }));
  };
}
