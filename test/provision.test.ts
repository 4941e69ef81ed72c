import { randomUUID } from "node:crypto";
import test from "ava";
import { withConnection } from "../src/setup.ts";
import { asAdmin, makeUser, post, startTestServer, type TestServer } from "./helpers/server.ts";
import { listenToTraffic } from "./reveal/credentials.ts";

const traffic = listenToTraffic();
let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

const me = { query: "{ currentUser { id name } }" };
const users = async (on: TestServer, id: string) =>
  (await asAdmin(on.database, "select id, email, name from public.users where id = $1", [id])).rows;
const calls = (headers: Headers) =>
  traffic
    .of(headers.get("x-request-id"))
    .flat()
    .filter((statement) => statement.includes("provision_user")).length;

test("the first valid token makes its user's row, with the e-mail and the name that it has", async (t) => {
  const id = randomUUID();
  const token = server.token(id, { email: `${id}@example.org`, name: "Ana" });
  const { data, codes, headers } = await post(server.url, token, me);
  t.deepEqual([codes, data], [[], { currentUser: { id, name: "Ana" } }]);
  t.deepEqual(await users(server, id), [{ id, email: `${id}@example.org`, name: "Ana" }]);
  t.is(calls(headers), 1);
});

test("a token that names nobody but an id makes a row of the id alone", async (t) => {
  const id = randomUUID();
  t.deepEqual((await post(server.url, server.token(id), me)).data, { currentUser: { id, name: null } });
  t.deepEqual(await users(server, id), [{ id, email: null, name: null }]);
});

test("three first requests at once make one call and one row, and later ones none", async (t) => {
  const id = randomUUID();
  const token = server.token(id);
  const first = await Promise.all([1, 2, 3].map(() => post(server.url, token, me)));
  for (const { data } of first) t.deepEqual(data, { currentUser: { id, name: null } });
  t.is(
    first.reduce((sum, { headers }) => sum + calls(headers), 0),
    1,
  );
  t.is((await users(server, id)).length, 1);
  t.is(calls((await post(server.url, server.token(id), me)).headers), 0);
});

test("an address that somebody has stays theirs, whatever its case: the new row is made without it", async (t) => {
  const [first, second] = [randomUUID(), randomUUID()];
  const email = `${first}@example.org`;
  await post(server.url, server.token(first, { email }), me);
  const { codes } = await post(server.url, server.token(second, { email: email.toUpperCase(), name: "Late" }), me);
  t.deepEqual(codes, []);
  t.deepEqual(await users(server, first), [{ id: first, email, name: null }]);
  t.deepEqual(await users(server, second), [{ id: second, email: null, name: "Late" }]);
});

test("a user who is there is left as they are", async (t) => {
  const id = await makeUser(server.database, "as before");
  await post(server.url, server.token(id, { email: "new@example.org", name: "new" }), me);
  t.deepEqual(await users(server, id), [{ id, email: null, name: "as before" }]);
});

test("no row is made for a token that is not valid", async (t) => {
  const { rows } = await asAdmin(server.database, "select count(*)::int as n from public.users where name = 'Forged'");
  const forged = server.token(randomUUID(), { name: "Forged" }).slice(0, -4);
  t.is((await post(server.url, `${forged}AAAA`, me)).status, 401);
  const after = await asAdmin(server.database, "select count(*)::int as n from public.users where name = 'Forged'");
  t.deepEqual(after.rows, rows);
});

test("a row that can't be made is asked for again at the next request", async (t) => {
  const own = await startTestServer();
  t.teardown(() => own.stop());
  const id = randomUUID();
  const run = (text: string) => withConnection(own.database.url("postgres"), (client) => client.query(text));
  await run("revoke execute on function keyrow.provision_user(text, text) from keyrow_user");
  const refused = await post(own.url, own.token(id), me);
  t.deepEqual([refused.codes, refused.data], [["FORBIDDEN"], undefined]);
  await run("grant execute on function keyrow.provision_user(text, text) to keyrow_user");
  t.deepEqual((await post(own.url, own.token(id), me)).data, { currentUser: { id, name: null } });
});

test("with JWT_PROVISION=off no row is made, and creating says clearly that the user is not known", async (t) => {
  const own = await startTestServer({ env: { JWT_PROVISION: "off" } });
  t.teardown(() => own.stop());
  const id = randomUUID();
  const { codes, data } = await own.query(id, me.query);
  t.deepEqual([codes, data], [["NOT_FOUND"], { currentUser: null }]);
  const { errors } = await own.query(
    id,
    'mutation { createUserCredential(input: { userCredential: { provider: "p", name: "n", type: SECRET, value: "v" } }) { userCredential { id } } }',
  );
  t.deepEqual(
    errors.map(({ message, extensions }) => [message, extensions.code]),
    [["The user of this token is not known here.", "VALIDATION"]],
  );
  t.deepEqual(await users(own, id), []);
});
