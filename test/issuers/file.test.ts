import { generateKeyPairSync } from "node:crypto";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { KeyrowError } from "../../src/errors.ts";
import { listedIssuers, readIssuers } from "../../src/issuers/file.ts";

const directory = mkdtempSync(join(tmpdir(), "keyrow-issuers-"));
test.after.always(() => rmSync(directory, { recursive: true }));

// Malformed values are marked: none may come back in a message.
const mark = "hunter2";
const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
const file = (name: string, text: string | Buffer, mode = 0o600) => {
  const path = join(directory, name);
  writeFileSync(path, text, { mode });
  chmodSync(path, mode);
  return path;
};
let files = 0;
const read = (content: unknown) =>
  readIssuers(file(`${++files}.json`, typeof content === "string" ? content : JSON.stringify(content)));

file("key.pem", pem);
file("secret", `${"s".repeat(32)}\n`);
file("open", "s".repeat(32), 0o644);
file("short", mark);

const good = { name: "example", issuer: "https://id.example/", audience: "keyrow", subjects: "uuid" };
const remote = { ...good, jwks: "https://id.example/keys" };

test("an issuer has its keys at an address, or one of its own", (t) => {
  const [keys, inline, byFile, secret] = read([
    remote,
    { ...good, name: "b", issuer: "b", publicKey: pem, userClaim: "https://id.example/uid" },
    { ...good, name: "c", issuer: "c", publicKeyFile: "key.pem" },
    { ...good, name: "d", issuer: "d", secretFile: join(directory, "secret") },
  ]);
  t.deepEqual(keys, {
    ...good,
    subjects: "uuid",
    userClaim: "sub",
    keys: { jwks: new URL("https://id.example/keys"), algorithms: ["RS256", "ES256"] },
  });
  t.is(inline?.userClaim, "https://id.example/uid");
  const algorithms = [inline, byFile, secret].map((one) => one && "algorithm" in one.keys && one.keys.algorithm);
  t.deepEqual(algorithms, ["ES256", "ES256", "HS256"]);
});

for (const host of ["127.0.0.1:8080", "[::1]", "localhost"]) {
  test(`keys may come by http from ${host}, which is this machine`, (t) => {
    t.is(read([{ ...good, jwks: `http://${host}/keys` }]).length, 1);
  });
}

const refused: Array<[title: string, content: unknown, expected: RegExp]> = [
  ["no JSON", mark, /^JWT_ISSUERS: This is not JSON\.$/],
  ["one issuer that is not in a list", remote, /^JWT_ISSUERS: The file is not a list of issuers\.$/],
  ["an empty list", [], /not a list of issuers/],
  ["a hundred and one", Array.from({ length: 101 }, () => remote), /more than 100/],
  ["a field twice", `[{"name":"${mark}","name":"b"}]`, /A key stands twice/],
  ["an issuer that is a text", [mark], /^JWT_ISSUERS: issuer 1: it is not an object/],
  [
    "a field that is mistyped",
    [{ ...remote, audiance: mark }],
    /^JWT_ISSUERS: issuer 1: audiance: .*did you mean audience\?$/,
  ],
  [
    "a field that would steer a terminal",
    [{ ...remote, "\u001b[31m": 1 }],
    /issuer 1: \?\?31m: there is no such field; remove it$/,
  ],
  ["no name", [{ ...remote, name: undefined }], /issuer 1: name: it is missing; /],
  ["a name in capitals", [{ ...remote, name: mark.toUpperCase() }], /issuer 1: name: .*github$/],
  ["no issuer", [{ ...remote, issuer: undefined }], /issuer 1: issuer: it is missing/],
  ["an issuer with a space", [{ ...remote, issuer: `${mark} x` }], /issuer 1: issuer: /],
  ["Keyrow itself", [{ ...remote, issuer: "urn:keyrow" }], /issuer 1: issuer: this is what Keyrow's own tokens have/],
  ["no audience", [{ ...remote, audience: undefined }], /issuer 1: audience: it is missing/],
  ["audiences", [{ ...remote, audience: [mark] }], /issuer 1: audience: /],
  ["no keys", [good], /issuer 1: jwks, publicKey, publicKeyFile, secretFile: none is given; give exactly one$/],
  ["two kinds of keys", [{ ...remote, publicKey: pem }], /issuer 1: .*more than one is given/],
  [
    "keys over http from elsewhere",
    [{ ...good, jwks: `http://${mark}.example/keys` }],
    /jwks: it is http, and not on this machine; .*https/,
  ],
  [
    "keys over http from a name that begins so",
    [{ ...good, jwks: `http://localhost.${mark}.example/` }],
    /jwks: it is http/,
  ],
  ["keys from a file's address", [{ ...good, jwks: `file:///etc/${mark}` }], /jwks: it is not an address/],
  [
    "an address with a password",
    [{ ...good, jwks: `https://u:${mark}@id.example/` }],
    /jwks: it is more than an address/,
  ],
  ["no algorithm", [{ ...remote, algorithms: [] }], /algorithms: it is empty/],
  ["the algorithm none", [{ ...remote, algorithms: ["none"] }], /algorithms: it names an algorithm that is not taken/],
  ["HS256 with a set of keys", [{ ...remote, algorithms: ["RS256", "HS256"] }], /algorithms: it names an algorithm/],
  [
    "algorithms for one key",
    [{ ...good, publicKey: pem, algorithms: ["ES256"] }],
    /algorithms: a key has its one algorithm/,
  ],
  ["a key that is none", [{ ...good, publicKey: mark }], /publicKey: this is not a PEM text; /],
  [
    "a key's file that is not there",
    [{ ...good, publicKeyFile: `${mark}.pem` }],
    /publicKeyFile: the file does not exist; /,
  ],
  ["a key's file with something else", [{ ...good, publicKeyFile: "secret" }], /publicKeyFile: this is not a PEM text/],
  [
    "a secret that others may read",
    [{ ...good, secretFile: "open" }],
    /secretFile: others may read the file: run chmod 600/,
  ],
  ["a short secret", [{ ...good, secretFile: "short" }], /secretFile: it is shorter than 32 bytes/],
  ["the expiry as user", [{ ...remote, userClaim: "exp" }], /userClaim: this claim has a meaning of its own/],
  ["subjects of no kind", [{ ...remote, subjects: mark }], /subjects: it is none of the ways there are; /],
  [
    "one name twice",
    [remote, { ...remote, issuer: "b" }],
    /^JWT_ISSUERS: name: two issuers have the same; remove one$/,
  ],
  [
    "one issuer twice",
    [remote, { ...remote, name: "b" }],
    /^JWT_ISSUERS: issuer: two issuers have the same; remove one$/,
  ],
];
for (const [title, content, expected] of refused) {
  test(`refuses ${title}`, (t) => {
    const error = t.throws(() => read(content), { instanceOf: KeyrowError, message: expected });
    t.is(error?.code, "CONFIG_INVALID");
    t.false(`${error?.message} ${error?.hint}`.includes(mark));
  });
}

test("names every problem at once, one line each", (t) => {
  const error = t.throws(() =>
    read([
      { ...remote, name: "", audience: 1 },
      { ...good, name: "b", subjects: 1 },
    ]),
  );
  t.deepEqual(
    error?.message.split("\n").map((line) => line.split(":").slice(1, 3).join(":").trim()),
    ["issuer 1: name", "issuer 1: audience", "issuer 2: subjects"],
  );
});

test("refuses a file that is not there, and one that is no UTF-8", (t) => {
  t.throws(() => readIssuers(join(directory, "none.json")), { message: "JWT_ISSUERS: The file does not exist." });
  t.throws(() => readIssuers(directory), { message: /^JWT_ISSUERS: The file can't be read \(EISDIR\)\.$/ });
  t.throws(() => readIssuers(file("latin.json", Buffer.from([0x5b, 0xff, 0x5d]))), { message: /not UTF-8/ });
});

test("an issuer is in the settings or in the file, not in both", (t) => {
  const issuersFile = file("both.json", JSON.stringify([remote]));
  t.is(listedIssuers({ issuersFile, issuer: undefined }).length, 1);
  t.is(listedIssuers({ issuersFile, issuer: "https://id.example" }).length, 1);
  t.throws(() => listedIssuers({ issuersFile, issuer: "https://id.example/" }), { message: /both have one issuer/ });
  t.deepEqual(listedIssuers({ issuersFile: undefined, issuer: "x" }), []);
});
