import { createHmac, createPublicKey, randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { createMetrics } from "../../src/metrics.ts";
import { issue, makeKey, startKeyServer } from "../helpers/issuer.ts";
import { makeUser, post, startTestServer, type TestServer } from "../helpers/server.ts";

const rsa = makeKey("RS256", { kid: "r1", use: "sig", alg: "RS256" });
const ec = makeKey("ES256", { kid: "e1", use: "sig" });
const stranger = makeKey("RS256", { kid: "r1", use: "sig", alg: "RS256" });

const keys = await startKeyServer(rsa.jwk);
const others = await startKeyServer(ec.jwk);
// Never answers: a server must start all the same.
const away = await startKeyServer();
away.answer(() => undefined);
const evil = await startKeyServer(stranger.jwk);

const directory = mkdtempSync(join(tmpdir(), "keyrow-issuers-"));
const path = join(directory, "issuers.json");
const issuer = (name: string, url: URL) => ({
  name,
  issuer: `https://${name}.example/`,
  jwks: url.href,
  audience: "keyrow",
  subjects: "uuid",
});
writeFileSync(
  path,
  JSON.stringify([issuer("first", keys.url), issuer("second", others.url), issuer("away", away.url)]),
);

let server: TestServer;
let ana: string;
test.before(async () => {
  const env = { JWT_ISSUERS: path, JWT_ISSUER: "https://own.example" };
  server = await startTestServer({ env, metrics: createMetrics() });
  ana = await makeUser(server.database, "Ana");
});
test.after.always(async () => {
  await server.stop();
  await Promise.all([keys, others, away, evil].map((one) => one.close()));
  rmSync(directory, { recursive: true });
});

const claims = (more: object = {}) => ({
  iss: "https://first.example/",
  sub: ana,
  aud: "keyrow",
  exp: Math.floor(Date.now() / 1_000) + 60,
  ...more,
});
const r1 = { kid: "r1" };
const ask = (token: string) => post(server.url, token, { query: "{ users { nodes { name } } }" });

const encode = (text: string) => Buffer.from(text).toString("base64url");
const raw = (header: object, payload: string, signature: string) =>
  `${encode(JSON.stringify(header))}.${encode(payload)}.${signature}`;
const hmac = (header: object, payload: string, key: string) => {
  const [head, body] = raw(header, payload, "").split(".");
  return `${head}.${body}.${createHmac("sha256", key).update(`${head}.${body}`).digest("base64url")}`;
};
const pem = createPublicKey(rsa.privateKey).export({ type: "spki", format: "pem" }).toString();

test("tokens of several issuers, and of the settings, are taken beside each other", async (t) => {
  for (const token of [
    issue(rsa, claims(), r1),
    issue(rsa, claims()),
    issue(ec, claims({ iss: "https://second.example/" }), { kid: "e1" }),
    server.token(ana),
  ]) {
    t.deepEqual((await ask(token)).data, { users: { nodes: [{ name: "Ana" }] } });
  }
});

const hostile: Array<[title: string, token: () => string]> = [
  ["alg none", () => raw({ alg: "none", ...r1 }, JSON.stringify(claims()), "")],
  ["alg none with a signature", () => raw({ alg: "none", ...r1 }, JSON.stringify(claims()), "AAAA")],
  ["HS256 with the public key as secret", () => hmac({ alg: "HS256", ...r1 }, JSON.stringify(claims()), pem)],
  ["a key of somebody else under the kid", () => issue(stranger, claims(), r1)],
  ["another issuer's key", () => issue(ec, claims(), { kid: "e1" })],
  ["another issuer's key under this one's kid", () => issue(ec, claims(), r1)],
  ["this issuer's key for another", () => issue(rsa, claims({ iss: "https://second.example/" }), r1)],
  ["this issuer's key for the settings'", () => issue(rsa, claims({ iss: "https://own.example" }), r1)],
  ["a key in the header", () => issue(stranger, claims(), { jwk: stranger.jwk })],
  ["an address of keys in the header", () => issue(stranger, claims(), { ...r1, jku: evil.url.href })],
  ["an address of certificates in the header", () => issue(stranger, claims(), { ...r1, x5u: evil.url.href })],
  ["a certificate in the header", () => issue(stranger, claims(), { ...r1, x5c: ["AAAA"] })],
  ["crit", () => issue(rsa, claims(), { ...r1, crit: ["exp"] })],
  ["a kid that is a number", () => issue(rsa, claims(), { kid: 1 })],
  ["a kid that is a path", () => issue(rsa, claims(), { kid: "../../../../dev/null" })],
  ["a kid that is SQL", () => issue(rsa, claims(), { kid: "r1'; drop table users; --" })],
  ["a kid that is an address", () => issue(rsa, claims(), { kid: evil.url.href })],
  ["a kid of 5 kB", () => issue(rsa, claims(), { kid: "x".repeat(5_000) })],
  ["an unknown kid", () => issue(rsa, claims(), { kid: "r2" })],
  ["no expiry", () => issue(rsa, claims({ exp: undefined }), r1)],
  ["an expiry that is a text", () => issue(rsa, claims({ exp: "4102444800" }), r1)],
  ["an expiry that is over", () => issue(rsa, claims({ exp: 1_000_000_000 }), r1)],
  ["no audience", () => issue(rsa, claims({ aud: undefined }), r1)],
  ["another audience", () => issue(rsa, claims({ aud: "other" }), r1)],
  ["no issuer", () => issue(rsa, claims({ iss: undefined }), r1)],
  ["an issuer without its slash", () => issue(rsa, claims({ iss: "https://first.example" }), r1)],
  ["an issuer in a list", () => issue(rsa, claims({ iss: ["https://first.example/"] }), r1)],
  ["a user that is a number", () => issue(rsa, claims({ sub: 1 }), r1)],
  ["a user that is no UUID", () => issue(rsa, claims({ sub: "auth0|5f7c8ec7c33c6c004bbafe82" }), r1)],
  ["a claim of 100 kB", () => issue(rsa, claims({ pad: "x".repeat(100_000) }), r1)],
  ["a claim twice", () => issue(rsa, JSON.stringify(claims()).replace("{", `{"sub":"${randomUUID()}",`), r1)],
];
for (const [title, token] of hostile) {
  test(`${title} is 401`, async (t) => {
    const answer = await ask(token());
    t.is(answer.status, 401);
    t.is(answer.headers.get("www-authenticate"), 'Bearer realm="keyrow", error="invalid_token"');
    t.deepEqual(answer.codes, ["UNAUTHENTICATED"]);
    t.is(evil.asked(), 0, "no address of a token's own is asked");
  });
}

test("a token of an issuer whose keys never came is 503 with Retry-After, for it may be good", async (t) => {
  await away.close();
  const answer = await ask(issue(rsa, claims({ iss: "https://away.example/" }), r1));
  t.is(answer.status, 503);
  t.is(answer.headers.get("retry-after"), "1");
  t.deepEqual(answer.codes, ["UNAVAILABLE"]);
});

test("the issuers' keys are in the metrics, by the names of the file", async (t) => {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  t.regex(text, /^keyrow_issuer_keys_total\{issuer="first",outcome="fetched"\} 1$/m);
  t.regex(text, /^keyrow_issuer_keys_fetched_timestamp_seconds\{issuer="second"\} \d/m);
  t.notRegex(text, /first\.example/);
});
