import {
  createHmac,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
} from "node:crypto";
import { readFileSync } from "node:fs";
import test from "ava";
import jwt from "jsonwebtoken";
import { KeyrowError } from "../src/errors.ts";
import { fixedKey, type Issuer } from "../src/issuers/issuer.ts";
import { type JwtKey, publicKey, secretKey } from "../src/jwt-key.ts";
import { claimsFor, createSigner, createVerifier, issuerOf, type TokenRules, verifyJws } from "../src/token.ts";

const NOW = 1_800_000_000;
const now = () => NOW * 1000;
const ana = "0b9f5a3e-52d4-4c7e-9d3a-6f1c2b7a8e90";
const secret = "an-example-of-a-secret-of-48-bytes-for-tests-only";
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();

const rules: TokenRules = {
  key: secretKey(secret),
  audience: "keyrow",
  issuer: "https://id.example",
  userClaim: "sub",
};
const verifier = (...them: TokenRules[]) => claimed(them.map(issuerOf));
/** The check, for subjects that are users' ids. */
function claimed(issuers: readonly Issuer[]) {
  const check = createVerifier(issuers, now);
  return async (authorization: Parameters<typeof check>[0]) => {
    const bearer = await check(authorization);
    return claimsFor(bearer, bearer.subject);
  };
}
const verify = verifier(rules);
const verifyRsa = verifier({ ...rules, key: publicKey(pem(rsa.publicKey)) });
const verifyEc = verifier({ ...rules, key: publicKey(pem(ec.publicKey)) });

const good = { sub: ana, aud: "keyrow", iss: "https://id.example", exp: NOW + 60 };

const encode = (text: string | Buffer) => Buffer.from(text).toString("base64url");

/** A token of exactly these texts, signed with HS256 whatever the header says. */
function raw(header: string, payload: string | Buffer, key: string | Buffer = secret): string {
  const input = `${encode(header)}.${encode(payload)}`;
  return `${input}.${createHmac("sha256", key).update(input).digest("base64url")}`;
}

const HEADER = '{"alg":"HS256","typ":"JWT"}';
const signed = (claims: object, header: object = {}) =>
  raw(JSON.stringify({ alg: "HS256", typ: "JWT", ...header }), JSON.stringify({ ...good, ...claims }));
const bearer = (token: string) => `Bearer ${token}`;

const token = signed({});
const [tokenHeader = "", tokenPayload = "", tokenSignature = ""] = token.split(".");

test("a good token gives its user and expiry, and nothing else", async (t) => {
  const claims = await verify(bearer(signed({ role: "keyrow_admin", scope: "all", user_id: "x" })));
  t.deepEqual(claims, { userId: ana, expiresAt: NOW + 60 });
  t.true(Object.isFrozen(claims));
});

const taken: Array<[title: string, authorization: string | string[], check?: typeof verify]> = [
  ["the scheme in lower case", `bearer ${token}`],
  ["the scheme in capitals", `BEARER ${token}`],
  ["two spaces after the scheme", `Bearer  ${token}`],
  ["one header in a list", [bearer(token)]],
  ["a user id in capitals", bearer(signed({ sub: ana.toUpperCase() }))],
  ["one audience of several", bearer(signed({ aud: ["other", "keyrow"] }))],
  ["an expiry 4 seconds ago, by tolerance", bearer(signed({ exp: NOW - 4 }))],
  ["a beginning in 5 seconds, by tolerance", bearer(signed({ nbf: NOW + 5 }))],
  ["an expiry with a fraction", bearer(signed({ exp: NOW + 0.5 }))],
  ["a kid that names no key of ours", bearer(signed({}, { kid: "../../etc/passwd" }))],
  ["RS256", bearer(jwt.sign(good, rsa.privateKey, { algorithm: "RS256" })), verifyRsa],
  ["ES256", bearer(jwt.sign(good, ec.privateKey, { algorithm: "ES256" })), verifyEc],
  ["a token of 8 KiB", bearer(signed({ pad: pad(8192) }))],
];
for (const [title, authorization, check = verify] of taken) {
  test(`takes ${title}`, async (t) => t.is((await check(authorization)).userId, ana));
}

/** Filler that makes the token of `signed({ pad })` this many bytes long. */
function pad(length: number): string {
  let size = Math.floor((length * 3) / 4) - 400;
  while (signed({ pad: "x".repeat(size) }).length < length) size++;
  return "x".repeat(size);
}

test("the padded token is 8 KiB to the byte, so that its refusal one beyond means something", (t) => {
  t.is(signed({ pad: pad(8192) }).length, 8192);
  t.true(signed({ pad: pad(8193) }).length > 8192);
});

const twice = (name: string, first: string, second: string) =>
  raw(HEADER, JSON.stringify({ ...good, [name]: "@" }).replace('"@"', `${first},${JSON.stringify(name)}:${second}`));

const hostile: Array<[title: string, authorization: string | string[] | undefined, check?: typeof verify]> = [
  // The header field.
  ["no header", undefined],
  ["no headers", []],
  ["two headers", [bearer(token), bearer(token)]],
  ["two headers, one of them empty", [bearer(token), ""]],
  ["an empty header", ""],
  ["the scheme alone", "Bearer"],
  ["the scheme and a space", "Bearer "],
  ["no scheme", token],
  ["Basic", `Basic ${Buffer.from("ana:secret").toString("base64")}`],
  ["another scheme", `Token ${token}`],
  ["a scheme that only begins so", `BearerX ${token}`],
  ["two tokens", `Bearer ${token} ${token}`],
  ["two credentials in one header", `Bearer ${token}, Bearer ${token}`],
  ["a tab after the scheme", `Bearer\t${token}`],
  ["a no-break space after the scheme", `Bearer\u00a0${token}`],
  ["a space before the scheme", ` Bearer ${token}`],
  ["a space at the end", `Bearer ${token} `],
  ["a newline at the end", `Bearer ${token}\n`],
  ["a newline in the token", `Bearer ${tokenHeader}.\n${tokenPayload}.${tokenSignature}`],
  ["a NUL at the end", `Bearer ${token}\0`],
  ["quotes", `Bearer "${token}"`],
  ["token68 padding", `Bearer ${token}==`],

  // The form of the token.
  ["garbage", "Bearer garbage"],
  ["dots", "Bearer .."],
  ["three empty objects", "Bearer e30.e30.e30"],
  ["no signature", bearer(`${tokenHeader}.${tokenPayload}.`)],
  ["two parts", bearer(`${tokenHeader}.${tokenPayload}`)],
  ["four parts", bearer(`${token}.${tokenSignature}`)],
  ["five parts, as JWE has", bearer(`${token}.${tokenSignature}.${tokenSignature}`)],
  ["a JWE header on three parts", bearer(raw('{"alg":"dir","enc":"A256GCM"}', JSON.stringify(good)))],
  ["a flipped signature", bearer(`${tokenHeader}.${tokenPayload}.${flip(tokenSignature)}`)],
  ["a shortened signature", bearer(token.slice(0, -4))],
  ["a signature spelled in another way", bearer(respell(token))],
  ["another payload under the signature", bearer(`${tokenHeader}.${encode(JSON.stringify(good))}x.${tokenSignature}`)],
  ["one byte more than 8 KiB", bearer(signed({ pad: pad(8193) }))],
  ["100 kB", bearer(signed({ pad: "x".repeat(100_000) }))],
  ["a megabyte of spaces", `Bearer${" ".repeat(1_000_000)}${token}`],
  ["a payload that is no JSON", bearer(raw(HEADER, "garbage"))],
  ["a payload that is a list", bearer(raw(HEADER, JSON.stringify([good])))],
  ["a payload that is null", bearer(raw(HEADER, "null"))],
  ["a payload that is a text", bearer(raw(HEADER, JSON.stringify(JSON.stringify(good))))],
  [
    "a payload that is no UTF-8",
    bearer(raw(HEADER, Buffer.from(`{"x":"\xff",${JSON.stringify(good).slice(1)}`, "latin1"))),
  ],
  ["a payload with a byte order mark", bearer(raw(HEADER, `\ufeff${JSON.stringify(good)}`))],
  ["a header that is a list", bearer(raw('["HS256"]', JSON.stringify(good)))],

  // Which key and algorithm.
  ["alg none", bearer(`${encode('{"alg":"none"}')}.${tokenPayload}.`)],
  ["alg none with a signature", bearer(raw('{"alg":"none"}', JSON.stringify(good)))],
  ["alg None", bearer(raw('{"alg":"None"}', JSON.stringify(good)))],
  ["alg hs256", bearer(raw('{"alg":"hs256"}', JSON.stringify(good)))],
  ["no alg", bearer(raw('{"typ":"JWT"}', JSON.stringify(good)))],
  ["a list of algs", bearer(raw('{"alg":["HS256"]}', JSON.stringify(good)))],
  ["HS384 with the right secret", bearer(jwt.sign(good, secret, { algorithm: "HS384" }))],
  ["HS512 with the right secret", bearer(jwt.sign(good, secret, { algorithm: "HS512" }))],
  ["another secret", bearer(raw(HEADER, JSON.stringify(good), `${secret}x`))],
  ["an empty secret", bearer(raw(HEADER, JSON.stringify(good), ""))],
  ["HS256 with the RSA key's PEM as secret", bearer(raw(HEADER, JSON.stringify(good), pem(rsa.publicKey))), verifyRsa],
  [
    "HS256 with the RSA key's DER as secret",
    bearer(raw(HEADER, JSON.stringify(good), rsa.publicKey.export({ type: "spki", format: "der" }))),
    verifyRsa,
  ],
  ["HS256 with the P-256 key's PEM as secret", bearer(raw(HEADER, JSON.stringify(good), pem(ec.publicKey))), verifyEc],
  ["RS256 where a secret is set", bearer(jwt.sign(good, rsa.privateKey, { algorithm: "RS256" }))],
  ["RS512 where RS256 is set", bearer(jwt.sign(good, rsa.privateKey, { algorithm: "RS512" })), verifyRsa],
  ["PS256 where RS256 is set", bearer(jwt.sign(good, rsa.privateKey, { algorithm: "PS256" })), verifyRsa],
  ["ES256 where RS256 is set", bearer(jwt.sign(good, ec.privateKey, { algorithm: "ES256" })), verifyRsa],
  ["RS256 where ES256 is set", bearer(jwt.sign(good, rsa.privateKey, { algorithm: "RS256" })), verifyEc],
  ["somebody else's RSA key", bearer(jwt.sign(good, stranger(), { algorithm: "RS256" })), verifyRsa],
  [
    "a key of its own in the header",
    bearer(jwt.sign(good, stranger(), { algorithm: "RS256", header: ownKey() })),
    verifyRsa,
  ],
  ["crit", bearer(signed({}, { crit: ["exp"] }))],
  ["an empty crit", bearer(signed({}, { crit: [] }))],
  ["crit null", bearer(signed({}, { crit: null }))],
  ["an unencoded payload", bearer(signed({}, { b64: false, crit: ["b64"] }))],
  ["b64 without crit", bearer(signed({}, { b64: false }))],
  ["alg twice", bearer(raw('{"alg":"none","alg":"HS256"}', JSON.stringify(good)))],
  ["alg twice, once escaped", bearer(raw('{"\\u0061lg":"none","alg":"HS256"}', JSON.stringify(good)))],

  // What it claims.
  ["no expiry", bearer(signed({ exp: undefined }))],
  ["an expiry that is a text", bearer(signed({ exp: String(NOW + 60) }))],
  ["an expiry that is null", bearer(signed({ exp: null }))],
  ["an expiry that is true", bearer(signed({ exp: true }))],
  ["an expiry that is a list", bearer(signed({ exp: [NOW + 60] }))],
  ["an endless expiry", bearer(raw(HEADER, JSON.stringify(good).replace(/"exp":\d+/, '"exp":1e400')))],
  ["an expiry in milliseconds", bearer(signed({ exp: (NOW + 60) * 1000 }))],
  ["an expiry of 0", bearer(signed({ exp: 0 }))],
  ["an expiry 5 seconds ago", bearer(signed({ exp: NOW - 5 }))],
  ["a beginning in 6 seconds", bearer(signed({ nbf: NOW + 6 }))],
  ["a beginning that is a text", bearer(signed({ nbf: "0" }))],
  ["a beginning that is null", bearer(signed({ nbf: null }))],
  ["an issue date that is a text", bearer(signed({ iat: "0" }))],
  ["no audience", bearer(signed({ aud: undefined }))],
  ["another audience", bearer(signed({ aud: "other" }))],
  ["an audience that begins alike", bearer(signed({ aud: "keyrow2" }))],
  ["an audience in capitals", bearer(signed({ aud: "KEYROW" }))],
  ["an audience with a space", bearer(signed({ aud: "keyrow " }))],
  ["audiences in one text", bearer(signed({ aud: "other keyrow" }))],
  ["no audience in a list", bearer(signed({ aud: [] }))],
  ["other audiences in a list", bearer(signed({ aud: ["a", "b"] }))],
  ["an audience in a list in a list", bearer(signed({ aud: [["keyrow"]] }))],
  ["an audience beside a number", bearer(signed({ aud: ["keyrow", 1] }))],
  ["an audience in an object", bearer(signed({ aud: { 0: "keyrow" } }))],
  ["audience null", bearer(signed({ aud: null }))],
  ["no issuer", bearer(signed({ iss: undefined }))],
  ["another issuer", bearer(signed({ iss: "https://id.example.evil" }))],
  ["an issuer with a slash more", bearer(signed({ iss: "https://id.example/" }))],
  ["issuers in a list", bearer(signed({ iss: ["https://id.example"] }))],
  ["no user", bearer(signed({ sub: undefined }))],
  ["a user that is no UUID", bearer(signed({ sub: "ana" }))],
  ["an empty user", bearer(signed({ sub: "" }))],
  ["a user in braces", bearer(signed({ sub: `{${ana}}` }))],
  ["a user without hyphens", bearer(signed({ sub: ana.replaceAll("-", "") }))],
  ["a user as URN", bearer(signed({ sub: `urn:uuid:${ana}` }))],
  ["a user with a space", bearer(signed({ sub: `${ana} ` }))],
  ["a user with a newline", bearer(signed({ sub: `${ana}\n` }))],
  ["a user with SQL behind", bearer(signed({ sub: `${ana}'; --` }))],
  ["a user in a list", bearer(signed({ sub: [ana] }))],
  ["a user that is a number", bearer(signed({ sub: 1 }))],
  ["a user twice", bearer(twice("sub", JSON.stringify(ana), JSON.stringify(ana)))],
  ["an expiry twice", bearer(twice("exp", "1", String(NOW + 60)))],
  [
    "a key twice within a claim",
    bearer(raw(HEADER, JSON.stringify({ ...good, x: 0 }).replace('"x":0', '"x":[{"a":1,"a":1}]'))),
  ],
];
for (const [title, authorization, check = verify] of hostile) {
  test(`refuses ${title}, like any other`, async (t) => {
    const error = await t.throwsAsync(() => check(authorization), { instanceOf: KeyrowError });
    t.deepEqual(
      [error?.code, error?.status, error?.message, error?.hint, error?.cause],
      ["UNAUTHENTICATED", 401, "A valid token is required.", undefined, undefined],
    );
  });
}

function flip(signature: string): string {
  return (signature.startsWith("A") ? "B" : "A") + signature.slice(1);
}

/** The same bytes in other letters: the last letter of 32 bytes carries two bits that nobody reads. */
function respell(text: string): string {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  const other = text.slice(0, -1) + letters[letters.indexOf(text.slice(-1)) + 1];
  const bytes = (one: string) => Buffer.from(one.split(".")[2] ?? "", "base64url").toString("hex");
  if (bytes(other) !== bytes(text)) throw new Error("this is another signature");
  return other;
}

function stranger(): KeyObject {
  return generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey;
}

function ownKey(): jwt.JwtHeader {
  return {
    alg: "RS256",
    jwk: rsa.publicKey.export({ format: "jwk" }),
    jku: "https://evil.example/jwks",
  } as jwt.JwtHeader;
}

const listed = (name: string, one: Partial<Issuer> & Pick<Issuer, "keyFor">): Issuer => ({
  name,
  issuer: `https://${name}.example`,
  audience: name,
  userClaim: "sub",
  subjects: "uuid",
  ...one,
});
const several = [
  issuerOf(rules),
  listed("rsa", { keyFor: fixedKey(publicKey(pem(rsa.publicKey))) }),
  listed("ec", { keyFor: fixedKey(publicKey(pem(ec.publicKey))), userClaim: "uid" }),
];
const byAnyOf = claimed(several);
const by = (key: typeof rsa, claims: object) =>
  jwt.sign({ sub: ana, exp: NOW + 60, ...claims }, key.privateKey, { algorithm: key === rsa ? "RS256" : "ES256" });

const chosen: Array<[title: string, token: string, taken?: true]> = [
  ["the settings' issuer", token, true],
  ["one of the list", by(rsa, { iss: "https://rsa.example", aud: "rsa" }), true],
  ["another of the list, by its own claim", by(ec, { iss: "https://ec.example", aud: "ec", uid: ana }), true],
  ["another's user claim", by(rsa, { iss: "https://rsa.example", aud: "rsa", sub: "x", uid: ana })],
  ["another's audience", by(rsa, { iss: "https://rsa.example", aud: "ec" })],
  ["another issuer's key", by(ec, { iss: "https://rsa.example", aud: "rsa", uid: ana })],
  ["another issuer's key, the other way", by(rsa, { iss: "https://ec.example", aud: "ec", uid: ana })],
  ["the settings' secret for another", signed({ iss: "https://rsa.example", aud: "rsa" })],
  ["a listed key for the settings'", by(rsa, { iss: "https://id.example", aud: "keyrow" })],
  [
    "HS256 with the listed key's PEM",
    raw(HEADER, JSON.stringify({ ...good, iss: "https://rsa.example", aud: "rsa" }), pem(rsa.publicKey)),
  ],
  ["no issuer", by(rsa, { aud: "rsa" })],
  ["an issuer that nobody knows", by(rsa, { iss: "https://other.example", aud: "rsa" })],
  ["an issuer with a slash more", by(rsa, { iss: "https://rsa.example/", aud: "rsa" })],
  ["an issuer in capitals", by(rsa, { iss: "HTTPS://RSA.EXAMPLE", aud: "rsa" })],
  ["an issuer by its name", by(rsa, { iss: "rsa", aud: "rsa" })],
  ["an inherited name", by(rsa, { iss: "constructor", aud: "rsa" })],
  ["an issuer in a list", signed({ iss: ["https://rsa.example", "https://id.example"] })],
  ["an issuer that is a number", signed({ iss: 0 })],
  ["an issuer that is null", signed({ iss: null })],
  ["two issuers", twice("iss", '"https://rsa.example"', '"https://id.example"')],
];
for (const [title, one, isTaken] of chosen) {
  test(`of several issuers, ${isTaken ? "takes" : "refuses"} ${title}`, async (t) => {
    if (isTaken) t.is((await byAnyOf(bearer(one))).userId, ana);
    else await t.throwsAsync(byAnyOf(bearer(one)), { message: "A valid token is required." });
  });
}

test("a listed issuer's tokens are its own, where the settings take any other", async (t) => {
  const any = claimed([issuerOf({ ...rules, issuer: undefined }), ...several.slice(1)]);
  t.is((await any(bearer(signed({ iss: "https://other.example" })))).userId, ana);
  t.is((await any(bearer(by(rsa, { iss: "https://rsa.example", aud: "rsa" })))).userId, ana);
  await t.throwsAsync(any(bearer(signed({ iss: "https://rsa.example" }))), { message: "A valid token is required." });
});

const subjects: Array<[title: string, subject: string]> = [
  ["Auth0", "auth0|5f7c8ec7c33c6c004bbafe82"],
  ["Keycloak", "f:0ef6bd5c-1a0b-4e0e-9a3a-5f6f9f7a1b2c:ana"],
  ["GitHub Actions", "repo:acme/app:ref:refs/heads/main"],
  ["a user's id in capitals, which is another text", ana.toUpperCase()],
  ["255 letters", "x".repeat(255)],
];
const anybody = createVerifier([{ ...issuerOf(rules), subjects: "identities" }], now);
for (const [title, subject] of subjects) {
  test(`a subject that is no user's id is taken as it stands: ${title}`, async (t) => {
    t.is((await anybody(bearer(signed({ sub: subject })))).subject, subject);
  });
}
const noSubjects = ["", "x".repeat(256), "a\n", "a\u0000", "\ud800", 1, null, ["a"], { a: 1 }, undefined];
for (const subject of noSubjects) {
  test(`a subject is one text without controls, and never ${JSON.stringify(subject)?.slice(0, 20)}`, async (t) => {
    await t.throwsAsync(anybody(bearer(signed({ sub: subject }))), { message: "A valid token is required." });
  });
}

test("what a token says besides is told as texts, and what PostgreSQL can't store is left out", async (t) => {
  const { said } = await anybody(
    bearer(
      signed({
        sub: "x",
        ref: "refs/heads/main",
        run: 7,
        half_a_run: 7.5,
        beyond: 2 ** 53,
        pr: false,
        list: ["a"],
        none: null,
        half: "\ud800",
        nul: "\0",
        __proto__: 1,
      }),
    ),
  );
  t.deepEqual(said, {
    sub: "x",
    aud: "keyrow",
    iss: "https://id.example",
    exp: String(NOW + 60),
    ref: "refs/heads/main",
    run: "7",
    pr: "false",
  });
});

test("what a key source throws is no more than any other refusal, but for keys that may still come", async (t) => {
  const failing = (error: Error) =>
    createVerifier(
      [listed("x", { keyFor: () => Promise.reject(error) })],
      now,
    )(bearer(signed({ iss: "https://x.example" })));
  await t.throwsAsync(failing(new Error("secret")), { message: "A valid token is required." });
  await t.throwsAsync(failing(new KeyrowError("INTERNAL")), { message: "A valid token is required." });
  await t.throwsAsync(failing(new KeyrowError("UNAVAILABLE", { message: "later" })), { message: "later" });
});

test("the user's claim may be another, and is looked for on the token alone", async (t) => {
  const other = verifier({ ...rules, userClaim: "https://id.example/uid" });
  t.is((await other(bearer(signed({ sub: "auth0|1", "https://id.example/uid": ana })))).userId, ana);
  await t.throwsAsync(() => other(bearer(signed({}))), { message: "A valid token is required." });
  const inherited = verifier({ ...rules, userClaim: "constructor" });
  await t.throwsAsync(() => inherited(bearer(signed({}))), { message: "A valid token is required." });
});

test("without an issuer configured, any is taken", async (t) => {
  const any = verifier({ ...rules, issuer: undefined });
  t.is((await any(bearer(signed({ iss: "https://other.example" })))).userId, ana);
  t.is((await any(bearer(signed({ iss: undefined })))).userId, ana);
});

const people: Array<[title: string, claims: object, expected: object]> = [
  [
    "an address and a name pass",
    { email: "ana@example.com", email_verified: "true", name: "Ana Bell" },
    { email: "ana@example.com", name: "Ana Bell" },
  ],
  ["a name in any script passes", { name: "अना 🧑‍🚀" }, { name: "अना 🧑‍🚀" }],
  ["a verified address passes", { email: "a@b.c", email_verified: true }, { email: "a@b.c" }],
  ["an unverified address does not", { email: "a@b.c", email_verified: false }, {}],
  ["nor one that is unverified in words", { email: "a@b.c", email_verified: "false" }, {}],
  ["nor one of which the issuer says nothing", { email: "a@b.c" }, {}],
  ["nor one that is verified in a list", { email: "a@b.c", email_verified: ["true"] }, {}],
  ["nor one that is verified by a number", { email: "a@b.c", email_verified: 1 }, {}],
  ["what is no address does not", { email: "ana", email_verified: true, name: 5 }, {}],
  ["a list does not", { email: ["a@b.c"], email_verified: true, name: ["Ana"] }, {}],
  ["an address with a newline does not", { email: "a@b.c\n", email_verified: true, name: "Ana\u0000" }, {}],
  [
    "what is too long does not",
    { email: `${"a".repeat(64)}@${"b".repeat(190)}`, email_verified: true, name: "x".repeat(201) },
    {},
  ],
  ["half a surrogate pair does not", { name: "\ud800" }, {}],
  ["an empty name does not", { name: "", email: "", email_verified: true }, {}],
];
for (const [title, claims, expected] of people) {
  test(`of who somebody is, ${title}`, async (t) => {
    t.deepEqual(await verify(bearer(signed(claims))), { userId: ana, expiresAt: NOW + 60, ...expected });
  });
}

test("what the signer makes, the verifier takes", async (t) => {
  for (const userClaim of ["sub", "user_id"]) {
    for (const issuer of [undefined, "https://id.example"]) {
      const own = { ...rules, userClaim, issuer };
      const made = createSigner(own, now)({ userId: ana.toUpperCase(), expiresIn: 60, name: "Ana" });
      t.deepEqual(await verifier(own)(bearer(made)), { userId: ana, expiresAt: NOW + 60, name: "Ana" });
      const { jti, ...rest } = jwt.decode(made) as jwt.JwtPayload;
      t.regex(String(jti), /^[0-9a-f-]{36}$/);
      const iss = issuer === undefined ? {} : { iss: issuer };
      t.deepEqual(rest, { [userClaim]: ana, aud: "keyrow", ...iss, iat: NOW, exp: NOW + 60, name: "Ana" });
    }
  }
});

test("there is no signing with a public key, nor for nobody, nor for no time", (t) => {
  t.throws(() => createSigner({ ...rules, key: publicKey(pem(rsa.publicKey)) }), {
    message: /no secret to sign with/,
  });
  const sign = createSigner(rules, now);
  for (const request of [
    { userId: "ana", expiresIn: 60 },
    { userId: ana, expiresIn: 0 },
    { userId: ana, expiresIn: Number.POSITIVE_INFINITY },
  ]) {
    t.throws(() => sign(request), { message: "The request is not valid." });
  }
});

interface Group {
  comment: string;
  private: JsonWebKey & { alg?: string };
  public?: JsonWebKey;
  tests: Array<{ tcId: number; comment: string; jws: unknown; result: "valid" | "invalid" }>;
}

const wycheproof = JSON.parse(
  readFileSync(new URL("vectors/wycheproof-json_web_signature_test.json", import.meta.url), "utf8"),
) as { numberOfTests: number; testGroups: Group[] };

function vectorKey({ private: key, public: open }: Group): JwtKey | undefined {
  if (key.kty === "oct") return { algorithm: "HS256", key: createSecretKey(String(key.k), "base64url") };
  if (key.crv === "P-521") return undefined;
  return publicKey(pem(createPublicKey({ key: open ?? {}, format: "jwk" } as Parameters<typeof createPublicKey>[0])));
}

// Of what a JWK says beside the key (`use`, `key_ops`; 332: `alg`, against RS256) a PEM text says nothing: an RSA key
// that an operator sets is one for RS256 signatures.
const aboutJwks = [332, 353, 354, 355, 356];
// Called valid there because readers may skip letters that are not base64url. This one does not.
const lenient = [372, 373];
// Called invalid there, and the same text to the letter as 357, which is valid: their padding was lost.
const asValid = [367, 370];

test("Wycheproof's signatures are taken and refused as they should be", (t) => {
  let seen = 0;
  for (const group of wycheproof.testGroups) {
    const key = vectorKey(group);
    for (const { tcId, comment, jws, result } of group.tests) {
      seen += 1;
      if (aboutJwks.includes(tcId)) continue;
      const text = String(jws);
      // A payload without a byte holds no claims, and of the other algorithms none is taken.
      const ours = key !== undefined && group.private.alg === key.algorithm && text.split(".")[1] !== "";
      const valid = result === "valid" || asValid.includes(tcId);
      const expected = valid && ours && !lenient.includes(tcId);
      t.is(key !== undefined && accepts(text, key), expected, `${tcId} ${group.comment} ${comment}`);
    }
  }
  t.is(seen, wycheproof.numberOfTests);
});

function accepts(text: string, key: JwtKey): boolean {
  try {
    return verifyJws(text, key).length > 0;
  } catch {
    return false;
  }
}
