import { createCipheriv, createHash, createHmac, createSecretKey, randomBytes, randomUUID } from "node:crypto";
import ava, { type ExecutionContext } from "ava";
import type { Bound, Cipher, Plain, Sealed } from "../../src/cipher/cipher.ts";
import type { Context } from "../../src/cipher/context.ts";
import type { LocalKey } from "../../src/cipher/local.ts";
import { KeyrowError } from "../../src/errors.ts";

/** What the suite needs of a cipher under test. */
export interface Subject {
  /** What titles begin with. */
  readonly name: string;
  readonly make: () => Cipher | Promise<Cipher>;
  /** Damaged copies of a stored form, each with what was done to it; none of them may open. */
  readonly damaged: (encrypted: string) => Iterable<[what: string, encrypted: string]>;
  /** Declares a test: ava's own unless there is a reason to skip it. */
  readonly declare?: (title: string, run: (t: ExecutionContext) => Promise<void>) => void;
}

/** The context of a USER row of `user_credentials`, of new ids unless they are given. */
export function userContext(id: string = randomUUID(), owner: string = randomUUID()): Context {
  return ["user_credentials", "encrypted_value", id, "USER", owner];
}

/** Asserts the one answer to whatever can't be opened: its code and message, and nothing of the reason. */
export function isCannotOpen(t: ExecutionContext, answer: unknown, what?: string): void {
  t.true(answer instanceof KeyrowError, what);
  const { code, message, hint, cause } = answer as KeyrowError;
  t.deepEqual(
    { code, message, hint, cause },
    { code: "CANNOT_OPEN", message: "This value can't be opened.", hint: undefined, cause: undefined },
    what,
  );
}

/** Seals one value. */
export async function sealOne(cipher: Cipher, context: Context, value: string): Promise<Sealed> {
  const [sealed] = await cipher.seal([{ context, value }]);
  if (!sealed) throw new Error("no answer");
  return sealed;
}

/** Opens one value. */
export async function openOne(cipher: Cipher, bound: Bound): Promise<string | KeyrowError> {
  const [opened] = await cipher.open([bound]);
  if (opened === undefined) throw new Error("no answer");
  return opened;
}

const values: Array<[what: string, value: string]> = [
  ["ASCII", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"],
  ["the empty string", ""],
  ["one character", "x"],
  ["64 KiB", "k".repeat(64 * 1024)],
  ["64 KiB of Unicode", "🔑".repeat(16 * 1024)],
  ["Unicode, composed, decomposed and astral", "p\u00e4ss wo\u0308rd 密码 👩‍👩‍👧"],
  ["NUL", "before\u0000after"],
  ["a leading byte order mark", "\ufeffvalue"],
  ["line ends of every kind", "\r\n\n\r\u2028"],
  ["the replacement character", "\ufffd"],
  ["a Transit ciphertext", "vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"],
];

const owner = randomUUID();
const row = randomUUID();
const here: Context = ["user_credentials", "encrypted_value", row, "USER", owner];
const elsewhere: Array<[what: string, context: Context]> = [
  ["another row", ["user_credentials", "encrypted_value", randomUUID(), "USER", owner]],
  ["another owner", ["user_credentials", "encrypted_value", row, "USER", randomUUID()]],
  ["no owner", ["user_credentials", "encrypted_value", row, "USER", null]],
  ["an empty owner", ["user_credentials", "encrypted_value", row, "USER", ""]],
  ["another scope", ["user_credentials", "encrypted_value", row, "WORKSPACE", owner]],
  ["another table", ["other_credentials", "encrypted_value", row, "USER", owner]],
  ["another column", ["user_credentials", "other_value", row, "USER", owner]],
  ["a field less", ["user_credentials", "encrypted_value", row, "USER"]],
  ["a field more", ["user_credentials", "encrypted_value", row, "USER", owner, null]],
  ["fields in another order", ["user_credentials", "encrypted_value", owner, "USER", row]],
  ["two fields run together", ["user_credentials", "encrypted_value", row, `USER${owner}`]],
];

/** The tests that every `Cipher` has to pass; called once per cipher in a test file of its own. */
export function testCipher({ name, make, damaged, declare: test = ava }: Subject): void {
  for (const [what, value] of values) {
    test(`${name}: ${what} comes back as it was`, async (t) => {
      const cipher = await make();
      const context = userContext();
      t.is(await openOne(cipher, { context, ...(await sealOne(cipher, context, value)) }), value);
    });
  }

  for (const [what, context] of elsewhere) {
    test(`${name}: a value does not open in ${what}`, async (t) => {
      const cipher = await make();
      isCannotOpen(t, await openOne(cipher, { ...(await sealOne(cipher, here, "value")), context }));
    });
  }

  test(`${name}: a damaged value does not open, wherever the damage is`, async (t) => {
    const cipher = await make();
    const sealed = await sealOne(cipher, here, "value");
    const copies = [...damaged(sealed.encrypted), ...damagedAnywhere(sealed.encrypted)];
    t.true(copies.length > 5);
    const opened = await cipher.open(copies.map(([, encrypted]) => ({ ...sealed, context: here, encrypted })));
    for (const [index, [what]] of copies.entries()) isCannotOpen(t, opened[index], what);
  });

  for (const keyId of ["", "legacy", "local:20010101-00000000", "transit:unknown", "constructor"]) {
    test(`${name}: a value does not open under the key id ${JSON.stringify(keyId)}, which it does not hold`, async (t) => {
      const cipher = await make();
      t.not(cipher.state(keyId), "held");
      isCannotOpen(t, await openOne(cipher, { ...(await sealOne(cipher, here, "value")), context: here, keyId }));
    });
  }

  test(`${name}: it holds the key it seals under`, async (t) => {
    const cipher = await make();
    const { keyId } = await sealOne(cipher, here, "value");
    t.is(cipher.state(keyId), "held");
    t.not(cipher.state(`${keyId}0`), "held");
    t.is(await cipher.current(), keyId);
  });

  test(`${name}: an empty batch has no answers`, async (t) => {
    const cipher = await make();
    t.deepEqual(await cipher.seal([]), []);
    t.deepEqual(await cipher.open([]), []);
  });

  test(`${name}: a thousand items come back in order`, async (t) => {
    const cipher = await make();
    const items = thousand();
    const sealed = await cipher.seal(items);
    t.is(new Set(sealed.map(({ encrypted }) => encrypted)).size, items.length);
    const opened = await cipher.open(bind(items, sealed).reverse());
    t.deepEqual(
      opened.reverse(),
      items.map(({ value }) => value),
    );
  });

  test(`${name}: an item that fails fails alone`, async (t) => {
    const cipher = await make();
    const items = thousand().slice(0, 9);
    const bound = bind(items, await cipher.seal(items)).map((item, index) => {
      if (index === 1) return { ...item, context: userContext() };
      if (index === 4) return { ...item, keyId: "legacy" };
      return index === 8 ? { ...item, encrypted: "rubbish" } : item;
    });
    const opened = await cipher.open(bound);
    for (const [index, { value }] of items.entries()) {
      if ([1, 4, 8].includes(index)) isCannotOpen(t, opened[index], `item ${index}`);
      else t.is<unknown, unknown>(opened[index], value);
    }
  });

  test(`${name}: the same value sealed twice in one place is stored in two ways`, async (t) => {
    const cipher = await make();
    const item = { context: here, value: "value" };
    const [one, two] = await cipher.seal([item, item]);
    t.not(one?.encrypted, two?.encrypted);
  });

  test(`${name}: what is stored does not contain the value`, async (t) => {
    const value = "a-value-that-is-easily-found";
    const { encrypted } = await sealOne(await make(), here, value);
    t.false(encrypted.includes(value) || encrypted.includes(Buffer.from(value).toString("base64").slice(0, 30)));
  });

  test(`${name}: a value that is another row's ciphertext is sealed again and opens as that ciphertext`, async (t) => {
    const cipher = await make();
    const stolen = await sealOne(cipher, userContext(), "somebody else's");
    const sealed = await sealOne(cipher, here, stolen.encrypted);
    t.not(sealed.encrypted, stolen.encrypted);
    t.is(await openOne(cipher, { ...sealed, context: here }), stolen.encrypted);
  });

  for (const value of ["\ud83d", "\udd11", "a\udd11\ud83d"]) {
    test(`${name}: half a surrogate pair is refused, not replaced: ${JSON.stringify(value)}`, async (t) => {
      const cipher = await make();
      const error = await t.throwsAsync(
        cipher.seal([
          { context: here, value: "fine" },
          { context: here, value },
        ]),
      );
      t.is((error as KeyrowError).code, "VALIDATION");
      t.false(error?.message.includes(value));
    });
  }

  test(`${name}: its check passes`, async (t) => {
    const cipher = await make();
    await t.notThrowsAsync(cipher.check());
  });
}

/** What no stored form survives. */
function* damagedAnywhere(encrypted: string): Iterable<[string, string]> {
  yield ["empty", ""];
  yield ["rubbish before", `x${encrypted}`];
  yield ["rubbish after", `${encrypted}x`];
  yield ["a line end after", `${encrypted}\n`];
  yield ["a space before", ` ${encrypted}`];
  yield ["another part after", `${encrypted}:`];
  yield ["the last part gone", encrypted.slice(0, encrypted.lastIndexOf(":"))];
  yield ["twice", encrypted + encrypted];
}

function thousand(): Plain[] {
  return Array.from({ length: 1000 }, (_, index) => ({ context: userContext(), value: `value ${index}` }));
}

function bind(items: readonly Plain[], sealed: readonly Sealed[]): Bound[] {
  return items.map(({ context }, index) => {
    const answer = sealed[index];
    if (!answer) throw new Error("no answer");
    return { context, ...answer };
  });
}

/** A random key under the id given. */
export function localKey(id: string): LocalKey {
  return { id, key: createSecretKey(randomBytes(32)) };
}

/** The stored form by its description alone and by no code of `src`, of any bytes and of any iv and tag length. */
export function sealIndependently({ id, key }: LocalKey, context: Buffer, plain: Buffer, ivBytes = 12, tagBytes = 16) {
  const hmac = (secret: Buffer | string, ...parts: Buffer[]) =>
    createHmac("sha256", secret).update(Buffer.concat(parts)).digest();
  // HKDF by RFC 5869, section 2: extract, then the first block of expand.
  const extracted = hmac(id, key.export());
  const rowKey = hmac(extracted, createHash("sha256").update(context).digest(), Buffer.of(1));
  const iv = randomBytes(ivBytes);
  const cipher = createCipheriv("aes-256-gcm", rowKey, iv, { authTagLength: tagBytes }).setAAD(context);
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return [iv, cipher.getAuthTag(), body].map((part) => part.toString("base64")).join(":");
}

/** A copy for each character changed, each part cut, emptied, lengthened or spelled otherwise, and parts swapped. */
export function* damagedLocal(encrypted: string): Iterable<[what: string, encrypted: string]> {
  const parts = encrypted.split(":");
  for (const [index, character] of Array.from(encrypted).entries()) {
    const other = character === "A" ? "B" : "A";
    yield [`character ${index} changed`, encrypted.slice(0, index) + other + encrypted.slice(index + 1)];
    yield [`character ${index} gone`, encrypted.slice(0, index) + encrypted.slice(index + 1)];
  }
  for (const [index, part] of parts.entries()) {
    const bytes = Buffer.from(part, "base64");
    const replaced = (text: string) => parts.with(index, text).join(":");
    for (const position of bytes.keys()) {
      for (const bit of [1, 128]) {
        const flipped = Buffer.from(bytes);
        flipped[position] = (flipped[position] ?? 0) ^ bit;
        yield [`a bit of byte ${position} of part ${index} flipped`, replaced(flipped.toString("base64"))];
      }
    }
    for (let length = 0; length < bytes.length; length++) {
      yield [`part ${index} cut to ${length} bytes`, replaced(bytes.subarray(0, length).toString("base64"))];
    }
    yield [`a byte more in part ${index}`, replaced(Buffer.concat([bytes, Buffer.of(0)]).toString("base64"))];
    yield [`part ${index} in hex`, replaced(bytes.toString("hex"))];
    yield [`more padding in part ${index}`, replaced(`${part}=`)];
    yield [`a line end in part ${index}`, replaced(`${part}\n`)];
    yield [`part ${index} twice`, replaced(part + part)];
  }
  yield ["iv and tag swapped", [parts[1], parts[0], parts[2]].join(":")];
  yield ["tag and body swapped", [parts[0], parts[2], parts[1]].join(":")];
  // The spare bits of the padded tag: the same bytes by a lenient reading.
  yield ["spare bits set", parts.with(1, spareBitsSet(parts[1] ?? "")).join(":")];
  yield ["the URL alphabet", encrypted.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")];
}

function spareBitsSet(part: string): string {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const last = part.replaceAll("=", "").length - 1;
  const next = alphabet[alphabet.indexOf(part[last] ?? "") + 1];
  return part.slice(0, last) + next + part.slice(last + 1);
}
