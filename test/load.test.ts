import test, { type ExecutionContext } from "ava";
import { type Answer, makeUser, post, startTestServer, type TestServer } from "./helpers/server.ts";

const query = { query: "{ currentUser { id } }" };

/** Sends so many requests at once. */
function flood(server: TestServer, user: string, count: number): Promise<Answer[]> {
  const token = server.token(user);
  return Promise.all(Array.from({ length: count }, () => post(server.url, token, query)));
}

async function serverWith(t: ExecutionContext, env: Record<string, string>): Promise<TestServer> {
  const server = await startTestServer({ env: { LOG_LEVEL: "warn", ...env } });
  t.teardown(() => server.stop());
  return server;
}

test("one user's flood is answered or told to come back, and another user is served all the while", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_USER_REQUESTS: "2" });
  const [ana, bo] = [await makeUser(server.database), await makeUser(server.database)];
  let flooding = true;
  const floods = Promise.all(Array.from({ length: 3 }, () => flood(server, ana, 150))).finally(() => {
    flooding = false;
  });
  let served = 0;
  do {
    const { status, data } = await post(server.url, server.token(bo), query);
    t.deepEqual([status, data], [200, { currentUser: { id: bo } }]);
    served += 1;
  } while (flooding);
  const answers = (await floods).flat();
  t.true(served > 0);
  const statuses = new Set(answers.map(({ status }) => status));
  t.deepEqual([...statuses].sort(), [200, 429]);
  for (const { status, headers, codes } of answers) {
    if (status === 429) t.deepEqual([headers.get("retry-after"), codes], ["1", ["LIMIT_EXCEEDED"]]);
  }
});

test("the flood of many users is answered 503 with Retry-After beyond KEYROW_MAX_REQUESTS, and passes", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_REQUESTS: "5", KEYROW_MAX_USER_REQUESTS: "2" });
  const users = await Promise.all(Array.from({ length: 20 }, () => makeUser(server.database)));
  const answers = (await Promise.all(users.map((user) => flood(server, user, 5)))).flat();
  const refused = answers.filter(({ status }) => status === 503);
  t.true(refused.length > 0);
  for (const { headers, codes } of refused) t.deepEqual([headers.get("retry-after"), codes], ["1", ["UNAVAILABLE"]]);
  t.true(answers.every(({ status }) => status === 200 || status === 503));
  for (const user of users) t.deepEqual((await server.query(user, query.query)).data, { currentUser: { id: user } });
});

test("a flood of refused requests, whoever sends them, costs no turn", async (t) => {
  const server = await serverWith(t, { KEYROW_MAX_REQUESTS: "5" });
  const user = await makeUser(server.database);
  const strangers = await Promise.all(Array.from({ length: 200 }, () => post(server.url, "no.token.atall", query)));
  t.true(strangers.every(({ status }) => status === 401));
  const bomb = `{ ${"a: currentUser { id } ".repeat(600)} }`;
  for (let i = 0; i < 20; i += 1) t.deepEqual((await server.query(user, bomb)).codes, ["LIMIT_EXCEEDED"]);
  t.deepEqual((await server.query(user, query.query)).codes, []);
});
