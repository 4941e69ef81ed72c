import { createSecretKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import test from "ava";
import { type Context, encodeContext } from "../../src/cipher/context.ts";
import { createLocalCipher, openBytes, sealBytes } from "../../src/cipher/local.ts";
import { isCannotOpen } from "./contract.ts";

const read = (name: string) => readFileSync(new URL(`../vectors/${name}`, import.meta.url));
const readJson = (name: string) => JSON.parse(read(name).toString("utf8"));

/** One case of either source: bytes, and whether they belong together. */
interface Case {
  readonly what: string;
  readonly key: Buffer;
  readonly iv: Buffer;
  readonly aad: Buffer;
  readonly plain: Buffer;
  readonly body: Buffer;
  readonly tag: Buffer;
  readonly valid: boolean;
}

/** Runs a case through the code that seals and opens; gives what there was to see, for counting. */
function run({ key, iv, aad, plain, body, tag, valid }: Case): "opened" | "not opened" | "refused" | "WRONG" {
  const attempt = <T>(work: () => T): T | undefined => {
    try {
      return work();
    } catch {
      return undefined;
    }
  };
  const opened = attempt(() => openBytes(key, iv, aad, tag, body));
  const sealed = attempt(() => sealBytes(key, iv, aad, plain));
  if (key.length !== 32 || iv.length !== 12) return opened || sealed ? "WRONG" : "refused";
  if (tag.length !== 16) return opened ? "WRONG" : "refused";
  if (!valid) return opened ? "WRONG" : "not opened";
  const right = opened?.equals(plain) && sealed?.body.equals(body) && sealed.tag.equals(tag);
  return right ? "opened" : "WRONG";
}

function count(cases: Iterable<Case>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const item of cases) {
    const outcome = run(item);
    const name = outcome === "WRONG" ? `WRONG: ${item.what}` : outcome;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** The cases of a CAVP response file: blocks of `name = value`, of which FAIL stands alone. */
function* nistCases(name: string): Iterable<Case> {
  let section = "";
  for (const block of gunzipSync(read(name))
    .toString("latin1")
    .split(/\r?\n\r?\n/)) {
    if (block.trim().startsWith("[")) section = block.trim().replaceAll(/\s+/g, " ");
    if (!block.trim().startsWith("Count")) continue;
    const fields = new Map(block.split(/\r?\n/).map((line) => line.split(/ ?= ?/, 2) as [string, string]));
    const bytes = (field: string) => Buffer.from(fields.get(field) ?? "", "hex");
    yield {
      what: `${section} ${fields.get("Count")}`,
      ...{ key: bytes("Key"), iv: bytes("IV"), aad: bytes("AAD") },
      ...{ plain: bytes("PT"), body: bytes("CT"), tag: bytes("Tag"), valid: !fields.has("FAIL") },
    };
  }
}

function* wycheproofCases(): Iterable<Case> {
  for (const { tests } of readJson("wycheproof-aes_gcm_test.json").testGroups) {
    for (const { tcId, comment, result, ...item } of tests) {
      const bytes = (field: string) => Buffer.from(item[field], "hex");
      yield {
        what: `${tcId} ${comment}`,
        ...{ key: bytes("key"), iv: bytes("iv"), aad: bytes("aad") },
        ...{ plain: bytes("msg"), body: bytes("ct"), tag: bytes("tag"), valid: result === "valid" },
      };
    }
  }
}

test("NIST's encryptions come out and open; other iv and tag lengths are refused", (t) => {
  t.deepEqual(count(nistCases("gcmEncryptExtIV256.rsp.gz")), { opened: 375, refused: 7500 });
});

test("NIST's decryptions open or fail as they should; other iv and tag lengths are refused", (t) => {
  t.deepEqual(count(nistCases("gcmDecrypt256.rsp.gz")), { opened: 184, "not opened": 191, refused: 7500 });
});

test("Wycheproof's cases open or fail as they should; other key, iv and tag lengths are refused", (t) => {
  t.deepEqual(count(wycheproofCases()), { opened: 39, "not opened": 27, refused: 250 });
});

for (const { context, hex } of readJson("context-v1.json") as Array<{ context: Context; hex: string }>) {
  test(`the context ${JSON.stringify(context)} has the bytes written down for it`, (t) => {
    t.is(encodeContext(context).toString("hex"), hex.replaceAll(" ", ""));
  });
}

/** What is stored for ever. */
interface SealedFile {
  readonly id: string;
  readonly key: string;
  readonly items: ReadonlyArray<{
    readonly title: string;
    readonly context: Context;
    readonly value: string | { readonly repeat: string; readonly times: number };
    readonly encrypted: string;
  }>;
}

const file = readJson("sealed-local-v1.json") as SealedFile;
const cipher = createLocalCipher({ id: file.id, key: createSecretKey(file.key, "base64") });

test("the frozen file is complete", (t) => {
  t.is(file.items.length, 15);
});

for (const { title, context, value, encrypted } of file.items) {
  test(`sealed long ago, it opens for ever: ${title}`, async (t) => {
    const expected = typeof value === "string" ? value : value.repeat.repeat(value.times);
    t.deepEqual(await cipher.open([{ context, encrypted, keyId: file.id }]), [expected]);
  });

  test(`sealed long ago, it opens nowhere else: ${title}`, async (t) => {
    const elsewhere = context.flatMap((field, index) => [
      context.with(index, `${field ?? ""}x`),
      context.with(index, field === null ? "" : null),
      context.toSpliced(index, 1),
    ]);
    const opened = await cipher.open(elsewhere.map((changed) => ({ context: changed, encrypted, keyId: file.id })));
    for (const [index, answer] of opened.entries()) isCannotOpen(t, answer, JSON.stringify(elsewhere[index]));
  });
}
