import test, { type ExecutionContext } from "ava";
import { asAdmin, makeUser, post, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
let ana: string;
test.before(async () => {
  server = await startTestServer({
    env: {
      KEYROW_MAX_BODY: "2000",
      KEYROW_MAX_DOCUMENT: "300",
      KEYROW_MAX_DEPTH: "3",
      KEYROW_MAX_FIELDS: "7",
      KEYROW_MAX_ALIASES: "2",
      KEYROW_PAGE_SIZE: "2",
      KEYROW_MAX_PAGE_SIZE: "4",
      KEYROW_MAX_CELLS: "173",
      KEYROW_MAX_REVEALS: "3",
    },
  });
  ana = await makeUser(server.database);
  for (let i = 0; i < 5; i += 1) {
    await server.query(
      ana,
      `mutation { setUserCredential(input: { provider: "p", name: "n${i}", value: "v" }) { created } }`,
    );
  }
});
test.after.always(() => server?.stop());

/** A body of so many bytes. */
function body(bytes: number): unknown {
  const request = { query: "{ currentUser { id } }", variables: { x: "" } };
  const missing = bytes - Buffer.byteLength(JSON.stringify(request));
  return { ...request, variables: { x: "x".repeat(missing) } };
}

const asked = (query: string) => ({ query });
const list = (first: number, field: string) => `{ userCredentials(first: ${first}) { nodes { ${field} } } }`;

// Each limit at its edge, and one beyond.
const edges: Array<[setting: string, fits: unknown, tooMuch: unknown, status?: number]> = [
  ["KEYROW_MAX_BODY", body(2_000), body(2_001), 413],
  ["KEYROW_MAX_DOCUMENT", asked("{ currentUser { id } }".padEnd(300)), asked("{ currentUser { id } }".padEnd(301))],
  [
    "KEYROW_MAX_DEPTH",
    asked("{ userCredentials { nodes { id } } }"),
    asked("{ userCredentials { nodes { user { id } } } }"),
  ],
  [
    "KEYROW_MAX_FIELDS",
    asked("{ userCredentials { nodes { ...f } } } fragment f on UserCredential { id name type scope isActive }"),
    asked(
      "{ userCredentials { nodes { ...f } } } fragment f on UserCredential { id name type scope isActive provider }",
    ),
  ],
  [
    "KEYROW_MAX_ALIASES",
    asked("{ a: currentUser { id } b: currentUser { id } }"),
    asked("{ a: currentUser { id } b: currentUser { c: id } }"),
  ],
  ["KEYROW_MAX_PAGE_SIZE", asked(list(4, "id")), asked(list(5, "id"))],
  [
    "KEYROW_MAX_PAGE_SIZE, nested",
    asked("{ currentUser { userCredentials(last: 4) { totalCount } } }"),
    asked("{ currentUser { userCredentials(last: 5) { totalCount } } }"),
  ],
  [
    "KEYROW_MAX_CELLS",
    asked("{ userCredentials(first: 4) { nodes { id description metadata } } }"),
    asked("{ userCredentials(first: 4) { nodes { id description metadata } totalCount } }"),
  ],
  ["KEYROW_MAX_REVEALS", asked(list(3, "value")), asked(list(4, "value"))],
];
for (const [setting, fits, tooMuch, status = 200] of edges) {
  test(`${setting} is a limit: what fits is answered, one more is refused`, async (t) => {
    const token = server.token(ana);
    const inside = await post(server.url, token, fits);
    t.deepEqual([inside.status, inside.codes], [200, []]);
    const outside = await post(server.url, token, tooMuch);
    t.is(outside.status, status);
    t.true(outside.codes.length > 0 && outside.codes.every((code) => code === "LIMIT_EXCEEDED"));
  });
}

test("KEYROW_PAGE_SIZE is what a list has where nobody says", async (t) => {
  const { data } = await server.query(ana, "{ userCredentials { nodes { id } } }");
  t.is(data.userCredentials.nodes.length, 2);
});

test("nothing is on the record of a request that would have revealed too much", async (t) => {
  const id = `refused-${Date.now()}`;
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${server.token(ana)}`,
      "x-request-id": id,
    },
    body: JSON.stringify(asked(list(4, "value"))),
  });
  t.regex(await response.text(), /LIMIT_EXCEEDED/);
  const { rows } = await asAdmin(server.database, "select from public.activity_logs where details ->> 'request' = $1", [
    id,
  ]);
  t.deepEqual(rows, []);
});

/** A server with some settings, and a user on it. */
async function serverWith(t: ExecutionContext, env: Record<string, string>) {
  const own = await startTestServer({ env });
  t.teardown(() => own.stop());
  return { own, user: await makeUser(own.database) };
}

test("KEYROW_STATEMENT_TIMEOUT ends a statement, and the next request is served", async (t) => {
  const { own, user } = await serverWith(t, { KEYROW_STATEMENT_TIMEOUT: "300ms" });
  const slow = own.database.pool("postgres");
  await slow.query(`
    create function public.slow(uuid) returns boolean language plpgsql as 'begin perform pg_sleep(30); return true; end';
    create policy slow on public.users as restrictive for select to keyrow_user using (public.slow(id))`);
  t.deepEqual((await own.query(user, "{ currentUser { name } }")).codes, ["LIMIT_EXCEEDED"]);
  await slow.query("drop policy slow on public.users");
  t.deepEqual((await own.query(user, "{ currentUser { name } }")).codes, []);
});

test("KEYROW_REQUEST_TIMEOUT ends a request, though each of its statements is fast enough", async (t) => {
  const { own, user } = await serverWith(t, { KEYROW_REQUEST_TIMEOUT: "400ms" });
  await own.database.pool("postgres").query(`
    create function public.slow(uuid) returns boolean language plpgsql as 'begin perform pg_sleep(2); return true; end';
    create policy slow on public.users as restrictive for select to keyrow_user using (public.slow(id))`);
  t.deepEqual((await own.query(user, "{ currentUser { name } }")).codes, ["LIMIT_EXCEEDED"]);
});

test("KEYROW_INTROSPECTION=off tells no schema and suggests no names, and the API goes on", async (t) => {
  const { own, user } = await serverWith(t, { KEYROW_INTROSPECTION: "off" });
  for (const query of ["{ __schema { types { name } } }", '{ __type(name: "User") { name } }']) {
    const { codes, text } = await own.query(user, query);
    t.deepEqual([...new Set(codes)], ["FORBIDDEN"]);
    t.notRegex(text, /currentUser/i);
  }
  t.notRegex((await own.query(user, "{ curentUser { id } }")).text, /currentUser/);
  t.is((await own.query(user, "{ currentUser { __typename } }")).data.currentUser.__typename, "User");
});

/** Gives a user so many credentials with descriptions of 16 KiB. */
async function hoard(own: TestServer, user: string, count: number): Promise<void> {
  await asAdmin(
    own.database,
    `insert into public.user_credentials (user_id, provider, name, type, encrypted_value, description)
     select $1, 'p', n::text, 'SECRET', 'vault:v1:AAAA', repeat('x', 16384) from generate_series(1, $2::int) n`,
    [user, count],
  );
}

test("an answer that would not fit into memory is refused, and the server goes on", async (t) => {
  const { own, user } = await serverWith(t, { KEYROW_MAX_CELLS: "10000000" });
  await hoard(own, user, 800);
  const fields = Array.from(
    { length: 4 },
    (_, i) => `a${i}: userCredentials(first: ${800 - i}) { nodes { description } }`,
  );
  const { codes, text } = await own.query(user, `{ ${fields.join(" ")} }`);
  t.true(codes.includes("LIMIT_EXCEEDED"));
  t.true(text.length < 64 * 1024 * 1024);
  t.is((await own.query(user, list(1, "id"))).data.userCredentials.nodes.length, 1);
});

test("KEYROW_MAX_ANSWER is a limit: an answer of so many bytes is given, and none of it where it has one more", async (t) => {
  const { own, user } = await serverWith(t, { KEYROW_MAX_ANSWER: "1024" });
  const set = `mutation ($text: String!) {
    setUserCredential(input: { provider: "p", name: "n", value: "v", description: $text }) { userCredential { description } }
  }`;
  const answer = (text: string) =>
    JSON.stringify({ data: { setUserCredential: { userCredential: { description: text } } } });
  const left = 1024 - answer("").length;
  // Two bytes each.
  const fits = `${"x".repeat(left % 2)}${"é".repeat(left / 2)}`;
  t.is(Buffer.byteLength(answer(fits)), 1024);
  const inside = await own.query(user, set, { text: fits });
  t.is(inside.text, answer(fits));
  const outside = await own.query(user, set, { text: `${fits}x` });
  t.deepEqual([outside.status, outside.data, outside.codes], [200, null, ["LIMIT_EXCEEDED"]]);
  const { rows } = await asAdmin(own.database, "select description from public.user_credentials");
  t.deepEqual(rows, [{ description: `${fits}x` }], "what was changed is changed");
});

const aliased = (rows: number, field: string) =>
  `{ userCredentials(first: ${rows}) { nodes { ${Array.from({ length: 50 }, (_, i) => `a${i}: ${field}`).join(" ")} } } }`;

test("aliases that make an answer larger than a text can be are refused, and the server goes on", async (t) => {
  const { own, user } = await serverWith(t, { KEYROW_MAX_CELLS: "10000000" });
  await hoard(own, user, 700);
  const { status, data, codes } = await own.query(user, aliased(700, "description"));
  t.deepEqual([status, data, codes], [200, null, ["LIMIT_EXCEEDED"]]);
  t.is((await own.query(user, list(1, "id"))).data.userCredentials.nodes.length, 1);
  t.notRegex(own.log(), /unexpected error/);
});

test("aliases of values that make an answer too large are refused", async (t) => {
  const { own, user } = await serverWith(t, {});
  const set = `mutation ($name: String!, $value: String!) {
    setUserCredential(input: { provider: "p", name: $name, value: $value }) { created }
  }`;
  const value = "x".repeat(65_536);
  for (let i = 0; i < 6; i += 1) t.deepEqual((await own.query(user, set, { name: `${i}`, value })).codes, []);
  t.deepEqual((await own.query(user, aliased(1, "value"))).codes, []);
  const { data, codes } = await own.query(user, aliased(6, "value"));
  t.deepEqual([data, codes], [null, ["LIMIT_EXCEEDED"]]);
});
