import { chmod, copyFile, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { addKey, createKeyFile, readKeyFile, retireKey } from "../../src/cipher/keyfile.ts";
import { createLocalRing } from "../../src/cipher/local-ring.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { collectLog } from "../helpers/log.ts";
import { damagedLocal, isCannotOpen, localKey, openOne, sealOne, testCipher, userContext } from "./contract.ts";

testCipher({
  name: "local ring",
  make: () =>
    createLocalRing({
      keys: [localKey("local:20260202-00000002"), localKey("local:20260101-00000001")],
      path: undefined,
      log: collectLog().log,
    }),
  damaged: damagedLocal,
});

/** A key file with one key, and a ring that follows it. */
async function following(t: ExecutionContext) {
  const directory = makeTemporaryDirectory("keyrow-ring-");
  t.teardown(() => removeWithServers(directory));
  const path = join(directory, "keys.json");
  const keys = await createKeyFile(path);
  const { log, lines } = collectLog();
  const context = userContext();
  const ring = createLocalRing({ keys, path, log });
  return {
    path,
    ring,
    context,
    first: keys[0]?.id ?? "",
    seal: () => sealOne(ring, context, "value"),
    said: () => lines().map(({ level, msg }) => `${level} ${msg}`),
  };
}

/** Adds a key, and gives its id. */
async function add(path: string): Promise<string> {
  const [added] = await addKey(path);
  return added?.id ?? "";
}

const CHANGED = "info the key file has changed";
const UNREADABLE = "warn the key file can't be read again; the keys that it had are used";

test("a key that is added seals from the next value on, and older values open", async (t) => {
  const { path, ring, context, first, seal, said } = await following(t);
  const old = await seal();
  t.is(old.keyId, first);
  const added = await add(path);
  const sealed = await seal();
  t.is(sealed.keyId, added);
  t.is(await ring.current(), sealed.keyId);
  t.deepEqual(ring.keyIds, [sealed.keyId, first]);
  for (const one of [old, sealed]) t.is(await openOne(ring, { ...one, context }), "value");
  t.deepEqual(said(), [CHANGED]);
});

test("nothing is sealed under a key that was retired, and nothing opens under it", async (t) => {
  const { path, ring, context, first, seal } = await following(t);
  const old = await seal();
  await addKey(path);
  t.true(await retireKey(path, first, async () => undefined));
  t.not((await seal()).keyId, first);
  isCannotOpen(t, await openOne(ring, { ...old, context }));
  t.is(ring.state(first), "missing");
});

const damages: ReadonlyArray<[what: string, damage: (path: string) => Promise<void>]> = [
  ["cut off", async (path) => writeFile(path, (await readFile(path, "utf8")).slice(0, -40))],
  ["empty", (path) => writeFile(path, "")],
  ["gone", (path) => rename(path, `${path}.old`)],
  ["open to others", (path) => chmod(path, 0o644)],
];

for (const [what, damage] of damages) {
  test(`a key file that is ${what} changes nothing, is told of once, and counts again when it is whole`, async (t) => {
    const { path, ring, context, first, seal, said } = await following(t);
    const old = await seal();
    const whole = `${path}.whole`;
    await copyFile(path, whole);
    await damage(path);
    for (let time = 0; time < 3; time++) t.is((await seal()).keyId, first);
    t.is(await openOne(ring, { ...old, context }), "value");
    t.deepEqual(said(), [UNREADABLE]);
    const added = await add(whole);
    await rename(whole, path);
    t.is((await seal()).keyId, added);
    t.deepEqual(said(), [UNREADABLE, CHANGED]);
  });
}

test("a file that lost a key without retiring it closes no value", async (t) => {
  const { path, ring, context, first, seal } = await following(t);
  const older = `${path}.older`;
  await copyFile(path, older);
  const added = await add(path);
  const sealed = await seal();
  t.is(sealed.keyId, added);
  await rename(older, path);
  t.is((await seal()).keyId, first, "what the file has seals");
  t.is(await openOne(ring, { ...sealed, context }), "value");
});

test("calls at once, while keys are added, seal under keys that the file has", async (t) => {
  const { path, ring, context, seal } = await following(t);
  const sealing = Array.from({ length: 200 }, () => seal());
  for (let time = 0; time < 3; time++) await addKey(path);
  const sealed = await Promise.all(sealing);
  const known = new Set((await readKeyFile(path)).map(({ id }) => id));
  for (const one of sealed) {
    t.true(known.has(one.keyId));
    t.is(await openOne(ring, { ...one, context }), "value");
  }
  t.is((await seal()).keyId, (await readKeyFile(path))[0]?.id ?? "");
});
