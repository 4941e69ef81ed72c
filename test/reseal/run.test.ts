import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import test from "ava";
import type { Cipher } from "../../src/cipher/cipher.ts";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import { KeyrowError } from "../../src/errors.ts";
import { boundOf } from "../../src/reseal/reseal.ts";
import { readRows, writeChanges } from "../../src/reseal/rows.ts";
import { run } from "../../src/reseal/run.ts";
import { localKey } from "../cipher/contract.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { asAdmin, makeUser } from "../helpers/server.ts";
import { makeOwner, opened, rowsOf, store, worker } from "./stage.ts";

let database: TestDatabase;
test.before(async () => {
  database = await createTestDatabase();
});
test.after.always(() => database?.drop());

// Each test has keys of its own, for they share a database.
let made = 0;
function keys(): { from: Cipher; to: Cipher; ring: Cipher; fromId: string; toId: string } {
  made += 1;
  const id = (day: number) => `local:202601${String(day).padStart(2, "0")}-${String(made).padStart(8, "0")}`;
  const [fromId, toId] = [id(1), id(2)];
  const [from, to] = [createLocalCipher(localKey(fromId)), createLocalCipher(localKey(toId))];
  return { from, to, ring: createKeyring([to, from]), fromId, toId };
}

test("all values move, of every scope, and open as before under the new key alone", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId, toId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 25);
  const ids = stored.map(({ id }) => id);
  const told: number[] = [];
  const result = await run({
    ...db,
    opener: ring,
    target: { cipher: to, transit: undefined },
    from: [fromId],
    batch: 4,
    onProgress: ({ moved }) => told.push(moved),
  });
  t.like(result, { moved: 25, changed: 0 });
  t.is(result.failed.size, 0);
  t.true(told.length >= 7, "progress is told batch by batch");
  t.deepEqual(new Set((await rowsOf(db.pool, ids)).map(({ key_id }) => key_id)), new Set([toId]));
  t.deepEqual(
    await opened(db, to, ids),
    stored.map(({ value }) => value),
  );
});

test("neither updated_at nor rotated_at moves, and the log knows of no rotation", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 3);
  const ids = stored.map(({ id }) => id);
  const facts = async () => {
    const { rows } = await asAdmin(
      database,
      "select id, updated_at, rotated_at, last_used_at, is_active, masked_value from public.user_credentials where id = any ($1) order by id",
      [ids],
    );
    const log = await asAdmin(
      database,
      "select count(*)::int as n from public.activity_logs where entity_id = any ($1)",
      [ids],
    );
    return { rows, logged: log.rows[0].n };
  };
  const before = await facts();
  t.is(
    (await run({ ...db, opener: ring, target: { cipher: to, transit: undefined }, from: [fromId], batch: 10 })).moved,
    3,
  );
  t.deepEqual(await facts(), before);
});

test("a value that does not open stays as it is, is named, and stops no other", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 10);
  const [bad, other] = stored.map(({ id }) => id);
  // A stranger's ciphertext in this row.
  const [foreign] = await rowsOf(db.pool, [other ?? ""]);
  await db.pool.query("update public.user_credentials set encrypted_value = $2 where id = $1", [
    bad,
    foreign?.encrypted_value,
  ]);
  const result = await run({
    ...db,
    opener: ring,
    target: { cipher: to, transit: undefined },
    from: [fromId],
    batch: 3,
  });
  t.is(result.moved, 9);
  t.deepEqual([...result.failed], [bad]);
  const [row] = await rowsOf(db.pool, [bad ?? ""]);
  t.is(row?.key_id, fromId);
  t.is(row?.encrypted_value, foreign?.encrypted_value);
});

test("what a new form does not open to is never written", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 3);
  // A cipher that seals something else than it was given, as a broken one would.
  const broken: Cipher = {
    ...to,
    seal: (items) => to.seal(items.map((item) => ({ ...item, value: `${item.value}?` }))),
  };
  const result = await run({
    ...db,
    opener: ring,
    target: { cipher: broken, transit: undefined },
    from: [fromId],
    batch: 10,
  });
  t.is(result.moved, 0);
  t.is(result.failed.size, 3);
  t.deepEqual(
    await opened(
      db,
      from,
      stored.map(({ id }) => id),
    ),
    stored.map(({ value }) => value),
  );
});

/** A target that lets something happen once, between the reading and the writing of a row, whatever batch it is in. */
function meanwhile(to: Cipher, id: string, happen: () => Promise<unknown>): Cipher {
  let once = true;
  return {
    ...to,
    async seal(items) {
      const sealed = await to.seal(items);
      const isNow = once && items.some(({ context }) => context.includes(id));
      if (isNow) once = false;
      if (isNow) await happen();
      return sealed;
    },
  };
}

test("a value that is changed meanwhile wins", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const [stored] = await store(database, db, from, await makeOwner(database), 1);
  const id = stored?.id ?? "";
  const [row] = await rowsOf(db.pool, [id]);
  if (row === undefined) throw new Error("no row");
  const [renewed] = await from.seal([{ context: boundOf(db.place, row).context, value: "renewed" }]);
  const target = meanwhile(to, id, () =>
    asAdmin(database, "update public.user_credentials set encrypted_value = $2 where id = $1", [
      id,
      renewed?.encrypted,
    ]),
  );
  const result = await run({
    ...db,
    opener: ring,
    target: { cipher: target, transit: undefined },
    from: [fromId],
    batch: 10,
  });
  t.is(result.changed, 1);
  t.deepEqual(await opened(db, ring, [id]), ["renewed"]);
});

test("an owner that is changed meanwhile wins", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 3);
  const system = stored[2]?.id ?? "";
  const heir = await makeUser(database);
  const target = meanwhile(to, system, () =>
    asAdmin(database, "update public.user_credentials set user_id = $2 where id = $1", [system, heir]),
  );
  const result = await run({
    ...db,
    opener: ring,
    target: { cipher: target, transit: undefined },
    from: [fromId],
    batch: 10,
  });
  t.like(result, { moved: 3, changed: 1 });
  t.is((await rowsOf(db.pool, [system]))[0]?.user_id, heir);
  t.deepEqual(await opened(db, to, [system]), [stored[2]?.value]);
});

for (const [what, change] of [
  ["scope", "scope = 'SYSTEM'"],
  ["workspace", "workspace_id = gen_random_uuid()"],
  ["key", "key_id = 'local:20260101-99999999'"],
] as const) {
  test(`a ${what} that is changed meanwhile wins, though nobody but a superuser can change it alone`, async (t) => {
    const db = await worker(t, database);
    const { from, to, ring, fromId } = keys();
    const stored = await store(database, db, from, await makeOwner(database), 2);
    const id = stored[1]?.id ?? "";
    const superuser = database.pool("postgres");
    const target = meanwhile(to, id, () =>
      superuser.query(`begin; set local session_replication_role = replica;
        update public.user_credentials set ${change} where id = '${id}'; commit`),
    );
    const result = await run({
      ...db,
      opener: ring,
      target: { cipher: target, transit: undefined },
      from: [fromId],
      batch: 10,
    });
    t.is(result.changed, 1);
    const [row] = await rowsOf(db.pool, [id]);
    t.not(row?.key_id, await to.current());
  });
}

test("a row that somebody is changing right now is waited for by nobody, and moved in the end", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 5);
  const locked = stored[0]?.id ?? "";
  const holder = await database.pool("postgres").connect();
  await holder.query("begin");
  await holder.query("select from public.user_credentials where id = $1 for update", [locked]);
  const parts = { ...db, opener: ring, target: { cipher: to, transit: undefined }, from: [fromId], batch: 10 };
  t.is((await run(parts)).moved, 4);
  await holder.query("rollback");
  holder.release();
  t.like(await run(parts), { moved: 1, changed: 0 });
  t.deepEqual(await opened(db, to, [locked]), [stored[0]?.value]);
});

test("writers and two runs at once, again and again: every last value is there and opens", async (t) => {
  const [one, two] = [await worker(t, database), await worker(t, database)];
  const owner = await makeOwner(database);
  for (let round = 0; round < 5; round++) {
    const { from, to, ring, fromId, toId } = keys();
    const stored = await store(database, one, from, owner, 60);
    const latest = new Map(stored.map(({ id, value }) => [id, value]));
    // Servers that still seal under the old key.
    const write = async (share: number) => {
      for (const { id } of stored.filter((_, index) => index % 4 === share)) {
        const [row] = await rowsOf(one.pool, [id]);
        if (row === undefined) throw new Error("no row");
        const value = `written ${randomUUID()}`;
        const [sealed] = await from.seal([{ context: boundOf(one.place, row).context, value }]);
        await asAdmin(database, "update public.user_credentials set encrypted_value = $2, key_id = $3 where id = $1", [
          id,
          sealed?.encrypted,
          sealed?.keyId,
        ]);
        latest.set(id, value);
      }
    };
    const move = (db: typeof one) =>
      run({ ...db, opener: ring, target: { cipher: to, transit: undefined }, from: [fromId], batch: 7 });
    await Promise.all([move(one), move(two), write(0), write(1)]);
    // What was written behind them.
    const rest = await Promise.all([move(one), move(two)]);
    t.deepEqual(
      rest.map(({ failed }) => failed.size),
      [0, 0],
    );
    const ids = [...latest.keys()];
    t.deepEqual(new Set((await rowsOf(one.pool, ids)).map(({ key_id }) => key_id)), new Set([toId]));
    t.deepEqual(await opened(one, to, ids), [...latest.values()]);
  }
});

test("it ends where it is told to, and goes on where it was", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 30);
  const stop = new AbortController();
  const parts = { ...db, opener: ring, target: { cipher: to, transit: undefined }, from: [fromId], batch: 5 };
  const first = await run({
    ...parts,
    signal: stop.signal,
    onProgress: ({ moved }) => {
      if (moved >= 10) stop.abort();
    },
  });
  // Behind the last id it begins at the first, and the batch before that may be any size.
  t.true(first.moved >= 10 && first.moved < 15, String(first.moved));
  const rest = await run(parts);
  t.is(rest.moved, 30 - first.moved);
  const ids = stored.map(({ id }) => id);
  t.deepEqual(
    await opened(db, to, ids),
    stored.map(({ value }) => value),
  );
});

test("a target that is away throws CIPHER_UNAVAILABLE, and nothing is lost", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 6);
  let calls = 0;
  const away: Cipher = {
    ...to,
    seal: (items) => (++calls > 1 ? Promise.reject(new KeyrowError("CIPHER_UNAVAILABLE")) : to.seal(items)),
  };
  const parts = { ...db, opener: ring, target: { cipher: away, transit: undefined }, from: [fromId], batch: 2 };
  await t.throwsAsync(run(parts), { code: "CIPHER_UNAVAILABLE" });
  const ids = stored.map(({ id }) => id);
  t.deepEqual(
    await opened(db, ring, ids),
    stored.map(({ value }) => value),
  );
});

test("a target that is away in between is waited for, as often as somebody says that it is back", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const stored = await store(database, db, from, await makeOwner(database), 5);
  let calls = 0;
  let away = (_: number) => true;
  const target: Cipher = {
    ...to,
    async seal(items) {
      calls += 1;
      if (away(calls)) throw new KeyrowError("CIPHER_UNAVAILABLE");
      return to.seal(items);
    },
  };
  const parts = {
    ...db,
    opener: ring,
    target: { cipher: target, transit: undefined },
    from: [fromId],
    batch: 2,
    rate: 1e6,
  };
  let waits = 0;
  const whenAway = (back: boolean) => async () => {
    waits += 1;
    return back;
  };
  await t.throwsAsync(run({ ...parts, whenAway: whenAway(false) }), { code: "CIPHER_UNAVAILABLE" });
  t.deepEqual([calls, waits], [1, 1], "it is not back");
  [calls, waits] = [0, 0];
  await t.throwsAsync(run({ ...parts, whenAway: whenAway(true) }), { code: "CIPHER_UNAVAILABLE" });
  t.deepEqual([calls, waits], [5, 4], "what is said to be back, and is not, ends it as well");
  const stop = new AbortController();
  const stopped = async () => {
    stop.abort();
    return false;
  };
  t.is((await run({ ...parts, whenAway: stopped, signal: stop.signal })).moved, 0, "told to stop, it just ends");
  [calls, waits] = [0, 0];
  away = (call) => call % 2 === 0;
  t.is((await run({ ...parts, whenAway: whenAway(true) })).moved, 5);
  t.true(waits >= 2);
  t.deepEqual(
    await opened(
      db,
      to,
      stored.map(({ id }) => id),
    ),
    stored.map(({ value }) => value),
  );
});

test("while a batch is written the next one is sealed, and a rate does without", async (t) => {
  for (const rate of [undefined, 1_000]) {
    const db = await worker(t, database);
    const { from, to, ring, fromId } = keys();
    await store(database, db, from, await makeOwner(database), 6);
    let sealed = 0;
    const target: Cipher = {
      ...to,
      async seal(items) {
        sealed += 1;
        return to.seal(items);
      },
    };
    const sealedMeanwhile: number[] = [];
    const query = async (statement: { text: string; values: unknown[] }) => {
      const result = await db.pool.query(statement);
      if (statement.text.includes("update")) sealedMeanwhile.push(sealed);
      return result;
    };
    const pool = { query } as unknown as typeof db.pool;
    const parts = {
      ...db,
      pool,
      opener: ring,
      target: { cipher: target, transit: undefined },
      from: [fromId],
      batch: 1,
    };
    t.is((await run({ ...parts, rate })).moved, 6);
    t.is(sealedMeanwhile.length, 6);
    // The last of a range has none behind it.
    const ahead = sealedMeanwhile.filter((count, index) => count > index + 1).length;
    if (rate === undefined) t.true(ahead >= 4, sealedMeanwhile.join());
    else t.is(ahead, 0, sealedMeanwhile.join());
  }
});

test("whoever is told that it failed is told when nothing of it goes on any more", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  await store(database, db, from, await makeOwner(database), 20);
  let [open, isLast] = [0, false];
  let wake: ((why: "end" | "next") => void) | undefined;
  const query = async (statement: { text: string; values: unknown[] }) => {
    const result = await db.pool.query(statement);
    if (!statement.text.includes("limit")) return result;
    isLast = result.rows.length < 2;
    if (isLast) wake?.("end");
    return result;
  };
  // A batch fails as soon as the next one is sealed beside it, and that one takes longer.
  const away: Cipher = {
    ...to,
    async seal(items) {
      const older = wake;
      open += 1;
      const waiting = new Promise<"end" | "next">((resolve) => {
        wake = resolve;
      });
      older?.("next");
      const why = isLast ? "end" : older === undefined ? await waiting : await nextTurn("end" as const);
      wake = undefined;
      open -= 1;
      if (why === "next") throw new KeyrowError("CIPHER_UNAVAILABLE");
      return to.seal(items);
    },
  };
  const pool = { query } as unknown as typeof db.pool;
  const parts = { ...db, pool, opener: ring, target: { cipher: away, transit: undefined }, from: [fromId], batch: 2 };
  await t.throwsAsync(run(parts), { code: "CIPHER_UNAVAILABLE" });
  t.is(open, 0);
});

test("rows are found by index, however many there are", async (t) => {
  const db = await worker(t, database);
  const { from, fromId } = keys();
  await store(database, db, from, await makeOwner(database), 3_000);
  await database.pool("postgres").query("analyze public.user_credentials");
  const plans: string[] = [];
  const query = async ({ text, values }: { text: string; values: unknown[] }) => {
    const { rows } = await db.pool.query(`explain (costs off) ${text}`, values);
    plans.push(rows.map((row) => row["QUERY PLAN"]).join("\n"));
    return db.pool.query(text, values);
  };
  const client = { query } as unknown as typeof db.pool;
  const rows = await readRows(client, fromId, { after: "00000000-0000-0000-0000-000000000000", limit: 200 });
  t.is(rows.length, 200);
  t.regex(plans[0] ?? "", /^Limit\n +-> {2}Index Scan using user_credentials_key_id_id_idx /);
  t.notRegex(plans[0] ?? "", /Sort/);

  const some = rows.slice(0, 20).map((row) => ({ row, sealed: { encrypted: row.encrypted_value, keyId: row.key_id } }));
  t.is((await writeChanges(client, some)).size, 20);
  t.notRegex(plans[1] ?? "", /Seq Scan/);
});

test("who stops it does not wait for a cipher that says nothing", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  const ids = (await store(database, db, from, await makeOwner(database), 3)).map(({ id }) => id);
  const before = await rowsOf(db.pool, ids);
  const stop = new AbortController();
  let answer: (() => void) | undefined;
  const silent: Cipher = {
    ...to,
    async seal(items) {
      const answered = new Promise<void>((resolve) => {
        answer = resolve;
      });
      stop.abort();
      await answered;
      return to.seal(items);
    },
  };
  const target = { cipher: silent, transit: undefined };
  const { moved, failed } = await run({
    ...db,
    opener: ring,
    target,
    from: [fromId],
    batch: 2,
    signal: stop.signal,
  });
  t.deepEqual([moved, failed.size], [0, 0]);
  answer?.();
  await nextTurn();
  t.deepEqual(await rowsOf(db.pool, ids), before, "nor is what it says later written");
});

test("a rate is kept", async (t) => {
  const db = await worker(t, database);
  const { from, to, ring, fromId } = keys();
  await store(database, db, from, await makeOwner(database), 10);
  const started = performance.now();
  const parts = { ...db, opener: ring, target: { cipher: to, transit: undefined }, from: [fromId] };
  await run({ ...parts, batch: 2, rate: 50 });
  // Never faster: that much holds on any machine.
  t.true(performance.now() - started >= 190);
  await store(database, db, from, await makeOwner(database), 3);
  const stop = new AbortController();
  const onProgress = () => stop.abort();
  const { moved } = await run({ ...parts, batch: 200, rate: 2, signal: stop.signal, onProgress });
  t.true(moved > 0 && moved <= 2, "nor are more rows moved at once than in a second");
});
