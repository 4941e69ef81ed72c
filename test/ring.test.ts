import { join } from "node:path";
import test from "ava";
import { addKey, createKeyFile } from "../src/cipher/keyfile.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { createRing } from "../src/ring.ts";
import { localKey } from "./cipher/contract.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { collectLog } from "./helpers/log.ts";

const place = { mount: "transit", key: "keyrow" };

for (const [address, warned] of [
  ["http://127.0.0.1:8200", false],
  ["http://localhost:8200", false],
  ["http://[::1]:8200", false],
  ["https://openbao.example.com", false],
  ["unix:///run/openbao.sock", false],
  ["http://openbao.example.com:8200", true],
  ["http://10.0.0.7:8200", true],
] as const) {
  test(`an OpenBao at ${address} ${warned ? "is warned of" : "needs no warning"}`, async (t) => {
    const { log, lines } = collectLog();
    const access = { address, login: { token: "t" }, caFile: undefined, namespace: undefined };
    const ring = createRing({ localKeys: [], openBao: { access, place }, fallback: "local", log });
    t.is(lines().filter(({ level, msg }) => level === "warn" && /use https/.test(String(msg))).length, warned ? 1 : 0);
    await ring.close();
  });
}

test("a ring of no key at all is refused", (t) => {
  const { log } = collectLog();
  t.throws(() => createRing({ localKeys: [], fallback: "local", log }), { code: "KEY_MISSING" });
});

test("with OpenBao, its key seals, and without a local one nothing falls back", async (t) => {
  const { log } = collectLog();
  const access = { address: "http://127.0.0.1:9", login: { token: "t" }, caFile: undefined, namespace: undefined };
  const item = { context: ["a"], value: "value" };
  for (const [localKeys, fallback, falls] of [
    [[localKey("local:20260101-00000001")], "local", true],
    [[localKey("local:20260101-00000001")], "refuse", false],
    [[], "local", false],
  ] as const) {
    const used: number[] = [];
    const meters = { onFallback: (values: number) => void used.push(values) };
    const ring = createRing({ localKeys, openBao: { access, place }, fallback, log, meters });
    const sealed = ring.cipher.seal([item]);
    if (falls) t.is((await sealed)[0]?.keyId, "local:20260101-00000001");
    else await t.throwsAsync(sealed, { code: "CIPHER_UNAVAILABLE" });
    t.deepEqual(used, falls ? [1] : []);
    await ring.close();
  }
});

test("a key that was added to the key file since opens what it has sealed, though nothing else was asked", async (t) => {
  const directory = makeTemporaryDirectory("keyrow-ring-");
  t.teardown(() => removeWithServers(directory));
  const keyFile = join(directory, "keys.json");
  const localKeys = await createKeyFile(keyFile);
  const { log, lines } = collectLog();
  const ring = createRing({ localKeys, keyFile, fallback: "local", log });
  const context = ["a"];
  const [own] = await ring.cipher.seal([{ context, value: "old" }]);
  const [added] = await addKey(keyFile);
  if (own === undefined || added === undefined) throw new Error("no answer");
  const [sealed] = await createLocalCipher(added).seal([{ context, value: "new" }]);
  if (sealed === undefined) throw new Error("no answer");
  for (const keyId of ["legacy", "transit:transit/keyrow:v1:20260101T000000Z"]) {
    await ring.cipher.open([{ ...own, keyId, context }]);
  }
  t.deepEqual(lines(), []);
  const both = [
    { ...sealed, context },
    { ...own, context },
  ];
  t.deepEqual(await Promise.all([ring.cipher.open(both), ring.cipher.open(both)]), [
    ["new", "old"],
    ["new", "old"],
  ]);
  t.deepEqual(
    lines().map(({ msg, seals }) => [msg, seals]),
    [["the key file has changed", added.id]],
  );
});
