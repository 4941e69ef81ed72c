import ava from "ava";
import type { Bound, Sealed } from "../../src/cipher/cipher.ts";
import { type Context, encodeContext } from "../../src/cipher/context.ts";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import { type BatchItem, readResults, split } from "../../src/cipher/openbao/batch.ts";
import type { Transit } from "../../src/cipher/transit.ts";
import { KeyrowError } from "../../src/errors.ts";
import { hasty, startOpenBao, type TestOpenBao, openBaoTest as test } from "../helpers/openbao.ts";
import { canHaveOpenBao } from "../helpers/openbao-program.ts";
import { until } from "../helpers/until.ts";
import { isCannotOpen, localKey, openOne, sealOne, testCipher, userContext } from "./contract.ts";
import { makeFaulty } from "./faulty.ts";
import { damagedTransit, observe } from "./openbao.ts";

const teardowns: Array<() => unknown> = [];
const file = { teardown: (end: () => unknown) => void teardowns.unshift(end) };
let bao: TestOpenBao;
let shared: Transit;
ava.before(async () => {
  if (!canHaveOpenBao && !process.env.CI) return;
  bao = await startOpenBao(file);
  shared = observe(file, bao.access, bao.transitKey).transit;
});
ava.after.always(async () => {
  for (const end of teardowns) await end();
});

const local = createLocalCipher(localKey("local:20260101-00000001"));

// One after the other: what holds this process for a second has an answer of OpenBao come too late.
testCipher({ name: "transit", make: () => shared, damaged: damagedTransit, declare: test.serial });
testCipher({
  name: "keyring over transit and local",
  make: () => createKeyring([shared, local]),
  damaged: damagedTransit,
  declare: test.serial,
});

test.serial(
  "a stored value names OpenBao's version, and its key id mount, key, version and when that was made",
  async (t) => {
    const { encrypted, keyId } = await sealOne(shared, userContext(), "value");
    t.regex(encrypted, /^vault:v1:[A-Za-z0-9+/]+={0,2}$/);
    t.regex(keyId, /^transit:transit\/keyrow:v1:\d{8}T\d{6}Z$/);
    const { data } = await bao.root({ path: "transit/keys/keyrow" });
    const made = new Date(data.keys["1"] * 1_000).toISOString();
    t.is(keyId.split(":").at(-1), made.replaceAll(/[-:]|\.000/g, ""));
  },
);

test.serial("one call for all items, split at two hundred", async (t) => {
  const { transit, calls } = observe(t, bao.access, bao.transitKey);
  await transit.check();
  const items = (count: number) => Array.from({ length: count }, () => ({ context: userContext(), value: "value" }));
  calls.length = 0;
  const sealed = await transit.seal(items(200));
  t.deepEqual(
    calls.map(({ operation, items: count }) => [operation, count]),
    [["encrypt", 200]],
  );
  t.is(sealed.length, 200);
  calls.length = 0;
  await transit.seal(items(201));
  t.deepEqual(calls.map(({ items: count }) => count).sort(), [1, 200]);
});

test.serial("what is asked for under load goes in few calls, and a wrong row fails alone", async (t) => {
  const { transit, calls } = observe(t, bao.access, bao.transitKey);
  const items = Array.from({ length: 300 }, (_, index) => ({ context: userContext(), value: `value ${index}` }));
  const sealed = await Promise.all(items.map(({ context, value }) => sealOne(transit, context, value)));
  t.true(calls.filter(({ operation }) => operation === "encrypt").length < 30, "sealed");
  calls.length = 0;
  const opened = await Promise.all(
    sealed.map((one, index) => {
      const context = index % 10 === 0 ? userContext() : (items[index]?.context ?? []);
      return transit.open([{ ...one, context }]);
    }),
  );
  t.true(calls.length < 30, "opened");
  t.is(
    calls.reduce((sum, call) => sum + call.items, 0),
    300,
  );
  for (const [index, [answer]] of opened.entries()) {
    if (index % 10 === 0) isCannotOpen(t, answer);
    else t.is(answer, items[index]?.value);
  }
});

test.serial("large values are split by their size into batches that OpenBao takes", async (t) => {
  const item = (index: number): BatchItem => ({
    plaintext: Buffer.from(String(index).padStart(64 * 1024, "x")).toString("base64"),
    context: encodeContext(userContext()).toString("base64"),
  });
  const items = Array.from({ length: 100 }, (_, index) => item(index));
  const batches = split(items);
  t.deepEqual(batches.flat(), items);
  t.is(batches.length, 2);
  // Asked for without the cipher's bounds of time, for a busy machine may be slower than a request should be.
  const largest = batches[0] as BatchItem[];
  const { data } = await bao.root({ path: "transit/encrypt/keyrow", body: { batch_input: largest } });
  t.is(
    readResults(data, largest.length).filter(({ ciphertext }) => ciphertext?.startsWith("vault:v1:")).length,
    largest.length,
  );
});

test.serial("a version of the key that another server has used first is known at once", async (t) => {
  const own = await startOpenBao(t);
  const [one, two] = [1, 2].map(() => observe(t, own.access, own.transitKey).transit) as [Transit, Transit];
  const context = userContext();
  const first = await sealOne(one, context, "first");
  t.is(await openOne(two, { ...first, context }), "first");
  await own.root({ method: "POST", path: "transit/keys/keyrow/rotate", body: {} });
  const second = await sealOne(one, context, "second");
  t.regex(second.keyId, /:v2:/);
  // It knows of version 1 alone, and asks.
  t.is(await openOne(two, { ...second, context }), "second");
  t.is(await openOne(one, { ...first, context }), "first");
});

test.serial("rewrap brings values under the newest version inside OpenBao, and gives no plaintext", async (t) => {
  const own = await startOpenBao(t);
  const { transit, calls } = observe(t, own.access, own.transitKey);
  const items = Array.from({ length: 5 }, (_, index) => ({ context: userContext(), value: `value ${index}` }));
  const sealed = await transit.seal(items);
  await own.root({ method: "POST", path: "transit/keys/keyrow/rotate", body: {} });
  const bound: Bound[] = sealed.map((one, index) => ({ ...one, context: items[index]?.context ?? [] }));
  calls.length = 0;
  const answers = await transit.rewrap([
    ...bound,
    { ...(bound[0] as Bound), context: userContext() },
    { ...(bound[1] as Bound), keyId: "transit:transit/keyrow:v1:20010101T000000Z" },
  ]);
  t.deepEqual(new Set(calls.map(({ operation }) => operation)), new Set(["rewrap"]));
  const moved = answers.slice(0, 5) as Bound[];
  t.deepEqual(new Set(moved.map(({ keyId }) => keyId)), new Set([await transit.current()]));
  t.deepEqual(
    await transit.open(moved.map((one, index) => ({ ...one, context: items[index]?.context ?? [] }))),
    items.map(({ value }) => value),
  );
  for (const answer of answers.slice(5)) isCannotOpen(t, answer);
});

test.serial("a retired version does not open, and says so of itself alone", async (t) => {
  const own = await startOpenBao(t);
  const { transit } = observe(t, own.access, own.transitKey);
  const context = userContext();
  const old = await sealOne(transit, context, "old");
  await own.root({ method: "POST", path: "transit/keys/keyrow/rotate", body: {} });
  await own.root({ method: "POST", path: "transit/keys/keyrow/config", body: { min_decryption_version: 2 } });
  const fresh = observe(t, own.access, own.transitKey).transit;
  await fresh.check();
  t.is(fresh.state(old.keyId), "retired");
  isCannotOpen(t, await openOne(fresh, { ...old, context }));
  // Who knew it before asks OpenBao, which refuses.
  isCannotOpen(t, await openOne(transit, { ...old, context }));
  t.is(transit.availability, "closed");
});

test.serial("a key that was lost and made anew opens nothing of the old one's, and takes it for another", async (t) => {
  const own = await startOpenBao(t);
  const before = observe(t, own.access, own.transitKey).transit;
  const context = userContext();
  const lost = await sealOne(before, context, "lost");
  await own.root({ method: "POST", path: "transit/keys/keyrow/config", body: { deletion_allowed: true } });
  await own.root({ method: "DELETE", path: "transit/keys/keyrow" });
  // Its age is told in seconds.
  for (const second = new Date().getSeconds(); new Date().getSeconds() === second; ) await new Promise(setImmediate);
  await own.root({ method: "POST", path: "transit/keys/keyrow", body: { type: "aes256-gcm96", derived: true } });
  const after = observe(t, own.access, own.transitKey).transit;
  await after.check();
  t.is(after.state(lost.keyId), "replaced");
  isCannotOpen(t, await openOne(after, { ...lost, context }));
  t.not((await sealOne(after, context, "new")).keyId, lost.keyId);
  // Who knew the old one names the new one all the same: nothing is sealed under a name that does not open it.
  const renewed = await sealOne(before, context, "new");
  t.not(renewed.keyId, lost.keyId);
  t.is(await openOne(after, { ...renewed, context }), "new");
});

test.serial("a key that was made anew with fewer versions is another, and nobody says that none is lost", async (t) => {
  const own = await startOpenBao(t);
  const { transit: before, log: said } = observe(t, own.access, own.transitKey);
  const context = userContext();
  await own.root({ method: "POST", path: "transit/keys/keyrow/rotate", body: {} });
  await until(async () => (await before.current()).includes(":v2:"));
  const lost = await sealOne(before, context, "lost");
  t.regex(lost.keyId, /:v2:/);
  await own.root({ method: "POST", path: "transit/keys/keyrow/config", body: { deletion_allowed: true } });
  await own.root({ method: "DELETE", path: "transit/keys/keyrow" });
  // Its age is told in seconds.
  for (const second = new Date().getSeconds(); new Date().getSeconds() === second; ) await new Promise(setImmediate);
  await own.root({ method: "POST", path: "transit/keys/keyrow", body: { type: "aes256-gcm96", derived: true } });
  const { transit: after, log } = observe(t, own.access, own.transitKey);
  await after.check();
  // Who knew the old one has to ask first.
  for (const [transit, lines] of [
    [before, said],
    [after, log],
  ] as const) {
    isCannotOpen(t, await openOne(transit, { ...lost, context }));
    t.is(transit.state(lost.keyId), "replaced");
    t.is(transit.availability, "closed");
    const messages = lines().map(({ msg }) => String(msg));
    t.true(messages.some((msg) => msg.includes("was made anew")));
    t.false(messages.some((msg) => msg.includes("none is lost")));
  }
});

test.serial("a key that is not derived is refused, for it binds nothing", async (t) => {
  const own = await startOpenBao(t);
  await own.root({ method: "POST", path: "transit/keys/plain", body: { type: "aes256-gcm96" } });
  const { transit } = observe(t, own.rootAccess, { mount: "transit", key: "plain" });
  const error = await t.throwsAsync(transit.check());
  t.is((error as KeyrowError).code, "TRANSIT_UNBOUND");
  t.regex((error as KeyrowError).hint ?? "", /derived=true/);
});

test.serial("keys of other kinds are refused as well, and one that is not there is told as that", async (t) => {
  const own = await startOpenBao(t);
  const make = (key: string, body: object) => own.root({ method: "POST", path: `transit/keys/${key}`, body });
  await make("convergent", { type: "aes256-gcm96", derived: true, convergent_encryption: true });
  await make("pair", { type: "rsa-2048" });
  await make("signer", { type: "ed25519", derived: true });
  for (const [key, code, hint] of [
    ["convergent", "TRANSIT_CONVERGENT", /without convergent_encryption/],
    ["pair", "TRANSIT_UNBOUND", /derived=true/],
    ["signer", "TRANSIT_UNBOUND", /type=aes256-gcm96/],
  ] as const) {
    const { transit } = observe(t, own.rootAccess, { mount: "transit", key });
    const error = (await t.throwsAsync(transit.check())) as KeyrowError;
    t.is(error.code, code);
    t.regex(error.hint ?? "", hint);
    await t.throwsAsync(sealOne(transit, userContext(), "value"), { name: "KeyrowError" });
  }
  for (const place of [
    { mount: "transit", key: "none" },
    { mount: "elsewhere", key: "keyrow" },
  ]) {
    const { transit, log } = observe(t, own.rootAccess, place);
    t.is(((await t.throwsAsync(transit.check())) as KeyrowError).code, "CIPHER_UNAVAILABLE");
    t.like(log()[0], { msg: "OpenBao is away", reason: "no-key", status: 404 });
  }
});

test.serial("a key that is made anew without derived seals nothing, also while a server runs", async (t) => {
  const own = await startOpenBao(t);
  const path = "transit/keys/anew";
  const make = (derived: boolean) => own.root({ method: "POST", path, body: { type: "aes256-gcm96", derived } });
  await make(true);
  const { transit, log } = observe(t, own.rootAccess, { mount: "transit", key: "anew" });
  const context = userContext();
  await sealOne(transit, context, "bound");
  await own.root({ method: "POST", path: `${path}/config`, body: { deletion_allowed: true } });
  await own.root({ method: "DELETE", path });
  await make(false);
  t.is(((await t.throwsAsync(sealOne(transit, context, "unbound"))) as KeyrowError).code, "CIPHER_UNAVAILABLE");
  t.true(log().some(({ reason }) => reason === "unbound"));
  // The probe says what is wrong with it, and goes on refusing.
  await until(async () => log().some(({ msg }) => /binds no value/.test(String(msg))));
  t.not(transit.availability, "closed");
  const another = observe(t, own.rootAccess, { mount: "transit", key: "anew" });
  await t.throwsAsync(
    another.transit.current(),
    { code: "CIPHER_UNAVAILABLE" },
    "nor is it named as the key that seals",
  );
});

test.serial(
  "an OpenBao restored from an older backup: newer values wait, none is lost, and the log says so",
  async (t) => {
    const own = await startOpenBao(t);
    const { transit, log } = observe(t, own.access, own.transitKey);
    const context = userContext();
    const old = await sealOne(transit, context, "old");
    await own.copyData();
    await own.root({ method: "POST", path: "transit/keys/keyrow/rotate", body: {} });
    await until(async () => (await transit.current()).includes(":v2:"));
    const fresh = await sealOne(transit, context, "new");
    t.regex(fresh.keyId, /:v2:/);
    await own.restoreData();
    await until(async () => (await openOne(transit, { ...old, context })) === "old");
    const answer = await openOne(transit, { ...fresh, context });
    t.is((answer as KeyrowError).code, "CIPHER_UNAVAILABLE");
    t.is(transit.state(fresh.keyId), "too-new");
    await openOne(transit, { ...fresh, context });
    const said = log().filter(({ msg }) => String(msg).includes("none is lost"));
    t.deepEqual(
      said.map(({ level }) => level),
      ["warn", "debug"],
      "once a minute, however many ask",
    );
    t.is(await openOne(transit, { ...old, context }), "old", "the others go on");
    t.is(transit.availability, "closed");
  },
);

test.serial("a token that was revoked costs its calls, and is fetched anew", async (t) => {
  const own = await startOpenBao(t);
  const { transit, states, log } = observe(t, own.access, own.transitKey);
  await transit.check();
  const { data } = await own.root({ method: "LIST", path: "auth/token/accessors" });
  for (const accessor of data.keys) {
    const { data: found } = await own.root({ path: "auth/token/lookup-accessor", body: { accessor } });
    if (found.policies.includes("keyrow-server")) {
      await own.root({ method: "POST", path: "auth/token/revoke-accessor", body: { accessor } });
    }
  }
  const refused = await t.throwsAsync(sealOne(transit, userContext(), "value"));
  t.is((refused as KeyrowError).code, "CIPHER_UNAVAILABLE");
  await until(async () => transit.availability === "closed");
  t.is((await sealOne(transit, userContext(), "value")).encrypted.slice(0, 9), "vault:v1:");
  t.deepEqual(states, ["closed", "open", "half-open", "closed"]);
  t.true(log().some(({ status, msg }) => status === 403 && msg === "OpenBao is away"));
});

test.serial("a token is renewed before it ends", async (t) => {
  const own = await startOpenBao(t);
  await own.root({
    method: "POST",
    path: "auth/approle/role/keyrow-server",
    body: { token_period: "2s", token_policies: ["keyrow-server"], token_no_default_policy: true },
  });
  const { transit, states } = observe(t, own.access, own.transitKey);
  await transit.check();
  const uses = async () => {
    const { data } = await own.root({ method: "LIST", path: "auth/token/accessors" });
    const ages: number[] = [];
    for (const accessor of data.keys) {
      const { data: found } = await own.root({ path: "auth/token/lookup-accessor", body: { accessor } });
      if (found.policies.includes("keyrow-server")) ages.push(found.last_renewal_time ?? 0);
    }
    return Math.max(0, ...ages);
  };
  const first = await uses();
  await until(async () => (await uses()) > first + 2);
  await sealOne(transit, userContext(), "value");
  t.deepEqual(states, ["closed"], "nobody noticed");
});

test.serial("nothing of a value, a token or a key is in OpenBao's audit file or in the log", async (t) => {
  const own = await startOpenBao(t);
  const { transit, log } = observe(t, own.access, own.transitKey);
  const value = "a-value-that-is-easily-found";
  const context = userContext();
  const sealed = await sealOne(transit, context, value);
  await openOne(transit, { ...sealed, context });
  await own.stop();
  await t.throwsAsync(sealOne(transit, context, value));
  const { readFileSync } = await import("node:fs");
  const audit = readFileSync(`${own.directory}/audit.log`, "utf8");
  t.true(audit.length > 0);
  for (const text of [audit, JSON.stringify(log())]) {
    t.false(text.includes(value) || text.includes(Buffer.from(value).toString("base64")));
  }
});

// What a real OpenBao can't be made to do.
for (const fault of ["silence", "garbage", "no answer's form", "cut", "huge", "open"] as const) {
  test.serial(
    `${fault} instead of an answer: calls fail with CIPHER_UNAVAILABLE, later ones at once, until it is over`,
    async (t) => {
      const door = await makeFaulty(t, hasty(bao.access));
      const { transit, states } = observe(t, door.access, bao.transitKey);
      const context = userContext();
      const value = "a value of some length";
      const sealed = await sealOne(transit, context, value);
      door.set(fault);
      const started = performance.now();
      t.is(((await t.throwsAsync(sealOne(transit, context, value))) as KeyrowError).code, "CIPHER_UNAVAILABLE");
      t.true(performance.now() - started < 2_000, "a request never waits longer than that");
      const calls = door.calls();
      t.not(transit.availability, "closed");
      t.is(((await openOne(transit, { ...sealed, context })) as KeyrowError).code, "CIPHER_UNAVAILABLE");
      t.true(door.calls() - calls <= 1, "nobody asks but a probe");
      door.set("none");
      await until(async () => transit.availability === "closed");
      t.is(await openOne(transit, { ...sealed, context }), value);
      t.is(states.at(-1), "closed");
    },
  );
}

test.serial("a rewrap that hands back opened values is refused, and no value is stored so", async (t) => {
  const door = await makeFaulty(t, bao.access);
  const { transit } = observe(t, door.access, bao.transitKey);
  const context = userContext();
  const sealed = await sealOne(transit, context, "a value that is longer than any nonce and tag");
  door.set("open");
  const error = await t.throwsAsync(transit.rewrap([{ ...sealed, context }]));
  t.is((error as KeyrowError).code, "CIPHER_UNAVAILABLE");
  t.not(transit.availability, "closed");
});

test.serial("what a rewrap has made that does not open is not given, and the others of its batch are", async (t) => {
  const door = await makeFaulty(t, bao.access);
  const { transit } = observe(t, door.access, bao.transitKey);
  const contexts = [userContext(), userContext()];
  const sealed = await transit.seal(contexts.map((context) => ({ context, value: "value" })));
  door.set("damaged once");
  const moved = await transit.rewrap(sealed.map((one, index) => ({ ...one, context: contexts[index] as Context })));
  isCannotOpen(t, moved[0]);
  const other = moved[1] as Sealed;
  t.is(await openOne(transit, { ...other, context: contexts[1] as Context }), "value");
  t.is(transit.availability, "closed");
});

test.serial("what is slow is away or not as the timeout of its calls has it", async (t) => {
  const door = await makeFaulty(t, bao.access);
  const { transit } = observe(t, door.access, bao.transitKey);
  const hurried = observe(t, { ...door.access, timeoutMs: 100 }, bao.transitKey).transit;
  door.set("slow");
  const error = await t.throwsAsync(sealOne(hurried, userContext(), "value"));
  t.is((error as KeyrowError).code, "CIPHER_UNAVAILABLE");
  // Several calls, each of them slower than that.
  const context = userContext();
  t.is(await openOne(transit, { ...(await sealOne(transit, context, "value")), context }), "value");
});

test.serial("a server that stumbles once is asked once more, and nobody notices", async (t) => {
  const door = await makeFaulty(t, bao.access);
  const { transit, states } = observe(t, door.access, bao.transitKey);
  await transit.check();
  door.set("stumble once");
  t.is((await transit.seal([{ context: userContext(), value: "value" }])).length, 1);
  t.deepEqual(states, ["closed"]);
});

test.serial(
  "large values that take too long fail alone, and OpenBao is away where it says nothing at all",
  async (t) => {
    const door = await makeFaulty(t, hasty(bao.access));
    const { transit, states } = observe(t, door.access, bao.transitKey);
    const items = Array.from({ length: 8 }, () => ({ context: userContext(), value: "x".repeat(64 * 1024) }));
    await transit.check();
    door.set("silence to what is large");
    await t.throwsAsync(transit.seal(items), { message: new KeyrowError("CIPHER_UNAVAILABLE").message });
    t.is((await sealOne(transit, userContext(), "value")).encrypted.slice(0, 9), "vault:v1:");
    t.deepEqual(states, ["closed"]);
    door.set("silence");
    await t.throwsAsync(transit.seal(items));
    await until(async () => states.includes("open"));
    door.set("none");
    await until(async () => transit.availability === "closed");
    t.is((await transit.seal(items)).length, 8);
  },
);

test.serial("a refusal is not asked again", async (t) => {
  const door = await makeFaulty(t, { ...bao.access, login: { token: "no-such-token" } });
  const { transit } = observe(t, door.access, bao.transitKey);
  t.is(((await t.throwsAsync(transit.check())) as KeyrowError).code, "CIPHER_UNAVAILABLE");
  // The look-up of the token, and one call with it.
  t.true(door.calls() <= 2);
});

test.serial("an OpenBao that is sealed, stopped and started again is away and back", async (t) => {
  const own = await startOpenBao(t);
  const { transit, log } = observe(t, own.access, own.transitKey);
  const context = userContext();
  const sealed = await sealOne(transit, context, "value");
  for (const [leave, comeBack] of [
    [own.seal, own.unseal],
    [own.stop, own.start],
    [own.kill, own.start],
  ] as const) {
    await leave();
    t.is(((await openOne(transit, { ...sealed, context })) as KeyrowError).code, "CIPHER_UNAVAILABLE");
    await comeBack();
    await until(async () => transit.availability === "closed");
    t.is(await openOne(transit, { ...sealed, context }), "value");
  }
  const told = log().flatMap(({ level, msg }) => (level === "debug" || level === "trace" ? [] : [msg]));
  t.deepEqual(told, Array(3).fill(["OpenBao is away", "OpenBao is back"]).flat(), "one line for each change");
});
