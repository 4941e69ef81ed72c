import { createSecretKey, randomBytes } from "node:crypto";
import { inspect } from "node:util";
import test from "ava";
import { encodeContext } from "../../src/cipher/context.ts";
import { createLocalCipher, decodeBase64, type LocalKey, openBytes, sealBytes } from "../../src/cipher/local.ts";
import {
  damagedLocal,
  isCannotOpen,
  localKey,
  openOne,
  sealIndependently,
  sealOne,
  testCipher,
  userContext,
} from "./contract.ts";

const key = localKey("local:20250101-00000001");

testCipher({ name: "local", make: () => createLocalCipher(key), damaged: damagedLocal });

const context = userContext();
const cipher = createLocalCipher(key);

test("the stored form is iv:authTag:encrypted, all three in base64", async (t) => {
  t.regex((await sealOne(cipher, context, "12345")).encrypted, /^[\w+/]{16}:[\w+/]{22}==:[\w+/]{7}=$/);
  t.regex((await sealOne(cipher, context, "")).encrypted, /^[\w+/]{16}:[\w+/]{22}==:$/);
});

test("the stored form, written a second time from its description, opens", async (t) => {
  const encrypted = sealIndependently(key, encodeContext(context), Buffer.from("value"));
  t.is(await openOne(cipher, { context, encrypted, keyId: key.id }), "value");
});

for (const [what, bytes] of [
  ["a lone continuation byte", [0x61, 0x80]],
  ["a character cut short", [0xf0, 0x9f, 0x94]],
  ["an overlong form", [0xc0, 0x80]],
  ["a surrogate", [0xed, 0xa0, 0x80]],
] as const) {
  test(`bytes that are not UTF-8 do not open, and nothing takes their place: ${what}`, async (t) => {
    const encrypted = sealIndependently(key, encodeContext(context), Buffer.from(bytes));
    isCannotOpen(t, await openOne(cipher, { context, encrypted, keyId: key.id }));
  });
}

test("an iv or tag of another length does not open, however right its key is", async (t) => {
  for (const [ivBytes, tagBytes] of [
    [8, 16],
    [16, 16],
    [12, 4],
    [12, 12],
    [12, 15],
  ] as const) {
    const encrypted = sealIndependently(key, encodeContext(context), Buffer.from("value"), ivBytes, tagBytes);
    isCannotOpen(t, await openOne(cipher, { context, encrypted, keyId: key.id }), `${ivBytes}:${tagBytes}`);
  }
});

test("a value does not open under another key of the same id, nor under the same key by another id", async (t) => {
  const sealed = { context, ...(await sealOne(cipher, context, "value")) };
  isCannotOpen(t, await openOne(createLocalCipher(localKey(key.id)), sealed));
  const renamed: LocalKey = { id: "local:20250101-00000002", key: key.key };
  isCannotOpen(t, await openOne(createLocalCipher(renamed), { ...sealed, keyId: renamed.id }));
});

test("a key of another length or an id of another form makes no cipher", (t) => {
  for (const bytes of [16, 31, 33, 64]) {
    t.throws(() => createLocalCipher({ id: key.id, key: createSecretKey(randomBytes(bytes)) }), {
      instanceOf: RangeError,
    });
  }
  for (const id of ["", "legacy", "local:20250101-0000000", "local:20250101-0000000G", "local:20250101-00000001\n"]) {
    t.throws(() => createLocalCipher({ id, key: key.key }), { instanceOf: RangeError });
  }
});

test("neither a key nor its cipher shows its bytes when printed", (t) => {
  const bytes = key.key.export();
  const shown = inspect([key, cipher], { depth: 9, showHidden: true }) + JSON.stringify([key, cipher]);
  for (const encoding of ["hex", "base64", "latin1"] as const) t.false(shown.includes(bytes.toString(encoding)));
});

test("only canonical base64 is read", (t) => {
  t.deepEqual(decodeBase64("+/8="), Buffer.of(0xfb, 0xff));
  t.deepEqual(decodeBase64(""), Buffer.alloc(0));
  for (const text of ["+/9=", "+/8", "+/8==", "-_8=", "+/8=\n", " +/8=", "+ /8=", "+/8=+/8=", "=", "a", "é"]) {
    t.throws(() => decodeBase64(text), { instanceOf: RangeError }, JSON.stringify(text));
  }
});

test("the raw functions refuse a key, an iv or a tag of another length", (t) => {
  const bytes = (length: number) => Buffer.alloc(length);
  for (const [keyBytes, ivBytes] of [
    [16, 12],
    [24, 12],
    [32, 0],
    [32, 11],
    [32, 16],
  ] as const) {
    t.throws(() => sealBytes(bytes(keyBytes), bytes(ivBytes), bytes(0), bytes(1)), { instanceOf: RangeError });
    t.throws(() => openBytes(bytes(keyBytes), bytes(ivBytes), bytes(0), bytes(16), bytes(1)), {
      instanceOf: RangeError,
    });
  }
  const { tag, body } = sealBytes(bytes(32), bytes(12), bytes(0), bytes(1));
  t.deepEqual(openBytes(bytes(32), bytes(12), bytes(0), tag, body), bytes(1));
  for (const length of [0, 4, 8, 12, 15]) {
    t.throws(() => openBytes(bytes(32), bytes(12), bytes(0), tag.subarray(0, length), body));
  }
});

test("a thousand values of 64 KiB leave the event loop free in between", async (t) => {
  const items = Array.from({ length: 1000 }, () => ({ context, value: "k".repeat(64 * 1024) }));
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  await cipher.seal(items);
  clearInterval(timer);
  t.true(turns > 5, `${turns} turns`);
});
