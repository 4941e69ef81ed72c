import { randomUUID } from "node:crypto";
import jwt from "jsonwebtoken";
import { KeyrowError } from "./errors.ts";
import { fixedKey, type Issuer, type KeySource } from "./issuers/issuer.ts";
import { parseJsonBytes } from "./json.ts";
import type { JwtKey } from "./jwt-key.ts";
import { LIMITS_CLAIM, type Limit, parseLimits } from "./token-limits.ts";
import { UUID } from "./uuid.ts";

/** What a token must satisfy, and what one that is made here says. */
export interface TokenRules {
  readonly key: JwtKey;
  readonly audience: string;
  /** Undefined: `iss` is neither checked nor written. */
  readonly issuer: string | undefined;
  /** The claim that holds the user's id. */
  readonly userClaim: string;
}

/** What is passed on of a valid token, and nothing else. */
export interface Claims {
  /** A UUID in lower case. */
  readonly userId: string;
  /** Seconds since 1970. */
  readonly expiresAt: number;
  /** At most 254 characters, and only where the issuer says that it is verified. */
  readonly email?: string;
  /** 1 to 200 characters. */
  readonly name?: string;
  /** What `userId` is, where the issuer alone says it: a person's id is never taken for a machine's. */
  readonly bearer?: "machine" | "person";
  /** What the token may do at most, all of it together; absent where it may do what its user may. */
  readonly limits?: readonly Limit[];
}

/** What a valid token says of whoever brings it, before anybody is looked up. */
export interface Bearer {
  readonly issuer: Issuer;
  /** Who that is at the issuer: a UUID in lower case where it is a user's id, else 1 to 255 characters. */
  readonly subject: string;
  readonly claims: Omit<Claims, "userId">;
  /** All claims that are texts, safe integers or booleans, as texts, but those that PostgreSQL could not store. */
  readonly said: Readonly<Record<string, string>>;
}

/** What `keyrow token` asks for; `expiresIn` in seconds. */
export interface TokenRequest {
  readonly userId: string;
  readonly expiresIn: number;
  readonly email?: string;
  readonly name?: string;
  readonly limits?: readonly Limit[];
}

const MAX_TOKEN_BYTES = 8 * 1024;
const CLOCK_TOLERANCE_SECONDS = 5;
// The year 9999: a later date is a mistake, and 1e400 would read as Infinity, a token for ever.
const MAX_DATE = 253_402_300_799;

// RFC 6750, section 2.1, with the letters of a JWT alone. ASCII, so characters are bytes.
const bearer = /^bearer +([\w.-]+)$/i;
const anySubject = /^[^\p{Cc}\p{Cs}]{1,255}$/u;
const emailAddress = /^[^\s\p{C}@]{1,64}@[^\s\p{C}@]{1,189}$/u;
const personName = /^[^\p{Cc}\p{Cs}]{1,200}$/u;

/** The issuer whose tokens these rules describe: the short form, by settings alone. */
export function issuerOf({ key, ...rules }: TokenRules): Issuer {
  return { name: "settings", ...rules, keyFor: fixedKey(key), subjects: "uuid" };
}

/**
 * Makes the check of the Authorization header. Give it `request.headersDistinct.authorization`: of several headers
 * `request.headers` silently keeps the first. The token's `iss` chooses the issuer, whose keys alone are tried. Whatever
 * is wrong is UNAUTHENTICATED, without a reason; UNAVAILABLE where an issuer's keys could not be fetched yet. `now` is in ms.
 */
export function createVerifier(
  issuers: readonly Issuer[],
  now: () => number = Date.now,
): (authorization: string | readonly string[] | undefined) => Promise<Bearer> {
  const issuerFor = chooser(issuers);
  return async (authorization) => {
    try {
      const jws = readJws(bearerToken(authorization));
      const claims = parseObject(jws.payload);
      // Not verified yet: it chooses who is asked for the key, and is checked again with the signature.
      const issuer = issuerFor(claims.iss);
      checkSignature(jws, await issuer.keyFor(jws.header), {
        audience: issuer.audience,
        ...(issuer.issuer !== undefined && { issuer: issuer.issuer }),
        clockTimestamp: Math.floor(now() / 1000),
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
      });
      return {
        issuer,
        subject: subjectOf(claims[issuer.userClaim], issuer),
        claims: claimsOf(claims),
        said: saidBy(claims),
      };
    } catch (error) {
      if (error instanceof KeyrowError && error.code === "UNAVAILABLE") throw error;
      // No cause either: what it says would end up beside the token's user in somebody's log or answer.
      throw new KeyrowError("UNAUTHENTICATED");
    }
  };
}

/** Finds an issuer by exactly its `iss`; what names no issuer of the list is for the one that takes any, if there is one. */
function chooser(issuers: readonly Issuer[]): (iss: unknown) => Issuer {
  const byName = new Map(issuers.map((issuer) => [issuer.issuer, issuer]));
  return (iss) => {
    const found = (typeof iss === "string" ? byName.get(iss) : undefined) ?? byName.get(undefined);
    if (found === undefined) throw new Error("not an issuer we know");
    return found;
  };
}

/** A compact JWS (RFC 7515) whose form and header are checked, and nothing else yet. */
interface Jws {
  readonly token: string;
  readonly header: Parameters<KeySource>[0];
  readonly payload: Buffer;
}

/**
 * Checks form, header and signature of a compact JWS (RFC 7515) and gives its payload's bytes. Throws an Error of any
 * kind, which is for this process alone.
 */
export function verifyJws(token: string, key: JwtKey): Buffer {
  const jws = readJws(token);
  checkSignature(jws, key);
  return jws.payload;
}

function readJws(token: string): Jws {
  if (token.length > MAX_TOKEN_BYTES) throw new Error("too long");
  const parts = token.split(".");
  const [head, payload, signature] = parts.map(decode);
  if (parts.length !== 3 || !head || !payload || !signature) throw new Error("not three parts");
  const header = parseObject(head);
  // jsonwebtoken ignores `crit`, and `b64` with it: both say that the rest must be read in another way (RFC 7797).
  if (header.crit !== undefined || header.b64 !== undefined) throw new Error("not a header we read");
  return { token, header, payload };
}

/** `checks` are jsonwebtoken's; the algorithm is the key's, whatever the header says. */
function checkSignature({ token, header }: Jws, { algorithm, key }: JwtKey, checks: jwt.VerifyOptions = {}): void {
  if (header.alg !== algorithm) throw new Error("another algorithm");
  jwt.verify(token, key, { ...checks, algorithms: [algorithm] });
}

/** Makes the signer of tokens that `createVerifier` with the same rules takes. Throws CONFIG_INVALID without a secret. */
export function createSigner(rules: TokenRules, now: () => number = Date.now): (request: TokenRequest) => string {
  const { algorithm, key } = rules.key;
  if (algorithm !== "HS256") {
    throw new KeyrowError("CONFIG_INVALID", {
      message: "There is no secret to sign with: JWT_PUBLIC_KEY can only verify.",
      hint: "Get the token from whoever holds the private key.",
    });
  }
  return ({ userId, expiresIn, email, name, limits }) => {
    if (!UUID.test(userId) || !Number.isSafeInteger(expiresIn) || expiresIn <= 0) throw new KeyrowError("VALIDATION");
    const iat = Math.floor(now() / 1000);
    const payload = {
      [rules.userClaim]: userId.toLowerCase(),
      aud: rules.audience,
      iss: rules.issuer,
      iat,
      exp: iat + expiresIn,
      jti: randomUUID(),
      email,
      ...(email !== undefined && { email_verified: true }),
      name,
      [LIMITS_CLAIM]: limits,
    };
    // Through JSON, for jsonwebtoken refuses claims that are there and undefined.
    return jwt.sign(JSON.parse(JSON.stringify(payload)) as object, key, { algorithm });
  };
}

function bearerToken(authorization: string | readonly string[] | undefined): string {
  const headers = typeof authorization === "string" ? [authorization] : (authorization ?? []);
  const [header] = headers;
  if (headers.length !== 1 || header === undefined) throw new Error("not one header");
  // Before anything reads it, the pattern included.
  if (header.length > "Bearer ".length + MAX_TOKEN_BYTES) throw new Error("too long");
  const token = bearer.exec(header)?.[1];
  if (token === undefined) throw new Error("not a bearer token");
  return token;
}

/** Base64url as RFC 7515 writes it: Node's reader skips what it does not know, so one token would have many spellings. */
function decode(part: string): Buffer | undefined {
  const bytes = Buffer.from(part, "base64url");
  return part !== "" && bytes.toString("base64url") === part ? bytes : undefined;
}

function parseObject(bytes: Buffer): Record<string, unknown> {
  const value = parseJsonBytes(bytes);
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new Error("not an object");
  // Without a prototype: a claim named `constructor` is there only if the token has it.
  return Object.assign(Object.create(null), value);
}

/** The claims of a bearer who is this user or machine; `what` is left out where its token was made with another's. */
export function claimsFor({ claims }: Bearer, userId: string, what?: Claims["bearer"]): Claims {
  return Object.freeze({ userId, ...claims, ...(what !== undefined && { bearer: what }) });
}

function subjectOf(value: unknown, { subjects }: Issuer): string {
  const form = subjects === "uuid" ? UUID : anySubject;
  if (typeof value !== "string" || !form.test(value)) throw new Error("not a user");
  return subjects === "uuid" ? value.toLowerCase() : value;
}

function saidBy(payload: Record<string, unknown>): Readonly<Record<string, string>> {
  const entries = Object.entries(payload)
    // Other numbers are rounded once they are read: two that differ would be one text.
    .filter(([, value]) => ["string", "boolean"].includes(typeof value) || Number.isSafeInteger(value))
    .map(([name, value]) => [name, String(value)] as const)
    .filter((entry) => entry.every((text) => text.isWellFormed() && !text.includes("\0")));
  return Object.fromEntries(entries);
}

/** What jsonwebtoken leaves unchecked: that `exp` is there, that dates are dates, and the form of `aud`. */
function claimsOf(payload: Record<string, unknown>): Bearer["claims"] {
  const { exp, nbf, iat, aud, email, name, email_verified: verified } = payload;
  if (!isDate(exp)) throw new Error("no expiry");
  if ((nbf !== undefined && !isDate(nbf)) || (iat !== undefined && !isDate(iat))) throw new Error("not a date");
  if (Array.isArray(aud) && !aud.every((one) => typeof one === "string")) throw new Error("not an audience");
  return {
    expiresAt: exp,
    // Some issuers write the words "true" and "false".
    ...(typeof email === "string" &&
      emailAddress.test(email) &&
      [true, "true"].includes(verified as never) && { email }),
    ...(typeof name === "string" && personName.test(name) && { name }),
    // A limit that can't be understood must not be taken for none.
    ...(LIMITS_CLAIM in payload && { limits: parseLimits(payload[LIMITS_CLAIM]) }),
  };
}

function isDate(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && value <= MAX_DATE;
}
