import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import test from "ava";
import jwt from "jsonwebtoken";
import pg from "pg";
import { OWN_ISSUER } from "../../src/own-issuer.ts";
import { createLiveness, ownSigner } from "../../src/own-tokens.ts";
import { createSession } from "../../src/session.ts";
import { ownSigningKey, type SigningKey } from "../../src/signing-key.ts";
import type { Limit } from "../../src/token-limits.ts";
import { type Answer, asAdmin, makeUser, post, startTestServer, type TestServer } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";
import { forge } from "../reveal/credentials.ts";

// Tokens that are made with a token: what they may do, and that they end at once when they are revoked.

let folder: string;
let signingKey: SigningKey;
let server: TestServer;
/** Another server of the same database and key, and one that has no key. */
let another: TestServer;
let without: TestServer;
test.before(async () => {
  folder = await mkdtemp(`${tmpdir()}/keyrow-tokens-`);
  signingKey = await ownSigningKey(`${folder}/signing-key.pem`);
  server = await startTestServer({ signingKey });
  const shared = { ...server.database, drop: async () => undefined };
  another = await startTestServer({ signingKey, database: shared });
  without = await startTestServer({ database: shared });
});
test.after.always(async () => {
  await another?.stop();
  await without?.stop();
  await server?.stop();
  await rm(folder, { recursive: true, force: true });
});

const CREATE = `mutation ($input: CreateTokenInput!) { createToken(input: $input) {
  jwt token { id name parentId limits expiresAt revokedAt } } }`;
const REVOKE = "mutation ($id: UUID!) { revokeToken(input: { id: $id }) { token { id revokedAt } } }";
const TOKENS = "query { tokens { id name limits revokedAt } }";
const LIST = "query { userCredentials(first: 10) { nodes { provider value } } }";
const SET = `mutation ($provider: String!) { setUserCredential(input: { provider: $provider, name: "deploy", value: "v" }) {
  created } }`;

// biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
const ask = (token: string, query: string, variables?: object, on: TestServer = server): Promise<Answer<any>> =>
  post(on.url, token, { query, variables });

interface Made {
  readonly jwt: string;
  readonly id: string;
  readonly payload: jwt.JwtPayload;
}

/** Makes a token with another; throws where it is refused. */
async function make(token: string, input: object = {}): Promise<Made> {
  const { data, text } = await ask(token, CREATE, { input });
  if (!data?.createToken) throw new Error(text);
  const { jwt: made, token: recorded } = data.createToken;
  return { jwt: made, id: recorded.id, payload: jwt.decode(made) as jwt.JwtPayload };
}

/** Somebody with two credentials, and their full token. */
async function somebody(limits?: readonly Limit[]): Promise<{ user: string; full: string; token: string }> {
  const user = await makeUser(server.database);
  const full = server.token(user, { expiresIn: 7200 });
  for (const provider of ["github", "gitlab"]) {
    const { codes, text } = await ask(full, SET, { provider });
    if (codes.length > 0) throw new Error(text);
  }
  return { user, full, token: server.token(user, limits && { limits }) };
}

test("a token is made with a full one: once, for an hour, and it says its id alone", async (t) => {
  const { user, full } = await somebody();
  const answer = await ask(full, CREATE, { input: { credentials: ["github/*"], actions: ["REVEAL"] } });
  t.deepEqual(answer.codes, []);
  t.is(answer.headers.get("cache-control"), "no-store");
  const { jwt: made, token } = answer.data.createToken;
  t.like(token, {
    name: "token",
    parentId: null,
    limits: [{ actions: ["reveal"], credentials: ["github/*"] }],
    revokedAt: null,
  });
  const { header, payload } = jwt.decode(made, { complete: true }) as jwt.Jwt;
  t.deepEqual(header, { alg: "ES256", kid: signingKey.kid, typ: "keyrow+jwt" });
  const { iat = 0, exp = 0, ...claims } = payload as jwt.JwtPayload;
  t.deepEqual(claims, { sub: user, aud: "keyrow", iss: OWN_ISSUER, jti: token.id, keyrow: { token: token.id } });
  t.true(Math.abs(exp - iat - 3600) <= 1);
  t.is(Date.parse(token.expiresAt) >= exp * 1000, true);
  // Nowhere in the database.
  const { rows } = await asAdmin(server.database, "select t::text as row from keyrow.tokens t where id = $1", [
    token.id,
  ]);
  t.false(rows[0].row.includes(made.split(".")[2]));
  t.false(server.log().includes(made));

  t.deepEqual((await ask(made, LIST)).data.userCredentials.nodes, [{ provider: "github", value: "v" }]);
  t.deepEqual((await ask(made, SET, { provider: "github" })).codes, ["FORBIDDEN"]);
});

test("a token without limits of its own is a limited one: it reads no log and writes nothing but credentials", async (t) => {
  const { full } = await somebody();
  const { jwt: made } = await make(full);
  t.is((await ask(made, LIST)).data.userCredentials.nodes.length, 2);
  t.deepEqual((await ask(made, SET, { provider: "aws" })).codes, []);
  t.is((await ask(full, "query { activityLogs(first: 10) { totalCount } }")).data.activityLogs.totalCount > 0, true);
  t.is((await ask(made, "query { activityLogs(first: 10) { totalCount } }")).data.activityLogs.totalCount, 0);
});

test("a token is never good for longer than the one it is made with", async (t) => {
  const { user } = await somebody();
  const short = server.token(user, { expiresIn: 60 });
  const child = await make(short, { expiresIn: 86_400 });
  const ends = (jwt.decode(short) as jwt.JwtPayload).exp as number;
  t.is(child.payload.exp, ends);
  const grandchild = await make(child.jwt, { expiresIn: 86_400 });
  t.is(grandchild.payload.exp, ends);
});

test("a token is never wider than the one it is made with: all ancestors' limits hold", async (t) => {
  // The first token is an issuer's, with limits of its own.
  const { token } = await somebody([{ credentials: ["github/*"] }]);
  const child = await make(token, { credentials: ["*/*"], actions: ["READ", "REVEAL"] });
  t.deepEqual((await ask(child.jwt, LIST)).data.userCredentials.nodes, [{ provider: "github", value: "v" }]);
  const grandchild = await make(child.jwt, { credentials: ["*/*"], actions: ["WRITE", "REVEAL"] });
  t.deepEqual((await ask(grandchild.jwt, LIST)).data.userCredentials.nodes, [{ provider: "github", value: "v" }]);
  t.deepEqual((await ask(grandchild.jwt, SET, { provider: "github" })).codes, ["FORBIDDEN"]);
  const nothing = await make(grandchild.jwt, { credentials: ["gitlab/*"] });
  t.deepEqual((await ask(nothing.jwt, LIST)).data.userCredentials.nodes, []);
});

test("a token's limits are said with those of its ancestors: when it is made, in lists, and when it is revoked", async (t) => {
  const { full, token } = await somebody([{ credentials: ["github/*"] }]);
  const child = await make(token, { actions: ["READ", "REVEAL"] });
  const { data } = await ask(child.jwt, CREATE, { input: { credentials: ["*/*"] } });
  const grandchild = data.createToken.token;
  const limits = [{ credentials: ["*/*"] }, { actions: ["read", "reveal"] }, { credentials: ["github/*"] }];
  t.deepEqual(grandchild.limits, limits);
  for (const asking of [full, child.jwt, data.createToken.jwt]) {
    const { tokens } = (await ask(asking, TOKENS)).data;
    t.deepEqual(tokens.find(({ id }: { id: string }) => id === grandchild.id).limits, limits);
  }
  const revoked = await ask(full, REVOKE.replace("revokedAt", "limits"), { id: grandchild.id });
  t.deepEqual(revoked.data.revokeToken.token.limits, limits);
});

test("a revoked token and its descendants are refused at the next request, on every server", async (t) => {
  const { full } = await somebody();
  const parent = await make(full);
  const child = await make(parent.jwt);
  const grandchild = await make(child.jwt);
  const sibling = await make(full);
  const hello = "query { __typename }";
  for (const { jwt: made } of [parent, child, grandchild]) {
    for (const on of [server, another]) t.is((await ask(made, hello, {}, on)).status, 200);
  }
  const { data } = await ask(full, REVOKE, { id: child.id });
  t.is(data.revokeToken.token.id, child.id);
  t.truthy(data.revokeToken.token.revokedAt);
  for (const on of [server, another]) {
    for (const query of [hello, LIST, CREATE]) {
      for (const { jwt: made } of [child, grandchild]) {
        const refused = await ask(made, query, { input: {} }, on);
        t.is(refused.status, 401);
        t.deepEqual(refused.codes, ["UNAUTHENTICATED"]);
        t.regex(refused.headers.get("www-authenticate") ?? "", /^Bearer .*invalid_token/);
      }
    }
    t.is((await ask(parent.jwt, hello, {}, on)).status, 200);
    t.is((await ask(sibling.jwt, hello, {}, on)).status, 200);
  }
  t.is((await ask(full, hello)).status, 200);
  t.deepEqual((await ask(full, REVOKE, { id: child.id })).codes, [], "again");
});

test("a token that the database took for ended, and no longer does, is good again soon", async (t) => {
  const ana = await makeUser(server.database);
  const { jwt: token, id } = await make(server.token(ana));
  const setRevoked = (value: "now()" | "null") =>
    forge(server.database, `update keyrow.tokens set revoked_at = ${value} where id = $1`, [id]);
  await setRevoked("now()");
  t.is((await ask(token, LIST)).status, 401);
  await setRevoked("null");
  await until(async () => (await ask(token, LIST)).status === 200);
  t.pass();
});

test("a database that lets nobody in ends no token", async (t) => {
  const refusal = Object.assign(new pg.DatabaseError("not now", 7, "error"), { code: "28000", severity: "FATAL" });
  const pool = { options: { max: 4 }, connect: () => Promise.reject(refusal) } as unknown as pg.Pool;
  const { check, refuseEnded } = createLiveness(pool, createSession({ statementMs: 1_000 }));
  const claims = { userId: randomUUID(), expiresAt: 0, limits: [{ token: randomUUID() }] };
  await t.throwsAsync(check(claims, "request"), { code: "28000" });
  t.notThrows(() => refuseEnded(claims));
});

test("a revoked token is refused before its body is there, and holds no turn of its user's", async (t) => {
  const { full } = await somebody();
  const made = await make(full);
  await ask(full, REVOKE, { id: made.id });
  const { port, hostname } = new URL(server.url);
  const head = ["POST /graphql HTTP/1.1", "host: a", "content-type: application/json", "content-length: 100"];
  // More than one user may have under way, each waiting for a body that does not come.
  const floods = Array.from({ length: 70 }, async () => {
    const socket = connect(Number(port), hostname);
    t.teardown(() => socket.destroy());
    socket.write(`${[...head, `authorization: Bearer ${made.jwt}`].join("\r\n")}\r\n\r\n{`);
    return String((await once(socket, "data"))[0]).slice(0, 13);
  });
  const answers = new Set(await Promise.all(floods));
  answers.delete("HTTP/1.1 429 ");
  t.deepEqual([...answers], ["HTTP/1.1 401 "]);
  t.is((await ask(full, "query { __typename }")).status, 200);
  // It is known here by now.
  const again = await Promise.all(Array.from({ length: 70 }, () => ask(made.jwt, "query { __typename }")));
  t.true(again.every(({ status }) => status === 401));
});

test("tokens are listed for their user, and to a limited token itself and what was made with it", async (t) => {
  const { full } = await somebody();
  const first = await make(full, { name: "first" });
  const inside = await make(first.jwt, { name: "inside" });
  const other = await make(full, { name: "other" });
  const names = async (token: string) =>
    (await ask(token, TOKENS)).data.tokens.map(({ name }: { name: string }) => name).toSorted();
  t.deepEqual(await names(full), ["first", "inside", "other"]);
  t.deepEqual(await names(first.jwt), ["first", "inside"]);
  t.deepEqual(await names(inside.jwt), ["inside"]);
  t.deepEqual(await names((await somebody()).full), []);
  // What one does not see, one does not revoke.
  t.deepEqual((await ask(first.jwt, REVOKE, { id: other.id })).codes, ["NOT_FOUND"]);
  t.deepEqual((await ask((await somebody()).full, REVOKE, { id: other.id })).codes, ["NOT_FOUND"]);
  t.deepEqual((await ask(inside.jwt, REVOKE, { id: inside.id })).codes, []);
  t.is((await ask(inside.jwt, TOKENS)).status, 401);
});

test("making and revoking a token is on the record, for its user to see", async (t) => {
  const { full } = await somebody();
  const { id } = await make(full, { name: "ci" });
  await ask(full, REVOKE, { id });
  const { data } = await ask(
    full,
    "query ($id: UUID!) { activityLogs(first: 5, filter: { entityId: { equalTo: $id } }) { nodes { action details } } }",
    { id },
  );
  const [revoked, created] = data.activityLogs.nodes;
  t.is(revoked.action, "CREDENTIAL_REVOKED");
  t.is(created.action, "CREDENTIAL_CREATED");
  t.like(created.details, { token: true, name: "ci" });
});

test("a server without a signing key makes no token and says which setting it lacks; those of others are none to it", async (t) => {
  const { full, user } = await somebody();
  const { jwt: made } = await make(full);
  // Another server's secret is another.
  const there = without.token(user);
  const refused = await ask(there, CREATE, { input: {} }, without);
  t.deepEqual(refused.codes, ["NO_SIGNING_KEY"]);
  t.regex(refused.errors[0]?.extensions.hint ?? "", /KEYROW_SIGNING_KEY_FILE/);
  t.is((await ask(there, TOKENS, {}, without)).data.tokens.length, 1);
  t.is((await ask(made, LIST, {}, without)).status, 401);
});

test("neither key is taken for the other, and a token for no other kind", async (t) => {
  const { user, full } = await somebody();
  const { jwt: made, id, payload } = await make(full);
  const sign = (claims: object, key: jwt.Secret | jwt.PrivateKey, options: jwt.SignOptions) =>
    jwt.sign(claims, key, options);
  const header = { alg: "ES256", kid: signingKey.kid, typ: "keyrow+jwt" };
  const stranger = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const good = sign(payload, signingKey.privateKey, { algorithm: "ES256", header });
  t.is((await ask(good, LIST)).status, 200);
  const { iss: _iss, ...unnamed } = payload;
  const forged: Record<string, string> = {
    "the issuer's secret under this issuer's name": sign(payload, server.secret, { algorithm: "HS256" }),
    "this key as a secret": sign(payload, signingKey.publicKey.export({ type: "spki", format: "pem" }), {
      algorithm: "HS256",
      header: { ...header, alg: "HS256" },
    }),
    "another key": sign(payload, stranger, { algorithm: "ES256", header }),
    "this key under the issuer's name": sign(unnamed, signingKey.privateKey, { algorithm: "ES256", header }),
    "another kid": sign(payload, signingKey.privateKey, { algorithm: "ES256", header: { ...header, kid: "x" } }),
    "no kid": sign(payload, signingKey.privateKey, { algorithm: "ES256", header: { alg: "ES256", typ: "keyrow+jwt" } }),
    "another type": sign(payload, signingKey.privateKey, { algorithm: "ES256", header: { ...header, typ: "JWT" } }),
    "another audience": sign({ ...payload, aud: "others" }, signingKey.privateKey, { algorithm: "ES256", header }),
    "a changed letter": `${made.slice(0, -2)}${made.at(-2) === "A" ? "B" : "A"}${made.slice(-1)}`,
    "an id that is unknown": ownSigner(signingKey, "keyrow")({ id: user, userId: user, expiresAt: new Date(2e12) }),
  };
  for (const [what, token] of Object.entries(forged)) t.is((await ask(token, LIST)).status, 401, what);

  // An issuer that says such an id says no more than that: it holds for its user alone, and ends as the token does.
  const { full: theirs, user: other } = await somebody();
  const claiming = (who: string) => server.token(who, { limits: [{ token: id }] });
  t.is((await ask(claiming(user), LIST)).status, 200);
  t.is((await ask(claiming(other), LIST)).status, 401);
  t.is((await ask(theirs, LIST)).status, 200);
  await ask(full, REVOKE, { id });
  t.is((await ask(claiming(user), LIST)).status, 401);
});

const refusals: ReadonlyArray<[what: string, input: object, code: string]> = [
  ["a pattern without a slash", { credentials: ["github"] }, "VALIDATION"],
  ["an empty pattern", { credentials: [""] }, "VALIDATION"],
  ["more patterns than are read", { credentials: Array(101).fill("a/b") }, "VALIDATION"],
  ["no time at all", { expiresIn: 0 }, "VALIDATION"],
  ["less than none", { expiresIn: -1 }, "VALIDATION"],
  ["more than a year", { expiresIn: 366 * 86_400 }, "VALIDATION"],
  ["an empty name", { name: "" }, "VALIDATION"],
  ["a long name", { name: "x".repeat(101) }, "VALIDATION"],
  ["an unknown action", { actions: ["DELETE"] }, "VALIDATION"],
  ["a workspace that is no UUID", { workspaceId: "team" }, "VALIDATION"],
];
for (const [what, input, code] of refusals) {
  test(`no token is made of ${what}`, async (t) => {
    const { full } = await somebody();
    t.deepEqual((await ask(full, CREATE, { input })).codes, [code]);
    t.deepEqual((await ask(full, TOKENS)).data.tokens, []);
  });
}

test("an empty list allows nothing, and is no lack of limits", async (t) => {
  const { full } = await somebody();
  for (const input of [{ credentials: [] }, { actions: [] }]) {
    const { jwt: made } = await make(full, input);
    t.deepEqual((await ask(made, LIST)).data.userCredentials.nodes, []);
  }
});

test("the key that a server makes for itself is one file, of its owner alone", async (t) => {
  const path = `${folder}/own.pem`;
  const [one, two] = await Promise.all([ownSigningKey(path), ownSigningKey(path)]);
  t.is(one.kid, two.kid);
  t.is((await stat(path)).mode & 0o777, 0o600);
});
