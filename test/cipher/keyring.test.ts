import test from "ava";
import type { Cipher, KeyState } from "../../src/cipher/cipher.ts";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import type { KeyrowError } from "../../src/errors.ts";
import { damagedLocal, isCannotOpen, localKey, openOne, sealOne, testCipher, userContext } from "./contract.ts";

const newest = createLocalCipher(localKey("local:20250303-00000003"));
const middle = createLocalCipher(localKey("local:20250202-00000002"));
const oldest = createLocalCipher(localKey("local:20250101-00000001"));

testCipher({
  name: "keyring",
  make: () => createKeyring([newest, middle, oldest]),
  damaged: damagedLocal,
});

/** A cipher that works as the one given, and the sizes of the batches it was asked to open. */
function counted(cipher: Cipher): { cipher: Cipher; batches: number[] } {
  const batches: number[] = [];
  const open: Cipher["open"] = (items) => {
    batches.push(items.length);
    return cipher.open(items);
  };
  return { cipher: { ...cipher, open }, batches };
}

test("new values are sealed under the newest key", async (t) => {
  const { keyId } = await sealOne(createKeyring([newest, oldest]), userContext(), "value");
  t.is(keyId, "local:20250303-00000003");
});

test("values of every key in the ring open, in order, in one batch per key", async (t) => {
  const counts = [newest, middle, oldest].map(counted);
  const ring = createKeyring(counts.map(({ cipher }) => cipher));
  const items = [];
  for (let index = 0; index < 30; index++) {
    const context = userContext();
    const sealed = await sealOne([oldest, newest, middle][index % 3] ?? oldest, context, `value ${index}`);
    items.push({ context, ...sealed });
  }
  t.deepEqual(
    await ring.open(items),
    items.map((_, index) => `value ${index}`),
  );
  t.deepEqual(
    counts.map(({ batches }) => batches),
    [[10], [10], [10]],
  );
});

test("a key is chosen by its id and never tried: the others are not even asked", async (t) => {
  const counts = [newest, middle].map(counted);
  const ring = createKeyring(counts.map(({ cipher }) => cipher));
  const context = userContext();
  const sealed = await sealOne(middle, context, "value");
  isCannotOpen(t, await openOne(ring, { ...sealed, context, keyId: "local:20250303-00000003" }));
  isCannotOpen(t, await openOne(ring, { ...sealed, context, keyId: "local:20250101-00000001" }));
  t.deepEqual(
    counts.map(({ batches }) => batches),
    [[1], []],
  );
});

test("a value of a key that has left the ring does not open, and the others of its batch do", async (t) => {
  const context = userContext();
  const gone = { context, ...(await sealOne(oldest, context, "lost")) };
  const kept = { context, ...(await sealOne(middle, context, "")) };
  const [lost, value] = await createKeyring([newest, middle]).open([gone, kept]);
  isCannotOpen(t, lost);
  t.is(value, "");
});

test("legacy is nobody's, even where a cipher claims it", async (t) => {
  const { cipher, batches } = counted({ ...newest, state: (): KeyState => "held" });
  const ring = createKeyring([cipher]);
  t.is(ring.state("legacy"), "missing");
  const context = userContext();
  isCannotOpen(t, await openOne(ring, { context, ...(await sealOne(newest, context, "value")), keyId: "legacy" }));
  t.deepEqual(batches, []);
});

test("a cipher that answers too little does not shift the answers of others", async (t) => {
  const short: Cipher = { ...oldest, open: async (items) => (await oldest.open(items)).slice(1) };
  const context = userContext();
  const items = [
    { context, ...(await sealOne(oldest, context, "a")) },
    { context, ...(await sealOne(newest, context, "b")) },
  ];
  const [first, second] = await createKeyring([newest, short]).open(items);
  isCannotOpen(t, first);
  t.is(second, "b");
});

test("an empty ring is refused", (t) => {
  const error = t.throws(() => createKeyring([]));
  t.is((error as KeyrowError).code, "KEY_MISSING");
});

test("the check fails when that of one cipher does", async (t) => {
  const failing: Cipher = { ...oldest, check: () => Promise.reject(new Error("down")) };
  await t.throwsAsync(createKeyring([newest, failing]).check(), { message: "down" });
});
