import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { isAbsolute, join, resolve } from "node:path";
import test from "ava";
import { type Config, type Environment, readConfig, wantsDetails } from "../src/config.ts";
import { KeyrowError } from "../src/errors.ts";

const secret = "an-example-of-a-secret-of-48-bytes-for-tests-only";
const pem = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const rsaPem = pem(rsa.publicKey);

function refusal(env: Environment, mode?: "embedded" | "server"): string {
  try {
    readConfig(env, mode);
  } catch (error) {
    if (error instanceof KeyrowError && error.code === "CONFIG_INVALID") return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

test("nothing set is embedded mode with its defaults", (t) => {
  const config = readConfig({});
  t.like(config, {
    mode: "embedded",
    port: 5678,
    host: "127.0.0.1",
    dataDirectory: resolve(".keyrow"),
    keyFile: { path: resolve(".keyrow/keys.json"), mayCreate: true, needed: true },
    allowMissingKeys: false,
    limits: {
      bodyBytes: 524_288,
      answerBytes: 16_777_216,
      document: { characters: 200_000, depth: 20, fields: 500, aliases: 50, cells: 200_000 },
      page: { standard: 100, most: 1_000 },
      reveals: 1_000,
      statementMs: 10_000,
      requestMs: 30_000,
      receiveMs: 10_000,
      requests: 400,
      requestsPerUser: 8,
      connections: 1_000,
      databaseConnections: 20,
    },
    introspection: true,
    corsOrigins: [],
    offlineWorkers: [],
    graphiql: true,
    demo: true,
    logLevel: "info",
    jwt: {
      key: undefined,
      audience: "keyrow",
      issuer: undefined,
      userClaim: "sub",
      provision: true,
      issuersFile: undefined,
    },
  });
});

// What a server needs besides a key for tokens.
const given = {
  DATABASE_URL: "postgres://keyrow_authenticator@localhost/app",
  KEYROW_KEY_FILE: "/etc/keyrow/keys.json",
};

test("a server provisions, demonstrates and shows GraphiQL only when told to", (t) => {
  const config = readConfig({ JWT_SECRET: secret, ...given }, "server");
  t.false(config.graphiql);
  t.false(config.demo);
  t.false(config.jwt.provision);
  t.false(config.keyFile.mayCreate);
});

test("the configuration is frozen, whole", (t) => {
  const config = readConfig({});
  t.true([config, config.jwt, config.keyFile].every(Object.isFrozen));
});

test("a secret never shows when the configuration is printed or serialized", async (t) => {
  const { inspect } = await import("node:util");
  const config = readConfig({ JWT_SECRET: secret });
  t.is(config.jwt.key?.algorithm, "HS256");
  t.notRegex(inspect(config, { depth: null, showHidden: true }) + JSON.stringify(config), /an-example/);
});

const accepted: Array<[title: string, env: Environment, get: (config: Config) => unknown, expected: unknown]> = [
  ["the usual setting of the user's id", {}, (it) => it.userSetting, "jwt.claims.user_id"],
  [
    "an application's setting of the user's id",
    { KEYROW_USER_SETTING: "app.user_id" },
    (it) => it.userSetting,
    "app.user_id",
  ],
  [
    "a setting of four words, as older PostgREST sets the user's id",
    { KEYROW_USER_SETTING: "request.jwt.claim.sub" },
    (it) => it.userSetting,
    "request.jwt.claim.sub",
  ],
  ["port 0, which is any free one", { PORT: "0" }, (it) => it.port, 0],
  ["the last port", { PORT: "65535" }, (it) => it.port, 65_535],
  ["an IPv6 address", { HOST: "::1" }, (it) => it.host, "::1"],
  ["a host name", { HOST: "localhost" }, (it) => it.host, "localhost"],
  ["a boolean in capitals", { KEYROW_DEMO: "OFF" }, (it) => it.demo, false],
  ["yes", { KEYROW_ALLOW_MISSING_KEYS: "yes" }, (it) => it.allowMissingKeys, true],
  ["1", { KEYROW_ALLOW_MISSING_KEYS: "1" }, (it) => it.allowMissingKeys, true],
  ["true", { KEYROW_ALLOW_MISSING_KEYS: "true" }, (it) => it.allowMissingKeys, true],
  ["no", { JWT_PROVISION: "no" }, (it) => it.jwt.provision, false],
  ["0", { JWT_PROVISION: "0" }, (it) => it.jwt.provision, false],
  ["false", { KEYROW_GRAPHIQL: "false" }, (it) => it.graphiql, false],
  ["silence", { LOG_LEVEL: "silent" }, (it) => it.logLevel, "silent"],
  ["a secret of 32 bytes", { JWT_SECRET: "x".repeat(32) }, (it) => it.jwt.key?.algorithm, "HS256"],
  ["16 letters of two bytes", { JWT_SECRET: "ä".repeat(16) }, (it) => it.jwt.key?.algorithm, "HS256"],
  ["an RSA key", { JWT_PUBLIC_KEY: rsaPem }, (it) => it.jwt.key?.algorithm, "RS256"],
  [
    "an RSA key with \\n",
    { JWT_PUBLIC_KEY: rsaPem.replaceAll("\n", "\\n") },
    (it) => it.jwt.key?.key.asymmetricKeyType,
    "rsa",
  ],
  ["a P-256 key", { JWT_PUBLIC_KEY: pem(ec.publicKey) }, (it) => it.jwt.key?.algorithm, "ES256"],
  ["an issuer that is a URL", { JWT_ISSUER: "https://id.example/" }, (it) => it.jwt.issuer, "https://id.example/"],
  [
    "a claim that is a URL",
    { JWT_USER_CLAIM: "https://id.example/uid" },
    (it) => it.jwt.userClaim,
    "https://id.example/uid",
  ],
  ["how long OpenBao may take", { KEYROW_TRANSIT_TIMEOUT: "100ms" }, (it) => it.transitTimeoutMs, 100],
  [
    "the same of one elsewhere",
    { BAO_ADDR: "https://b.example", BAO_TOKEN: "t", KEYROW_TRANSIT_TIMEOUT: "60s" },
    (it) => it.openBao?.timeoutMs,
    60_000,
  ],
  ["milliseconds", { KEYROW_STATEMENT_TIMEOUT: "500ms" }, (it) => it.limits.statementMs, 500],
  ["seconds", { KEYROW_RECEIVE_TIMEOUT: "5s" }, (it) => it.limits.receiveMs, 5_000],
  ["minutes", { KEYROW_REQUEST_TIMEOUT: "2m" }, (it) => it.limits.requestMs, 120_000],
  [
    "origins with a space after the comma",
    { CORS_ORIGINS: "https://app.example, http://localhost:5173" },
    (it) => it.corsOrigins.join(" "),
    "https://app.example http://localhost:5173",
  ],
  [
    "offline workers in capitals, with a space after the comma",
    {
      KEYROW_OFFLINE_WORKERS: "00000000-0000-4000-8000-0000000000AB, 00000000-0000-4000-8000-0000000000ac",
    },
    (it) => it.offlineWorkers.join(" "),
    "00000000-0000-4000-8000-0000000000ab 00000000-0000-4000-8000-0000000000ac",
  ],
  [
    "an address for DB admins",
    { ADMIN_DATABASE_URL: "postgres://alice@db/app" },
    (it) => it.adminDatabaseUrl,
    "postgres://alice@db/app",
  ],
  [
    "an address whose sslmode verifies, as pg does without saying so",
    { ADMIN_DATABASE_URL: "postgres://alice@db/app?a=1&sslmode=require&b=2" },
    (it) => it.adminDatabaseUrl,
    "postgres://alice@db/app?a=1&sslmode=verify-full&b=2",
  ],
  [
    "an address whose sslmode is libpq's",
    { ADMIN_DATABASE_URL: "postgres://alice@db/app?sslmode=require&uselibpqcompat=true" },
    (it) => it.adminDatabaseUrl,
    "postgres://alice@db/app?sslmode=require&uselibpqcompat=true",
  ],
  ["none for DB admins, whose database is then the embedded one", {}, (it) => it.adminDatabaseUrl, undefined],
  ["a setting of the tests", { KEYROW_TEST_ANYTHING: "x" }, (it) => it.port, 5678],
  ["settings of others", { PGHOST: "x", JWTSOMETHING: "x", KEYROWX: "x" }, (it) => it.port, 5678],
];
for (const [title, env, get, expected] of accepted) {
  test(`takes ${title}`, (t) => t.is(get(readConfig(env)), expected));
}

test("paths become absolute, and a key file that was named is never made", (t) => {
  const config = readConfig({ KEYROW_DATA_DIR: "some/where", KEYROW_KEY_FILE: "keys/mine.json" });
  t.true(isAbsolute(config.dataDirectory) && config.dataDirectory.endsWith(join("some", "where")));
  t.deepEqual(config.keyFile, { path: resolve("keys/mine.json"), mayCreate: false, needed: true });
});

// Malformed values are marked: none may come back in the message.
const mark = "hunter2";
const pems = {
  "an RSA key of 1024 bits": [pem(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey), /shorter than 2048/],
  "an RSA key with exponent 3": [
    pem(generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 }).publicKey),
    /exponent/,
  ],
  "an RSA-PSS key": [pem(generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).publicKey), /not supported/],
  "a P-384 key": [pem(generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey), /other than P-256/],
  "a secp256k1 key": [pem(generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey), /other than P-256/],
  "an Ed25519 key": [pem(generateKeyPairSync("ed25519").publicKey), /Ed25519/],
  "an X25519 key": [pem(generateKeyPairSync("x25519").publicKey), /not supported/],
  "a private key": [rsa.privateKey.export({ type: "pkcs8", format: "pem" }).toString(), /private key/],
  "an old private key": [rsa.privateKey.export({ type: "pkcs1", format: "pem" }).toString(), /private key/],
  "a private key after a public one": [
    rsaPem + rsa.privateKey.export({ type: "pkcs8", format: "pem" }),
    /more than one key/,
  ],
  "two keys": [rsaPem + pem(ec.publicKey), /more than one key/],
  "a certificate": [rsaPem.replaceAll("PUBLIC KEY", "CERTIFICATE"), /certificate/],
  "a damaged key": [rsaPem.replace("MII", "AAA"), /can't be read/],
  "a text": [mark, /not a PEM text/],
} satisfies Record<string, [string, RegExp]>;

const refused: Array<[title: string, env: Environment, expected: RegExp]> = [
  ["a port that is no number", { PORT: mark }, /^PORT: .*0 to 65535$/],
  ["port 65536", { PORT: "65536" }, /^PORT: it is out of range/],
  ["a negative port", { PORT: "-1" }, /^PORT: /],
  ["a port in hexadecimal", { PORT: "0x10" }, /^PORT: /],
  ["a port with a space", { PORT: " 80" }, /^PORT: /],
  ["offline workers by name", { KEYROW_OFFLINE_WORKERS: mark }, /^KEYROW_OFFLINE_WORKERS: .*give UUIDs of users/],
  [
    "an empty offline worker",
    { KEYROW_OFFLINE_WORKERS: "00000000-0000-4000-8000-0000000000ab," },
    /^KEYROW_OFFLINE_WORKERS: /,
  ],
  ["a user setting of one word", { KEYROW_USER_SETTING: mark }, /^KEYROW_USER_SETTING: .*app\.user_id$/],
  ["a user setting in capitals", { KEYROW_USER_SETTING: `app.${mark}_Id` }, /^KEYROW_USER_SETTING: /],
  ["a user setting that ends a statement", { KEYROW_USER_SETTING: `app.${mark}'` }, /^KEYROW_USER_SETTING: /],
  ["the claims as JSON", { KEYROW_USER_SETTING: "request.jwt.claims" }, /^KEYROW_USER_SETTING: .*of its own/],
  ["a host with a port", { HOST: `${mark}:80` }, /^HOST: .*without port/],
  ["a host with a scheme", { HOST: `http://${mark}` }, /^HOST: /],
  ["a directory with a newline", { KEYROW_DATA_DIR: `${mark}\n` }, /^KEYROW_DATA_DIR: it is not a path/],
  ["an empty key file", { KEYROW_KEY_FILE: "" }, /^KEYROW_KEY_FILE: it is set, but empty/],
  ["a secret of 31 bytes", { JWT_SECRET: mark.padEnd(31, "x") }, /^JWT_SECRET: it is shorter than 32 bytes; .*openssl/],
  ["an address of another kind", { ADMIN_DATABASE_URL: `http://${mark}@db/app` }, /^ADMIN_DATABASE_URL: .*PostgreSQL/],
  ["an address that names no database", { ADMIN_DATABASE_URL: `postgres://${mark}@db` }, /^ADMIN_DATABASE_URL: /],
  ["an empty secret", { JWT_SECRET: "" }, /^JWT_SECRET: it is set, but empty/],
  ["a public key as secret", { JWT_SECRET: rsaPem }, /^JWT_SECRET: this is a PEM text/],
  ["a secret that was no UTF-8", { JWT_SECRET: mark + "\ufffd".repeat(30) }, /^JWT_SECRET: it is not UTF-8/],
  ...Object.entries(pems).map(([title, [text, reason]]): [string, Environment, RegExp] => [
    `${title} as public key`,
    { JWT_PUBLIC_KEY: text },
    new RegExp(`^JWT_PUBLIC_KEY: .*${reason.source}.*PEM`),
  ]),
  ["an empty audience", { JWT_AUDIENCE: "" }, /^JWT_AUDIENCE: /],
  ["an audience with a space", { JWT_AUDIENCE: `${mark} x` }, /^JWT_AUDIENCE: /],
  ["Keyrow's own issuer", { JWT_ISSUER: "urn:keyrow" }, /^JWT_ISSUER: this is what Keyrow's own tokens have; /],
  ["an empty issuer, which would check nothing", { JWT_ISSUER: "" }, /^JWT_ISSUER: .*unset/],
  ["a user claim that is the expiry", { JWT_USER_CLAIM: "exp" }, /^JWT_USER_CLAIM: /],
  ["a boolean that is none", { JWT_PROVISION: mark }, /^JWT_PROVISION: .*on or off$/],
  ["2 for a boolean", { KEYROW_ALLOW_MISSING_KEYS: "2" }, /^KEYROW_ALLOW_MISSING_KEYS: /],
  ["GraphiQL as a path", { KEYROW_GRAPHIQL: `/${mark}` }, /^KEYROW_GRAPHIQL: /],
  ["an inherited name for a boolean", { KEYROW_DEMO: "constructor" }, /^KEYROW_DEMO: /],
  ["a level that is none", { LOG_LEVEL: mark }, /^LOG_LEVEL: .*silent$/],
  ["no reveals at all", { KEYROW_MAX_REVEALS: "0" }, /^KEYROW_MAX_REVEALS: /],
  ["a body of no bytes", { KEYROW_MAX_BODY: "0" }, /^KEYROW_MAX_BODY: it is out of range/],
  [
    "an answer that would be more than one text",
    { KEYROW_MAX_ANSWER: "67108865" },
    /^KEYROW_MAX_ANSWER: it is out of range/,
  ],
  ["a time without its unit", { KEYROW_REQUEST_TIMEOUT: "30" }, /^KEYROW_REQUEST_TIMEOUT: it is not a time/],
  ["too little time for OpenBao", { KEYROW_TRANSIT_TIMEOUT: "99ms" }, /^KEYROW_TRANSIT_TIMEOUT: it is out of range/],
  ["too much time for OpenBao", { KEYROW_TRANSIT_TIMEOUT: "61s" }, /^KEYROW_TRANSIT_TIMEOUT: it is out of range/],
  ["a time of days", { KEYROW_STATEMENT_TIMEOUT: "1d" }, /^KEYROW_STATEMENT_TIMEOUT: it is not a time/],
  ["no time at all", { KEYROW_RECEIVE_TIMEOUT: "0s" }, /^KEYROW_RECEIVE_TIMEOUT: it is out of range/],
  [
    "a page that is larger than a page may be",
    { KEYROW_PAGE_SIZE: "60", KEYROW_MAX_PAGE_SIZE: "50" },
    /^KEYROW_PAGE_SIZE: it is more than KEYROW_MAX_PAGE_SIZE/,
  ],
  [
    "a page that is larger than a document's cells may be",
    { KEYROW_PAGE_SIZE: "60", KEYROW_MAX_CELLS: "50" },
    /^KEYROW_PAGE_SIZE: it is more than KEYROW_MAX_CELLS/,
  ],
  ["GraphiQL without introspection", { KEYROW_INTROSPECTION: "off" }, /^KEYROW_INTROSPECTION: .*KEYROW_GRAPHIQL=off/],
  ["every origin", { CORS_ORIGINS: "*" }, /^CORS_ORIGINS: it is not a list of origins/],
  ["every origin of a domain", { CORS_ORIGINS: "https://*.example" }, /^CORS_ORIGINS: it is not a list of origins/],
  ["the origin null", { CORS_ORIGINS: "null" }, /^CORS_ORIGINS: /],
  ["an origin with a path", { CORS_ORIGINS: `https://${mark}.example/` }, /^CORS_ORIGINS: .*without a path/],
  ["an origin in capitals", { CORS_ORIGINS: "https://App.example" }, /^CORS_ORIGINS: /],
  ["an origin with its scheme's own port", { CORS_ORIGINS: "https://app.example:443" }, /^CORS_ORIGINS: /],
  ["a second origin that is none", { CORS_ORIGINS: `https://app.example,${mark}` }, /^CORS_ORIGINS: /],
  ["endless reveals", { KEYROW_MAX_REVEALS: "Infinity" }, /^KEYROW_MAX_REVEALS: /],
  ["a mistyped setting", { JWT_AUDIANCE: mark }, /^JWT_AUDIANCE: .*did you mean JWT_AUDIENCE\?$/],
  ["a prefix too many", { KEYROW_PORT: mark }, /^KEYROW_PORT: .*did you mean PORT\?$/],
  ["another prefix too many", { KEYROW_JWT_SECRET: mark }, /^KEYROW_JWT_SECRET: .*did you mean JWT_SECRET\?$/],
  ["a setting like no other", { KEYROW_ZZZZZZZZZZ: mark }, /^KEYROW_ZZZZZZZZZZ: .*unset it$/],
  ["a name that would steer a terminal", { "KEYROW_\u001b[31m": mark }, /^KEYROW_\?\?31m: /],
];
for (const [title, env, expected] of refused) {
  test(`refuses ${title}`, (t) => {
    const message = refusal(env);
    t.regex(message, expected);
    t.is(message.split("\n").length, 1);
    t.false(message.includes(mark));
    for (const line of rsaPem.split("\n").slice(1, 3)) t.false(message.includes(line));
  });
}

test("refuses a secret beside a public key", (t) => {
  t.regex(refusal({ JWT_SECRET: secret, JWT_PUBLIC_KEY: rsaPem }), /^JWT_SECRET, JWT_PUBLIC_KEY: both are set; unset/);
});

test("refuses a server without any key for tokens", (t) => {
  t.regex(refusal({ ...given }, "server"), /^JWT_SECRET, JWT_PUBLIC_KEY, JWT_ISSUERS: none is set; set one/);
});

test("a server's tokens may be those of listed issuers alone", (t) => {
  const { jwt } = readConfig({ ...given, JWT_ISSUERS: "etc/issuers.json" }, "server");
  t.is(jwt.key, undefined);
  t.is(jwt.issuersFile, resolve("etc/issuers.json"));
});

test("refuses a server without a database or a key file, each by name", (t) => {
  const told = refusal({ JWT_SECRET: secret }, "server");
  t.regex(told, /^DATABASE_URL: it is not set; /m);
  t.regex(told, /^KEYROW_KEY_FILE: it is not set; /m);
});

test("an address that is none of PostgreSQL's, or names no database, is refused and not repeated", (t) => {
  for (const address of ["http://u:s3cret@h/d", "s3cret", "postgres://u:s3cret@h", "postgres://u:s3cret@h/"]) {
    const told = refusal({ ...given, JWT_SECRET: secret, DATABASE_URL: address }, "server");
    t.regex(told, /^DATABASE_URL: /);
    t.notRegex(told, /s3cret/);
  }
});

test("names every problem at once, one line each", (t) => {
  const message = refusal({ PORT: "x", LOG_LEVEL: "x", JWT_SECRET: "x", KEYROW_X: "x", KEYROW_DEMO: "x" });
  t.deepEqual(
    message.split("\n").map((line) => line.split(":")[0]),
    ["PORT", "JWT_SECRET", "KEYROW_DEMO", "LOG_LEVEL", "KEYROW_X"],
  );
});

test("details are wanted at debug and trace, and a malformed level is no obstacle", (t) => {
  t.deepEqual(
    ["debug", "trace", "info", "x", undefined].map((LOG_LEVEL) => wantsDetails({ LOG_LEVEL })),
    [true, true, false, false, false],
  );
});
