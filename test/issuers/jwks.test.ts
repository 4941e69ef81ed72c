import { generateKeyPairSync } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import { KeyrowError } from "../../src/errors.ts";
import { createKeySet, type KeySet, type KeySetOptions } from "../../src/issuers/jwks.ts";
import { createLog, type Log } from "../../src/log.ts";
import { verifyJws } from "../../src/token.ts";
import { issue, type KeyServer, makeKey, startKeyServer } from "../helpers/issuer.ts";

const rsa = makeKey("RS256", { kid: "r1", use: "sig", alg: "RS256" });
const other = makeKey("RS256", { kid: "r2", use: "sig", alg: "RS256" });
const ec = makeKey("ES256", { kid: "e1" });

type Jwks = ReadonlyArray<Readonly<Record<string, unknown>>>;

/** A key set on a server of its own, with a clock that the test moves. */
async function open(t: ExecutionContext, keys: Jwks, options: Partial<KeySetOptions> = {}) {
  const server = await startKeyServer(...keys);
  t.teardown(() => server.close());
  let time = 0;
  const told: string[] = [];
  const set = createKeySet({
    name: "example",
    url: server.url,
    algorithms: ["RS256", "ES256"],
    log: createLog("silent"),
    onFetched: (name, outcome) => void told.push(`${name} ${outcome}`),
    now: () => time,
    ...options,
  });
  t.teardown(() => set.stop());
  const pass = (ms: number) => {
    time += ms;
  };
  return { server, set, told, pass };
}

const named = (key: typeof rsa) => ({ alg: key.algorithm, kid: key.jwk.kid });

/** Whether a token of this key verifies by what the set gives for its header. */
async function verifies(set: KeySet, key: typeof rsa, header: { alg: unknown; kid?: unknown } = named(key)) {
  const found = await set.keyFor(header);
  return verifyJws(issue(key, { sub: "x" }), found).length > 0;
}

async function refusal(set: KeySet, header: { alg?: unknown; kid?: unknown }): Promise<Error> {
  try {
    await set.keyFor(header);
  } catch (error) {
    return error as Error;
  }
  throw new Error("a key was found");
}

test("keys are fetched once, however many ask, and kept", async (t) => {
  const { server, set, told } = await open(t, [rsa.jwk, ec.jwk]);
  t.true((await Promise.all(Array.from({ length: 50 }, () => verifies(set, rsa)))).every(Boolean));
  t.true(await verifies(set, ec));
  t.is(server.asked(), 1);
  t.deepEqual(told, ["example fetched"]);
});

test("a kid that is not known makes one fetch, and then no other until the pause is over", async (t) => {
  const { server, set, pass } = await open(t, [rsa.jwk]);
  t.true(await verifies(set, rsa));
  server.serve(rsa.jwk, other.jwk);
  await refusal(set, named(other));
  t.is(server.asked(), 1, "within the pause");
  pass(10_000);
  t.true(await verifies(set, other));
  t.is(server.asked(), 2);
  const flood = Array.from({ length: 200 }, (_, index) => refusal(set, { alg: "RS256", kid: `x${index}` }));
  await Promise.all(flood);
  t.is(server.asked(), 2);
  pass(10_000);
  await Promise.all(Array.from({ length: 200 }, (_, index) => refusal(set, { alg: "RS256", kid: `y${index}` })));
  t.is(server.asked(), 3, "one fetch for a whole flood");
  t.true(await verifies(set, rsa), "and the keys that are known serve on");
});

const faults: Array<[title: string, fault: (server: KeyServer) => unknown]> = [
  ["does not answer at its address", (server) => server.close()],
  ["answers 500", (server) => server.answer((response) => response.writeHead(500).end("{}"))],
  [
    "sends the asker elsewhere",
    (server) => server.answer((response) => response.writeHead(302, { location: "/keys?elsewhere" }).end()),
  ],
  ["breaks off", (server) => server.answer((response) => void response.destroy())],
  [
    "breaks off in the middle",
    (server) => server.answer((response) => void response.write('{"keys":[', () => response.destroy())),
  ],
  ["answers no JSON", (server) => server.answer((response) => response.end("<html>"))],
  ["answers keys twice", (server) => server.answer((response) => response.end('{"keys":[],"keys":[]}'))],
  ["answers something else", (server) => server.answer((response) => response.end('{"error":"x"}'))],
  ["answers a list", (server) => server.answer((response) => response.end("[]"))],
  ["answers null", (server) => server.answer((response) => response.end("null"))],
  ["has no keys", (server) => server.serve()],
  ["has a key that is none", (server) => server.answer((response) => response.end('{"keys":[null]}'))],
  ["answers a megabyte", (server) => server.answer((response) => response.end(`{"keys":[${" ".repeat(1_000_000)}]}`))],
  ["has a thousand keys", (server) => server.serve(...Array.from({ length: 1_000 }, () => rsa.jwk))],
];
for (const [title, fault] of faults) {
  test(`the last good keys serve on where the issuer ${title}, and a new key comes when it is back`, async (t) => {
    const { server, set, told, pass } = await open(t, [rsa.jwk]);
    t.true(await verifies(set, rsa));
    await fault(server);
    pass(10_000);
    await refusal(set, named(other));
    t.true(await verifies(set, rsa));
    t.deepEqual(told, ["example fetched", "example failed"]);
    await refusal(set, named(other));
    t.is(told.length, 2, "a failed fetch has its pause as well");
  });
}

test("an issuer that is away before any key came is UNAVAILABLE, not the token's fault, and no key is said to serve on", async (t) => {
  const warnings: unknown[] = [];
  const log = {
    ...createLog("silent"),
    warn: (...args: unknown[]) => void warnings.push(args.at(-1)),
    info: () => undefined,
  };
  const { server, set, pass } = await open(t, [], { log: log as unknown as Log });
  server.answer((response) => response.writeHead(503).end());
  for (const attempt of [1, 2]) {
    const error = await refusal(set, named(rsa));
    t.true(error instanceof KeyrowError && error.code === "UNAVAILABLE", `attempt ${attempt}`);
  }
  t.is(server.asked(), 1);
  server.serve(rsa.jwk);
  pass(10_000);
  t.true(await verifies(set, rsa));
  server.answer((response) => response.writeHead(503).end());
  pass(10_000);
  await refusal(set, named(other));
  t.deepEqual(warnings, [
    "an issuer's keys could not be fetched; until they are, its tokens are refused",
    "an issuer's keys could not be fetched; the last ones serve on",
  ]);
});

test("an issuer that never answers is given up", async (t) => {
  const { server, set } = await open(t, [], { timeoutMs: 50 });
  server.answer(() => undefined);
  t.true((await refusal(set, named(rsa))) instanceof KeyrowError);
});

test("keys are fetched again from time to time, so that one which was taken back is gone", async (t) => {
  const { server, set, told } = await open(t, [rsa.jwk], { refreshMs: 5, pauseMs: 0 });
  const refreshed = async (times: number) => {
    while (told.length < times) await new Promise(setImmediate);
  };
  set.start();
  await refreshed(1);
  t.true(await verifies(set, rsa));
  server.serve(other.jwk);
  await refreshed(told.length + 2);
  await refusal(set, named(rsa));
  t.true(await verifies(set, other));
});

const small = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey.export({ format: "jwk" });
const exponent3 = generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 }).publicKey.export({
  format: "jwk",
});
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({ format: "jwk" });
const ed25519 = generateKeyPairSync("ed25519").publicKey.export({ format: "jwk" });
const { kid: _kid, use: _use, alg: _alg, ...bare } = rsa.jwk;

const found: Array<[title: string, keys: Jwks, header: { alg: string; kid?: string }]> = [
  ["the only key, where the token names none", [rsa.jwk], { alg: "RS256" }],
  ["the only key, where the set names none", [bare], { alg: "RS256" }],
  [
    "the one of its kind among others",
    [ec.jwk, p384, ed25519, { kty: "oct", k: "c2VjcmV0" }, rsa.jwk],
    { alg: "RS256" },
  ],
  ["the one that is for signatures", [{ ...other.jwk, use: "enc" }, rsa.jwk], { alg: "RS256" }],
  [
    "the one that is for verifying",
    [
      { ...other.jwk, key_ops: ["encrypt"] },
      { ...rsa.jwk, key_ops: ["verify"] },
    ],
    { alg: "RS256" },
  ],
  ["the one that may verify and sign", [{ ...rsa.jwk, key_ops: ["sign", "verify"] }], { alg: "RS256", kid: "r1" }],
  [
    "the one that is not private",
    [{ ...other.privateKey.export({ format: "jwk" }), kid: "r2" }, rsa.jwk],
    { alg: "RS256" },
  ],
  ["the one that is strong enough", [small, exponent3, { kty: "RSA", n: "!", e: "AQAB" }, rsa.jwk], { alg: "RS256" }],
  ["the one for the algorithm", [{ ...other.jwk, alg: "RS512" }, rsa.jwk], { alg: "RS256" }],
  [
    "a key beside one of another kind and the same kid",
    [{ ...ec.jwk, kid: "r1" }, rsa.jwk],
    { alg: "RS256", kid: "r1" },
  ],
  ["a key beside kinds that nobody knows", [{ kty: "XYZ", kid: "r1" }, rsa.jwk], { alg: "RS256", kid: "r1" }],
];
for (const [title, keys, header] of found) {
  test(`of a set of keys, takes ${title}`, async (t) => {
    const { set } = await open(t, keys);
    t.true(await verifies(set, rsa, header));
  });
}

const refused: Array<[title: string, keys: Jwks, header: { alg?: unknown; kid?: unknown }]> = [
  ["two keys with one kid", [rsa.jwk, { ...other.jwk, kid: "r1" }], { alg: "RS256", kid: "r1" }],
  ["one key twice", [rsa.jwk, rsa.jwk], { alg: "RS256", kid: "r1" }],
  ["two keys, where the token names none", [rsa.jwk, other.jwk], { alg: "RS256" }],
  ["a key for encryption", [{ ...rsa.jwk, use: "enc" }], { alg: "RS256", kid: "r1" }],
  ["a key for something else", [{ ...rsa.jwk, use: "" }], { alg: "RS256", kid: "r1" }],
  ["a key whose use is no text", [{ ...rsa.jwk, use: ["sig"] }], { alg: "RS256", kid: "r1" }],
  ["a key that may only sign", [{ ...rsa.jwk, key_ops: ["sign"] }], { alg: "RS256", kid: "r1" }],
  ["a key whose key_ops are no list", [{ ...rsa.jwk, key_ops: "verify" }], { alg: "RS256", kid: "r1" }],
  ["a key for another algorithm", [{ ...rsa.jwk, alg: "PS256" }], { alg: "RS256", kid: "r1" }],
  ["a key of another kind under the kid", [{ ...ec.jwk, kid: "r1" }], { alg: "RS256", kid: "r1" }],
  ["a secret under the kid", [{ kty: "oct", k: "c2VjcmV0", kid: "r1" }], { alg: "HS256", kid: "r1" }],
  ["an RSA key of 1024 bits", [{ ...small, kid: "r1" }], { alg: "RS256", kid: "r1" }],
  ["an RSA key with exponent 3", [{ ...exponent3, kid: "r1" }], { alg: "RS256", kid: "r1" }],
  ["a P-384 key", [{ ...p384, kid: "r1" }], { alg: "ES256", kid: "r1" }],
  ["an Ed25519 key", [{ ...ed25519, kid: "r1" }], { alg: "EdDSA", kid: "r1" }],
  ["a private key", [{ ...rsa.privateKey.export({ format: "jwk" }), kid: "r1" }], { alg: "RS256", kid: "r1" }],
  ["a key that can't be read", [{ kty: "RSA", n: "!", e: "AQAB", kid: "r1" }], { alg: "RS256", kid: "r1" }],
  ["a kid in other letters", [rsa.jwk], { alg: "RS256", kid: "R1" }],
  ["a kid that is a number", [{ ...rsa.jwk, kid: 1 }], { alg: "RS256", kid: 1 }],
  ["a kid that is null", [rsa.jwk], { alg: "RS256", kid: null }],
  ["a kid that is a list", [rsa.jwk], { alg: "RS256", kid: ["r1"] }],
  ["an empty kid", [rsa.jwk], { alg: "RS256", kid: "" }],
  ["a kid that is a path", [rsa.jwk], { alg: "RS256", kid: "../../dev/null" }],
  ["a kid that is SQL", [rsa.jwk], { alg: "RS256", kid: "r1' or '1'='1" }],
  ["a kid that is a property", [rsa.jwk], { alg: "RS256", kid: "__proto__" }],
  [
    "a kid of 256 letters, though there is one",
    [{ ...rsa.jwk, kid: "x".repeat(256) }],
    { alg: "RS256", kid: "x".repeat(256) },
  ],
  ["none", [rsa.jwk], { alg: "none", kid: "r1" }],
  ["HS256", [rsa.jwk], { alg: "HS256", kid: "r1" }],
  ["RS512", [bare], { alg: "RS512" }],
  ["no algorithm", [rsa.jwk], { kid: "r1" }],
  ["a list of algorithms", [rsa.jwk], { alg: ["RS256"], kid: "r1" }],
];
for (const [title, keys, header] of refused) {
  test(`of a set of keys, refuses ${title}`, async (t) => {
    const { set } = await open(t, keys);
    const error = await refusal(set, header);
    t.false(error instanceof KeyrowError, "it is the token's fault");
  });
}

test("an algorithm that the issuer is not said to use is refused, and asks for no key", async (t) => {
  const { server, set } = await open(t, [rsa.jwk, ec.jwk], { algorithms: ["ES256"] });
  await refusal(set, named(rsa));
  t.is(server.asked(), 0);
  t.true(await verifies(set, ec));
});
