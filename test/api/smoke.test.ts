import test from "ava";
import { makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

test("a credential that was created is listed, and revealed to its owner alone", async (t) => {
  const ana = await makeUser(server.database);
  const bo = await makeUser(server.database);
  await makeWorkspace(server.database, { [ana]: "OWNER", [bo]: "MEMBER" });
  const made = await server.query(
    ana,
    `mutation { createUserCredential(input: { userCredential: { provider: "github", name: "deploy", type: API_KEY, value: "ghp_0123456789abcdef0123" } }) { userCredential { id maskedValue } } }`,
  );
  t.deepEqual(made.codes, []);
  const { id } = made.data.createUserCredential.userCredential;
  const read = `query ($id: UUID!) { userCredential(id: $id) { value } }`;
  t.is((await server.query(ana, read, { id })).data.userCredential.value, "ghp_0123456789abcdef0123");
  t.deepEqual((await server.query(bo, read, { id })).codes, ["NOT_FOUND"]);
  t.is((await server.query(null, read, { id })).status, 401);
});
