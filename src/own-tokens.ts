import { randomUUID } from "node:crypto";
import jwt from "jsonwebtoken";
import type pg from "pg";
import { KeyrowError } from "./errors.ts";
import type { Issuer } from "./issuers/issuer.ts";
import { OWN_ISSUER } from "./own-issuer.ts";
import type { Session } from "./session.ts";
import type { SigningKey } from "./signing-key.ts";
import { fromDatabaseError } from "./sql-errors.ts";
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

/** Whether a token that Keyrow made still is one; of any other, both say nothing. */
export interface Liveness {
  /** Throws UNAUTHENTICATED for one that is known here to be no more: it costs nobody a turn, nor the database a call. */
  refuseEnded(claims: Claims): void;
  /** Asks the database; throws what becomes UNAUTHENTICATED. Each statement asks again by its policies. */
  check(claims: Claims, requestId: string): Promise<void>;
}

// So long is one refused without asking: long enough for a flood, and no longer than a fault of the database is felt.
const ENDED_MS = 2_000;
const MOST_ENDED = 1_000;

/** Makes the check of the tokens that Keyrow made. */
export function createLiveness(pool: pg.Pool, session: Session, requestMs?: number): Liveness {
  const withPgClient = createWithPgClient(pool, requestMs);
  const endedAt = new Map<string, number>();
  return {
    refuseEnded(claims) {
      const since = endedAt.get(nameOf(claims) ?? "") ?? Number.NEGATIVE_INFINITY;
      if (performance.now() - since < ENDED_MS) throw new KeyrowError("UNAUTHENTICATED");
    },
    async check(claims, requestId) {
      const name = nameOf(claims);
      if (name === undefined) return;
      try {
        await withPgClient(session(claims, requestId), (client) => client.query({ text: "select keyrow.limits()" }));
      } catch (error) {
        if (fromDatabaseError(error)?.code === "UNAUTHENTICATED") {
          // The newest last: the oldest are forgotten first.
          endedAt.delete(name);
          endedAt.set(name, performance.now());
        }
        const [oldest = ""] = endedAt.keys();
        if (endedAt.size > MOST_ENDED) endedAt.delete(oldest);
        throw error;
      }
    },
  };
}

/** What tells such a token from all others: with another user's id it is another's, and none. */
function nameOf({ userId, limits = [] }: Claims): string | undefined {
  const made = limits.flatMap(({ token }) => token ?? []);
  return made.length === 0 ? undefined : [userId, ...made].join(" ");
}
