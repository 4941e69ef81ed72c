import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { LONG_DOCUMENT } from "../src/limits.ts";
import { ownSigningKey } from "../src/signing-key.ts";
import { waiters } from "./helpers/locks.ts";
import { type Answer, makeUser, post, startTestServer, type TestServer } from "./helpers/server.ts";
import { until } from "./helpers/until.ts";

const query = { query: "{ currentUser { id } }" };
// What a lock on `workspaces` holds up.
const held = { query: "{ workspaces { totalCount } }" };

const steps = Array.from({ length: 45 }, (_, i) => `a${i}: workspaces(first: ${i + 1}) { totalCount nodes { name } }`);
const manySteps = `{ ${steps.join(" ")} }`;

/** Sends so many requests at once. */
function flood(server: TestServer, user: string, count: number, body: unknown): Promise<Answer[]> {
  const token = server.token(user);
  return Promise.all(Array.from({ length: count }, () => post(server.url, token, body)));
}

async function serverWith(t: ExecutionContext, env: Record<string, string>): Promise<TestServer> {
  const server = await startTestServer({ env: { LOG_LEVEL: "warn", ...env } });
  t.teardown(() => server.stop());
  return server;
}

/** Holds up every request that asks for workspaces while `work` runs, so that they pile up on a machine of any speed. */
async function holdingUp<T>(
  server: TestServer,
  work: (waiting: (statements: number) => Promise<void>) => Promise<T>,
): Promise<T> {
  const client = await server.database.pool("postgres").connect();
  await client.query("begin; lock table public.workspaces in access exclusive mode");
  try {
    return await work(async (statements) => {
      await until(
        async () => (await waiters(client)).length === statements,
        () => `${statements} statements to wait`,
      );
    });
  } finally {
    await client.query("rollback");
    client.release();
  }
}

test("one user's flood is answered or told to come back, and another user is served all the while", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_USER_REQUESTS: "2" });
  const [ana, bo] = [await makeUser(server.database), await makeUser(server.database)];
  const flooding = await holdingUp(server, async () => {
    const answers = flood(server, ana, 200, held);
    for (let served = 0; served < 20; served += 1) {
      const { status, data } = await post(server.url, server.token(bo), query);
      t.deepEqual([status, data], [200, { currentUser: { id: bo } }]);
    }
    return { answers };
  });
  const answers = await flooding.answers;
  const refused = answers.filter(({ status }) => status === 429);
  // Two run and fifty wait; whoever waited for the lock too long made room for another.
  t.true(refused.length >= 200 - 52 - 52);
  for (const { headers, codes } of refused) t.deepEqual([headers.get("retry-after"), codes], ["1", ["LIMIT_EXCEEDED"]]);
  t.true(answers.every(({ status }) => status === 200 || status === 429));
  t.deepEqual((await server.query(ana, query.query)).data, { currentUser: { id: ana } });
});

test("one request takes a share of the database's connections, however much it asks for at once", async (t) => {
  const server = await serverWith(t, { KEYROW_DATABASE_CONNECTIONS: "8" });
  const [ana, bo] = [await makeUser(server.database), await makeUser(server.database)];
  const { answers } = await holdingUp(server, async (waiting) => {
    const answers = flood(server, ana, 2, { query: manySteps });
    // A fourth of them.
    await waiting(2);
    for (let served = 0; served < 20; served += 1) {
      const { status, data } = await post(server.url, server.token(bo), query);
      t.deepEqual([status, data], [200, { currentUser: { id: bo } }]);
    }
    await waiting(2);
    return { answers };
  });
  for (const { codes } of await answers)
    t.true(
      codes.every((code) => code === "CONFLICT"),
      "who held the lock gave it back",
    );
  const after = await server.query(ana, manySteps);
  t.deepEqual([after.codes, Object.keys(after.data ?? {}).length], [[], 45]);
});

test("a request whose time is over asks for nothing more", async (t) => {
  const server = await serverWith(t, { KEYROW_DATABASE_CONNECTIONS: "2", KEYROW_REQUEST_TIMEOUT: "2s" });
  const ana = await makeUser(server.database);
  await holdingUp(server, async () => {
    const { data, codes } = await server.query(ana, manySteps);
    t.true(Object.values(data ?? {}).every((value) => value === null));
    // The first may give up its wait for the lock; the others never come so far.
    t.true(codes.includes("LIMIT_EXCEEDED"));
    t.true(codes.every((code) => code === "CONFLICT" || code === "LIMIT_EXCEEDED"));
  });
  // Its time is short for a busy machine.
  await until(async () => (await server.query(ana, query.query)).data?.currentUser.id === ana);
});

test("the flood of many users is answered 503 with Retry-After beyond KEYROW_MAX_REQUESTS, and passes", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_REQUESTS: "5", KEYROW_MAX_USER_REQUESTS: "2" });
  const users = await Promise.all(Array.from({ length: 40 }, () => makeUser(server.database)));
  const { floods, late } = await holdingUp(server, async () => {
    // None asks for more than a user's half.
    const floods = users.slice(20).map((user) => flood(server, user, 2, held));
    // Five are held up, so one of the others is the first to be answered.
    const late = users.slice(0, 20).map((user) => post(server.url, server.token(user), held));
    t.is((await Promise.race(late)).status, 503);
    return { floods, late };
  });
  const answers = [...(await Promise.all(floods)).flat(), ...(await Promise.all(late))];
  const refused = answers.filter(({ status }) => status === 503);
  t.true(refused.length > 0);
  for (const { headers, codes } of refused) t.deepEqual([headers.get("retry-after"), codes], ["1", ["UNAVAILABLE"]]);
  t.true(answers.every(({ status }) => status === 200 || status === 503));
  for (const user of users) t.deepEqual((await server.query(user, query.query)).data, { currentUser: { id: user } });
});

test("one user has half of KEYROW_MAX_REQUESTS at most, whichever tokens it sends, and others are served", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "keyrow-load-"));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const signingKey = await ownSigningKey(join(directory, "signing-key.pem"));
  const server = await startTestServer({ env: { LOG_LEVEL: "warn", KEYROW_MAX_REQUESTS: "10" }, signingKey });
  t.teardown(() => server.stop());
  const [ana, bo] = [await makeUser(server.database), await makeUser(server.database)];
  // Another issuer, and so another subject of the same user.
  const made = await server.query(ana, 'mutation { createToken(input: { name: "second" }) { jwt } }');
  const tokens = [server.token(ana), made.data?.createToken.jwt];
  const ask = () => [0, 1, 0, 1, 0].map((which) => post(server.url, tokens[which], held));
  // Once before, for connections and plans take their time, and who waits for a lock gives it up soon.
  await Promise.all(ask());
  const answers = await holdingUp(server, async (waiting) => {
    const fitting = ask();
    await waiting(5);
    for (const token of tokens) {
      const { status, headers, codes } = await post(server.url, token, query);
      t.deepEqual([status, headers.get("retry-after"), codes], [429, "1", ["LIMIT_EXCEEDED"]]);
    }
    t.deepEqual((await server.query(bo, query.query)).data, { currentUser: { id: bo } });
    return { fitting };
  });
  for (const { status } of await Promise.all(answers.fitting)) t.is(status, 200);
});

// Of one statement. Each id is a field and a cell, 151; the rest counts 625.
const planned = (ids: number) => `{ workspaces(first: 1) { nodes { id } } currentUser { ${"id ".repeat(ids)} } }`;
const long = (characters: number) => "{ workspaces { nodes { id } } }".padEnd(characters, "#");
const large: Array<[what: string, fits: string, large: string]> = [
  ["many fields", planned(62), planned(63)],
  ["many characters", long(LONG_DOCUMENT), long(LONG_DOCUMENT + 1)],
];
for (const [what, fits, more] of large) {
  test(`of a user's documents of ${what} one is in work at a time, and another user's beside it`, async (t) => {
    const server = await serverWith(t, { KEYROW_DATABASE_CONNECTIONS: "16" });
    const [ana, bo] = [await makeUser(server.database), await makeUser(server.database)];
    // Once before, for connections and plans take their time, and who waits for a lock gives it up soon.
    await flood(server, ana, 4, { query: fits });
    const { small } = await holdingUp(server, async (waiting) => {
      const small = flood(server, ana, 4, { query: fits });
      await waiting(4);
      return { small };
    });
    for (const { status } of await small) t.is(status, 200);
    const { answers } = await holdingUp(server, async (waiting) => {
      const answers = flood(server, ana, 8, { query: more });
      await waiting(1);
      for (let served = 0; served < 20; served += 1) {
        const { status, data } = await post(server.url, server.token(bo), query);
        t.deepEqual([status, data], [200, { currentUser: { id: bo } }]);
      }
      await waiting(1);
      const others = flood(server, bo, 8, { query: more });
      await waiting(2);
      return { answers: [answers, others] };
    });
    for (const { status } of (await Promise.all(answers)).flat()) t.is(status, 200);
  });
}

test("a flood of refused requests, whoever sends them, costs no turn", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_REQUESTS: "5" });
  const user = await makeUser(server.database);
  const strangers = await Promise.all(Array.from({ length: 200 }, () => post(server.url, "no.token.atall", query)));
  t.true(strangers.every(({ status }) => status === 401));
  const bomb = `{ ${"a: currentUser { id } ".repeat(600)} }`;
  for (let i = 0; i < 20; i += 1) t.deepEqual((await server.query(user, bomb)).codes, ["LIMIT_EXCEEDED"]);
  t.deepEqual((await server.query(user, query.query)).codes, []);
});
