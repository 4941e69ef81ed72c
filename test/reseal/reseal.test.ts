import { randomBytes, randomUUID } from "node:crypto";
import test from "ava";
import type { Bound } from "../../src/cipher/cipher.ts";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import type { Transit } from "../../src/cipher/transit.ts";
import { reseal } from "../../src/reseal/reseal.ts";
import { localKey } from "../cipher/contract.ts";

const from = createLocalCipher(localKey("local:20260101-00000001"));
const to = createLocalCipher(localKey("local:20260101-00000002"));

const charactersOf = (items: ReadonlyArray<{ encrypted: string } | { value: string }>) =>
  items.reduce((sum, item) => sum + ("value" in item ? item.value : item.encrypted).length, 0);

/** Sealed values of so many bytes each, and what they open to. */
async function make(count: number, bytes: number): Promise<{ items: Bound[]; values: string[] }> {
  const plain = Array.from({ length: count }, () => ({
    context: [randomUUID()],
    value: randomBytes(bytes / 2).toString("hex"),
  }));
  const sealed = await from.seal(plain);
  const items = sealed.map((one, index) => ({ ...one, context: plain[index]?.context ?? [] }));
  return { items, values: plain.map(({ value }) => value) };
}

const sizes: Array<[what: string, count: number, bytes: number, calls: number]> = [
  ["two hundred short values are sealed in one call", 200, 64, 1],
  ["values of 64 KiB are sealed eleven at a time, a megabyte of ciphertext", 30, 65_536, 3],
  ["a value of more than a megabyte is sealed alone", 2, 2 * 1024 * 1024, 2],
];
for (const [title, count, bytes, calls] of sizes) {
  test(title, async (t) => {
    const { items, values } = await make(count, bytes);
    const seen: number[] = [];
    const target = {
      ...to,
      seal(plain: Parameters<typeof to.seal>[0]) {
        seen.push(charactersOf(plain));
        return to.seal(plain);
      },
    };
    const resealed = await reseal(items, from, { cipher: target, transit: undefined });
    const bound = resealed.map((one, index) => ({ ...(one as Bound), context: items[index]?.context ?? [] }));
    t.deepEqual(await createKeyring([to]).open(bound), values);
    t.is(seen.length, calls);
    t.true(Math.max(...seen) <= Math.max(1024 * 1024, bytes), seen.join());
  });
}

test("what Transit brings under its newest key goes to it in the same parts, in order", async (t) => {
  const { items } = await make(30, 65_536);
  const parts: Bound[][] = [];
  const transit = {
    ...to,
    state: () => "held",
    async rewrap(part: readonly Bound[]) {
      parts.push([...part]);
      return part.map(({ encrypted }) => ({ encrypted, keyId: "newest" }));
    },
  } as unknown as Transit;
  const resealed = await reseal(items, from, { cipher: transit, transit });
  t.deepEqual(parts.flat(), items);
  t.deepEqual(
    resealed,
    items.map(({ encrypted }) => ({ encrypted, keyId: "newest" })),
  );
  t.true(parts.every((part) => charactersOf(part) <= 1024 * 1024));
  t.is(parts.length, 3);
});
