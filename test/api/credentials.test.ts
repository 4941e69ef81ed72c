import { randomUUID } from "node:crypto";
import test from "ava";
import { type Answer, asAdmin, makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

const create = `mutation ($userCredential: UserCredentialInput!) {
  createUserCredential(input: { userCredential: $userCredential, clientMutationId: "c1" }) {
    clientMutationId
    userCredential { id userId workspaceId provider name type scope value description metadata expiresAt isActive }
  }
}`;
const set = `mutation ($input: SetUserCredentialInput!) {
  setUserCredential(input: $input) {
    created
    userCredential { id value type description metadata expiresAt isActive rotatedAt scope workspaceId }
  }
}`;
const update = `mutation ($id: UUID!, $patch: UserCredentialPatch!) {
  updateUserCredential(input: { id: $id, patch: $patch }) {
    userCredential { id name provider type value description metadata expiresAt isActive rotatedAt }
  }
}`;
const rotate = `mutation ($input: RotateUserCredentialInput!) {
  rotateUserCredential(input: $input) { clientMutationId userCredential { id value expiresAt isActive rotatedAt } }
}`;
const revoke = `mutation ($id: UUID!) {
  revokeUserCredential(input: { id: $id, clientMutationId: "r1" }) { clientMutationId userCredential { id isActive } }
}`;
const remove = `mutation ($id: UUID!) {
  deleteUserCredential(input: { id: $id, clientMutationId: "d1" }) { clientMutationId userCredential { id name } }
}`;
const read = "query ($id: UUID!) { userCredential(id: $id) { id value } }";

const person = () => makeUser(server.database);

/** Creates a credential and gives what the mutation answered. */
async function made(userId: string, fields: Record<string, unknown> = {}) {
  const given = { provider: "github", name: randomUUID(), type: "API_KEY", value: "made", ...fields };
  const answer = await server.query(userId, create, { userCredential: given });
  if (answer.codes.length > 0) throw new Error(answer.text);
  return answer.data.createUserCredential.userCredential;
}

const revealed = async (userId: string, id: string) =>
  (await server.query(userId, read, { id })).data.userCredential.value;

/** The names of what a list gives, in order. */
async function names(userId: string, args: string, variables: Record<string, unknown> = {}): Promise<string[]> {
  const declared = Object.keys(variables).length > 0 ? "($f: UserCredentialFilter)" : "";
  const { data, text } = await server.query(
    userId,
    `query ${declared} { userCredentials${args && `(${args})`} { nodes { name } } }`,
    variables,
  );
  if (data === null) throw new Error(text);
  return data.userCredentials.nodes.map(({ name }: { name: string }) => name);
}

const actionsOf = async (id: string): Promise<string[]> => {
  const { rows } = await asAdmin(
    server.database,
    "select action::text from public.activity_logs where entity_id = $1 order by id",
    [id],
  );
  return rows.map(({ action }) => action);
};

test("create gives the credential its owner, an id of the server's, and USER scope", async (t) => {
  const ana = await person();
  const userCredential = {
    provider: "github",
    name: "deploy",
    type: "OAUTH_TOKEN",
    value: "v",
    description: "for the pipeline",
    metadata: { nested: [1, null, "x"] },
    expiresAt: "2999-01-01T00:00:00Z",
  };
  const { data, codes } = await server.query(ana, create, { userCredential });
  t.deepEqual(codes, []);
  t.is(data.createUserCredential.clientMutationId, "c1");
  t.like(data.createUserCredential.userCredential, {
    ...userCredential,
    expiresAt: "2999-01-01T00:00:00.000000+00:00",
    userId: ana,
    workspaceId: null,
    scope: "USER",
    isActive: true,
  });
  t.regex(data.createUserCredential.userCredential.id, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/);
});

for (const field of [
  ...["id", "userId", "encryptedValue", "maskedValue", "keyId", "isActive", "lastUsedAt", "createdAt"],
  ...["updatedAt", "rotatedAt"],
]) {
  test(`"${field}" is no input of create, set or update`, async (t) => {
    const ana = await person();
    const { id } = await made(ana);
    const given = { provider: "p", name: "n", value: "v", [field]: randomUUID() };
    const answers = [
      await server.query(ana, create, { userCredential: { ...given, type: "API_KEY" } }),
      await server.query(ana, set, { input: given }),
      await server.query(ana, update, { id, patch: { [field]: randomUUID() } }),
    ];
    for (const { codes } of answers) t.deepEqual(codes, ["VALIDATION"]);
  });
}

test("owner, scope and workspace are no input of update", async (t) => {
  const ana = await person();
  const { id } = await made(ana);
  for (const patch of [{ userId: ana }, { scope: "USER" }, { workspaceId: null }]) {
    t.deepEqual((await server.query(ana, update, { id, patch })).codes, ["VALIDATION"]);
  }
});

test("a credential of the same provider and name is a CONFLICT, for create and for update", async (t) => {
  const ana = await person();
  await made(ana, { name: "taken" });
  const other = await made(ana, { name: "free" });
  const again = { provider: "github", name: "taken", type: "API_KEY", value: "v" };
  const answer = await server.query(ana, create, { userCredential: again });
  t.deepEqual([answer.codes, answer.data.createUserCredential], [["CONFLICT"], null]);
  t.deepEqual((await server.query(ana, update, { id: other.id, patch: { name: "taken" } })).codes, ["CONFLICT"]);
  await made(await person(), { name: "taken" });
});

test("a WORKSPACE credential is created by an admin, and by no member", async (t) => {
  const [admin, member] = [await person(), await person()];
  const workspaceId = await makeWorkspace(server.database, { [admin]: "ADMIN", [member]: "MEMBER" });
  const fields = { scope: "WORKSPACE", workspaceId, provider: "p", name: "n", type: "SECRET", value: "v" };
  t.deepEqual((await server.query(member, create, { userCredential: fields })).codes, ["FORBIDDEN"]);
  const { id } = await made(admin, fields);
  t.is(await revealed(admin, id), "v");
  t.deepEqual((await server.query(member, read, { id })).codes, ["NOT_FOUND"]);
});

test("nobody creates in a workspace that is not theirs, nor with SYSTEM scope", async (t) => {
  const ana = await person();
  const workspaceId = await makeWorkspace(server.database, { [await person()]: "OWNER" });
  for (const fields of [
    { scope: "WORKSPACE", workspaceId },
    { scope: "USER", workspaceId },
    { scope: "WORKSPACE", workspaceId: randomUUID() },
    { scope: "WORKSPACE" },
    { scope: "SYSTEM" },
  ]) {
    const userCredential = { provider: "p", name: "n", type: "SECRET", value: "v", ...fields };
    t.deepEqual((await server.query(ana, create, { userCredential })).codes, ["FORBIDDEN"], JSON.stringify(fields));
  }
});

test("update changes what is given and leaves the rest, the value included", async (t) => {
  const ana = await person();
  const before = await made(ana, { description: "kept", metadata: { kept: true }, expiresAt: "2999-01-01T00:00:00Z" });
  const { data, codes } = await server.query(ana, update, { id: before.id, patch: { name: "renamed" } });
  t.deepEqual(codes, []);
  t.like(data.updateUserCredential.userCredential, {
    name: "renamed",
    description: "kept",
    metadata: { kept: true },
    expiresAt: before.expiresAt,
    value: "made",
    rotatedAt: null,
  });
  const cleared = { id: before.id, patch: { description: null, expiresAt: null, metadata: {} } };
  const second = await server.query(ana, update, cleared);
  t.like(second.data.updateUserCredential.userCredential, { description: null, expiresAt: null, metadata: {} });
});

test("update with a value is a rotation, and is on the record as one", async (t) => {
  const ana = await person();
  const { id } = await made(ana);
  const { data } = await server.query(ana, update, { id, patch: { value: "new" } });
  t.is(data.updateUserCredential.userCredential.value, "new");
  t.truthy(data.updateUserCredential.userCredential.rotatedAt);
  t.deepEqual((await actionsOf(id)).slice(1), ["CREDENTIAL_ACCESSED", "CREDENTIAL_ROTATED", "CREDENTIAL_ACCESSED"]);
});

test("an update with nothing in it is refused", async (t) => {
  const ana = await person();
  const { id } = await made(ana);
  const { errors } = await server.query(ana, update, { id, patch: {} });
  t.like(errors[0], { message: "There is nothing to change.", extensions: { code: "VALIDATION" } });
});

test("set creates, and the second time renews what is there", async (t) => {
  const ana = await person();
  const input = { provider: "npm", name: "publish", value: "one", type: "ACCESS_TOKEN", description: "d" };
  const first = await server.query(ana, set, { input: { ...input, metadata: { a: 1 }, expiresAt: "2999-01-01" } });
  t.deepEqual(first.codes, []);
  t.like(first.data.setUserCredential, { created: true, userCredential: { value: "one", type: "ACCESS_TOKEN" } });
  const second = await server.query(ana, set, { input: { provider: "npm", name: "publish", value: "two" } });
  t.like(second.data.setUserCredential, {
    created: false,
    userCredential: {
      id: first.data.setUserCredential.userCredential.id,
      value: "two",
      type: "ACCESS_TOKEN",
      description: "d",
      metadata: { a: 1 },
      expiresAt: "2999-01-01T00:00:00.000000+00:00",
    },
  });
  const third = await server.query(ana, set, { input: { ...input, type: "SECRET", description: null, metadata: 7 } });
  t.like(third.data.setUserCredential.userCredential, { type: "SECRET", description: null, metadata: 7, value: "one" });
});

test("set without a type creates a SECRET, in USER scope", async (t) => {
  const { data } = await server.query(await person(), set, { input: { provider: "p", name: "n", value: "v" } });
  t.like(data.setUserCredential, { created: true, userCredential: { type: "SECRET", scope: "USER", metadata: {} } });
});

test("set makes a revoked credential active again", async (t) => {
  const ana = await person();
  const { id, provider, name } = await made(ana);
  await server.query(ana, revoke, { id });
  t.deepEqual((await server.query(ana, read, { id })).codes, ["CREDENTIAL_REVOKED"]);
  const { data } = await server.query(ana, set, { input: { provider, name, value: "again" } });
  t.like(data.setUserCredential, { created: false, userCredential: { id, isActive: true, value: "again" } });
});

test("metadata that was made JSON's own null in psql is read as null, and the list around it is there", async (t) => {
  const ana = await person();
  const { id } = await made(ana);
  await asAdmin(server.database, "update public.user_credentials set metadata = 'null' where id = $1", [id]);
  const { data, codes } = await server.query(ana, "{ userCredentials { nodes { id metadata } } }");
  t.deepEqual([codes, data.userCredentials.nodes], [[], [{ id, metadata: null }]]);
});

test("create refuses null where the table has none", async (t) => {
  const ana = await person();
  for (const field of ["scope", "metadata"]) {
    const userCredential = { provider: "p", name: "n", value: "v", type: "SECRET", [field]: null };
    t.deepEqual((await server.query(ana, create, { userCredential })).codes, ["VALIDATION"], field);
  }
});

test("set refuses null where the table has none", async (t) => {
  const ana = await person();
  for (const created of [true, false]) {
    for (const field of ["type", "metadata"]) {
      const input = { provider: "p", name: "n", value: "v", [field]: null };
      t.deepEqual((await server.query(ana, set, { input })).codes, ["VALIDATION"], `${field}, created: ${created}`);
    }
    await server.query(ana, set, { input: { provider: "p", name: "n", value: "v" } });
  }
  t.deepEqual(await names(ana, ""), ["n"]);
});

test("set in WORKSPACE scope is the admins', who share one credential", async (t) => {
  const [first, second, member, stranger] = [await person(), await person(), await person(), await person()];
  const workspaceId = await makeWorkspace(server.database, { [first]: "OWNER", [second]: "ADMIN", [member]: "MEMBER" });
  const input = { scope: "WORKSPACE", workspaceId, provider: "p", name: "n", value: "one" };
  const created = await server.query(first, set, { input });
  t.like(created.data.setUserCredential, { created: true, userCredential: { scope: "WORKSPACE", workspaceId } });
  const renewed = await server.query(second, set, { input: { ...input, value: "two" } });
  const { id } = created.data.setUserCredential.userCredential;
  t.like(renewed.data.setUserCredential, { created: false, userCredential: { id, value: "two" } });
  for (const who of [member, stranger]) t.deepEqual((await server.query(who, set, { input })).codes, ["FORBIDDEN"]);
  t.is(await revealed(first, id), "two");
});

test("set in WORKSPACE scope names the workspaceId that is missing", async (t) => {
  const { errors } = await server.query(await person(), set, {
    input: { scope: "WORKSPACE", provider: "p", name: "n", value: "v" },
  });
  t.like(errors[0], { message: "A WORKSPACE credential needs a workspaceId.", extensions: { code: "VALIDATION" } });
});

test("set never reaches a SYSTEM credential", async (t) => {
  const input = { scope: "SYSTEM", provider: "p", name: "n", value: "v" };
  t.deepEqual((await server.query(await person(), set, { input })).codes, ["FORBIDDEN"]);
});

test("set beside a credential of another scope that has its name is a CONFLICT", async (t) => {
  const ana = await person();
  const workspaceId = await makeWorkspace(server.database, { [ana]: "ADMIN" });
  await made(ana, { provider: "p", name: "n", workspaceId });
  const input = { scope: "WORKSPACE", workspaceId, provider: "p", name: "n", value: "v" };
  t.deepEqual((await server.query(ana, set, { input })).codes, ["CONFLICT"]);
});

for (const scope of ["USER", "WORKSPACE"]) {
  test(`eight who set one ${scope} name at once all succeed, and one of them creates it`, async (t) => {
    const ana = await person();
    const workspaceId = scope === "WORKSPACE" ? await makeWorkspace(server.database, { [ana]: "ADMIN" }) : null;
    const values = Array.from({ length: 8 }, (_, index) => `value ${index}`);
    const answers = await Promise.all(
      values.map((value) =>
        server.query(ana, set, { input: { scope, workspaceId, provider: "race", name: "race", value } }),
      ),
    );
    for (const { codes, text } of answers) t.deepEqual(codes, [], text);
    const results = answers.map(({ data }) => data.setUserCredential);
    t.is(results.filter(({ created }) => created).length, 1);
    t.is(new Set(results.map(({ userCredential }) => userCredential.id)).size, 1);
    t.deepEqual(await names(ana, ""), ["race"]);
    t.true(values.includes(await revealed(ana, results[0].userCredential.id)));
  });
}

test("rotate gives a new value, and keeps or takes an expiry", async (t) => {
  const ana = await person();
  const { id } = await made(ana, { expiresAt: "2999-01-01T00:00:00Z" });
  const first = await server.query(ana, rotate, { input: { id, value: "second", clientMutationId: "m" } });
  t.is(first.data.rotateUserCredential.clientMutationId, "m");
  t.like(first.data.rotateUserCredential.userCredential, {
    id,
    value: "second",
    isActive: true,
    expiresAt: "2999-01-01T00:00:00.000000+00:00",
  });
  const expiresAt = "2999-06-01T00:00:00.000000+00:00";
  const second = await server.query(ana, rotate, { input: { id, value: "third", expiresAt } });
  t.like(second.data.rotateUserCredential.userCredential, { value: "third", expiresAt });
  const third = await server.query(ana, rotate, { input: { id, value: "third", expiresAt: null } });
  t.like(third.data.rotateUserCredential.userCredential, { value: "third", expiresAt: null });
});

test("rotate makes an expired or revoked credential good again", async (t) => {
  const ana = await person();
  const expired = await made(ana);
  await server.query(ana, update, { id: expired.id, patch: { expiresAt: "2000-01-01" } });
  t.deepEqual((await server.query(ana, read, { id: expired.id })).codes, ["CREDENTIAL_EXPIRED"]);
  const { data } = await server.query(ana, rotate, { input: { id: expired.id, value: "fresh" } });
  t.like(data.rotateUserCredential.userCredential, { value: "fresh", expiresAt: null });
  const revoked = await made(ana);
  await server.query(ana, revoke, { id: revoked.id });
  const again = await server.query(ana, rotate, { input: { id: revoked.id, value: "fresh" } });
  t.like(again.data.rotateUserCredential.userCredential, { value: "fresh", isActive: true });
});

test("revoke ends a credential, and again does nothing", async (t) => {
  const ana = await person();
  const { id } = await made(ana);
  for (const _ of [1, 2, 3]) {
    const { data, codes } = await server.query(ana, revoke, { id });
    t.deepEqual(codes, []);
    t.deepEqual(data.revokeUserCredential, { clientMutationId: "r1", userCredential: { id, isActive: false } });
  }
  const { data, codes } = await server.query(ana, read, { id });
  t.deepEqual([data, codes], [{ userCredential: { id, value: null } }, ["CREDENTIAL_REVOKED"]]);
  t.is((await actionsOf(id)).filter((action) => action === "CREDENTIAL_REVOKED").length, 1);
});

test("delete takes a credential away, and gives what it was, without its value", async (t) => {
  const ana = await person();
  const { id } = await made(ana, { name: "going" });
  const withValue = `mutation ($id: UUID!) { deleteUserCredential(input: { id: $id }) { userCredential { id value } } }`;
  const second = await made(ana);
  const { data, codes } = await server.query(ana, withValue, { id: second.id });
  t.deepEqual([data.deleteUserCredential.userCredential, codes], [{ id: second.id, value: null }, ["NOT_FOUND"]]);
  const answer = await server.query(ana, remove, { id });
  t.deepEqual(answer.data.deleteUserCredential, { clientMutationId: "d1", userCredential: { id, name: "going" } });
  t.deepEqual((await server.query(ana, read, { id })).codes, ["NOT_FOUND"]);
  t.is((await actionsOf(id)).at(-1), "CREDENTIAL_REVOKED");
});

for (const [title, document, variables] of [
  ["userCredential", read, {}],
  ["updateUserCredential", update, { patch: { name: "x" } }],
  ["updateUserCredential with a value", update, { patch: { value: "x" } }],
  ["revokeUserCredential", revoke, {}],
  ["deleteUserCredential", remove, {}],
] as const) {
  test(`${title} of a row that is hidden or missing is NOT_FOUND, and nothing more`, async (t) => {
    const { id } = await made(await person());
    const stranger = await person();
    const texts = [];
    for (const one of [id, randomUUID()]) {
      const { codes, data, text } = await server.query(stranger, document, { id: one, ...variables });
      t.deepEqual([codes, Object.values(data)], [["NOT_FOUND"], [null]]);
      texts.push(text);
    }
    t.is(texts[0], texts[1], "hidden and missing read the same");
  });
}

test("rotateUserCredential of a row that is hidden or missing is NOT_FOUND, and nothing more", async (t) => {
  const { id } = await made(await person());
  const stranger = await person();
  const answers = [];
  for (const one of [id, randomUUID()]) {
    answers.push(await server.query(stranger, rotate, { input: { id: one, value: "x" } }));
  }
  for (const { codes, data } of answers) t.deepEqual([codes, data], [["NOT_FOUND"], { rotateUserCredential: null }]);
  t.is(answers[0]?.text, answers[1]?.text);
});

test("the look-ups of users, workspaces, members and entries are NOT_FOUND where they are hidden", async (t) => {
  const [ana, stranger] = [await person(), await person()];
  const workspaceId = await makeWorkspace(server.database, { [ana]: "OWNER" });
  const { id } = await made(ana);
  const entry = await asAdmin(
    server.database,
    "select id, created_at::text as created from public.activity_logs where entity_id = $1 limit 1",
    [id],
  );
  const variables = { u: ana, w: workspaceId, e: entry.rows[0].id, c: entry.rows[0].created };
  const query = `query ($u: UUID!, $w: UUID!, $e: BigInt!, $c: Datetime!) {
    user(id: $u) { id } workspace(id: $w) { id } workspaceMember(workspaceId: $w, userId: $u) { role }
    activityLog(id: $e, createdAt: $c) { action }
  }`;
  t.deepEqual((await server.query(ana, query, variables)).codes, []);
  const hidden = await server.query(stranger, query, variables);
  t.deepEqual(hidden.codes, ["NOT_FOUND", "NOT_FOUND", "NOT_FOUND", "NOT_FOUND"]);
  t.deepEqual(new Set(Object.values(hidden.data)), new Set([null]));
});

test("currentUser is the token's user, with their credentials, workspaces and members", async (t) => {
  const ana = await makeUser(server.database, "Ana");
  const bo = await makeUser(server.database, "Bo");
  const workspaceId = await makeWorkspace(server.database, { [ana]: "ADMIN", [bo]: "MEMBER" });
  const mine = await made(ana);
  const shared = await made(ana, { scope: "WORKSPACE", workspaceId });
  const { data, codes } = await server.query(
    ana,
    `{
      currentUser {
        id name
        userCredentials(filter: { scope: { equalTo: USER } }) { nodes { id value user { id } workspace { id } } }
        workspaceMembers { nodes { role workspace {
          name
          userCredentials { nodes { id value user { name } } }
          workspaceMembers(orderBy: [USER_ID_ASC]) { totalCount nodes { user { name } } }
        } } }
      }
    }`,
  );
  t.deepEqual(codes, []);
  t.like(data.currentUser, { id: ana, name: "Ana" });
  t.deepEqual(data.currentUser.userCredentials.nodes, [
    { id: mine.id, value: "made", user: { id: ana }, workspace: null },
  ]);
  const [member] = data.currentUser.workspaceMembers.nodes;
  t.is(member.role, "ADMIN");
  t.deepEqual(member.workspace.userCredentials.nodes, [{ id: shared.id, value: "made", user: { name: "Ana" } }]);
  const people = member.workspace.workspaceMembers.nodes.map(({ user }: { user: { name: string } }) => user.name);
  t.deepEqual(people.toSorted(), ["Ana", "Bo"]);
});

test("a member sees the workspace and its people, and none of its credentials or log", async (t) => {
  const [admin, guest] = [await person(), await person()];
  const workspaceId = await makeWorkspace(server.database, { [admin]: "ADMIN", [guest]: "GUEST" });
  const { id } = await made(admin, { scope: "WORKSPACE", workspaceId });
  const query = `query ($id: UUID!) {
    workspaces { nodes { id userCredentials { totalCount nodes { id value } } workspaceMembers { totalCount } } }
    users { totalCount }
    activityLogs(filter: { entityId: { equalTo: $id } }) { totalCount }
  }`;
  const { data } = await server.query(guest, query, { id });
  t.deepEqual(data.workspaces.nodes, [
    { id: workspaceId, userCredentials: { totalCount: 0, nodes: [] }, workspaceMembers: { totalCount: 2 } },
  ]);
  t.is(data.users.totalCount, 2);
  t.is(data.activityLogs.totalCount, 0);
  t.true((await server.query(admin, query, { id })).data.activityLogs.totalCount > 0);
});

test("no way from one person to another leads to a credential of theirs", async (t) => {
  const [ana, bo] = [await person(), await person()];
  const workspaceId = await makeWorkspace(server.database, { [ana]: "OWNER", [bo]: "ADMIN" });
  await made(ana, { value: "hers alone", workspaceId });
  const own = "userCredentials(first: 10) { totalCount nodes { id value maskedValue } }";
  const { data, text, codes } = await server.query(
    bo,
    `query ($ana: UUID!, $w: UUID!) {
      user(id: $ana) { ${own} }
      users { nodes { ${own} } }
      workspace(id: $w) { ${own} workspaceMembers { nodes { user { ${own} } } } }
      workspaceMember(workspaceId: $w, userId: $ana) { user { ${own} } workspace { ${own} } }
      activityLogs { nodes { details entityId } }
    }`,
    { ana, w: workspaceId },
  );
  t.deepEqual(codes, []);
  t.deepEqual(data.user.userCredentials, { totalCount: 0, nodes: [] });
  t.notRegex(text, /hers alone|"totalCount":[1-9]/);
  t.deepEqual(data.activityLogs.nodes, []);
});

test("the activity log tells who did what, newest first, with the request's id and no value", async (t) => {
  const ana = await person();
  const { id, name } = await made(ana, { value: "a-value-that-is-not-logged" });
  await server.query(ana, read, { id });
  await server.query(ana, rotate, { input: { id, value: "another-value-that-is-not-logged" } });
  await server.query(ana, revoke, { id });
  const query = `query ($id: UUID!) {
    activityLogs(filter: { entityId: { equalTo: $id } }) {
      nodes { action entityType entityId userId workspaceId details createdAt }
    }
  }`;
  const { data, text } = await server.query(ana, query, { id });
  const entries = data.activityLogs.nodes;
  t.deepEqual(
    entries.map(({ action }: { action: string }) => action.replace("CREDENTIAL_", "")),
    // Three of the mutations asked for the value as well.
    ["REVOKED", "ACCESSED", "ROTATED", "ACCESSED", "ACCESSED", "CREATED"],
  );
  for (const entry of entries) {
    t.like(entry, { entityType: "CREDENTIAL", entityId: id, userId: ana, workspaceId: null });
    t.like(entry.details, { provider: "github", name, scope: "USER" });
    t.regex(entry.details.request, /^[0-9a-f-]{36}$/);
  }
  t.false(text.includes("not-logged"));
});

test("the log can't be changed through the API", async (t) => {
  const { data } = await server.query(await person(), "{ __schema { mutationType { fields { name } } } }");
  t.deepEqual(data.__schema.mutationType.fields.map(({ name }: { name: string }) => name).toSorted(), [
    ...["createToken", "createUserCredential", "deleteUserCredential", "revokeToken", "revokeUserCredential"],
    ...["rotateUserCredential", "setUserCredential", "setUserCredentials"],
    "updateUserCredential",
  ]);
});

test("a filter finds by name, provider, type, scope, workspace, activity, dates and metadata", async (t) => {
  const ana = await person();
  const workspaceId = await makeWorkspace(server.database, { [ana]: "ADMIN" });
  const a = await made(ana, { name: "a", provider: "github", type: "API_KEY", metadata: { env: "prod", n: 1 } });
  await made(ana, {
    name: "b",
    provider: "GitLab",
    type: "PASSWORD",
    expiresAt: "2500-01-01",
    metadata: { env: "dev" },
  });
  await made(ana, { name: "c", provider: "npm", scope: "WORKSPACE", workspaceId, metadata: ["list"] });
  await server.query(ana, revoke, { id: a.id });
  const finds: Array<[filter: Record<string, unknown>, found: string[]]> = [
    [{ name: { equalTo: "a" } }, ["a"]],
    [{ name: { in: ["a", "c"] } }, ["a", "c"]],
    [{ provider: { equalTo: "npm" } }, ["c"]],
    [{ provider: { includesInsensitive: "GIT" } }, ["a", "b"]],
    [{ provider: { startsWith: "git" } }, ["a"]],
    [{ type: { equalTo: "PASSWORD" } }, ["b"]],
    [{ type: { notIn: ["PASSWORD"] } }, ["a", "c"]],
    [{ scope: { equalTo: "WORKSPACE" } }, ["c"]],
    [{ scope: { equalTo: "SYSTEM" } }, []],
    [{ workspaceId: { equalTo: workspaceId } }, ["c"]],
    [{ workspaceId: { isNull: true } }, ["a", "b"]],
    [{ isActive: { equalTo: false } }, ["a"]],
    [{ userId: { equalTo: ana } }, ["a", "b", "c"]],
    [{ own: true }, ["a", "b", "c"]],
    [{ own: false }, []],
    [{ workspaceName: "a workspace" }, ["c"]],
    [{ workspaceName: "A workspace" }, []],
    [{ or: [{ own: true, name: { equalTo: "a" } }, { workspaceName: "a workspace" }] }, ["a", "c"]],
    [{ createdAt: { greaterThan: "2000-01-01" } }, ["a", "b", "c"]],
    [{ createdAt: { greaterThan: "2999-01-01" } }, []],
    [{ expiresAt: { lessThan: "2600-01-01T00:00:00Z" } }, ["b"]],
    [{ expiresAt: { isNull: false } }, ["b"]],
    [{ metadata: { contains: { env: "prod" } } }, ["a"]],
    [{ metadata: { contains: ["list"] } }, ["c"]],
    [{ metadata: { containsKey: "env" } }, ["a", "b"]],
    [{ or: [{ name: { equalTo: "a" } }, { provider: { equalTo: "npm" } }] }, ["a", "c"]],
    [{ and: [{ isActive: { equalTo: true } }, { not: { name: { equalTo: "b" } } }] }, ["c"]],
    [{ maskedValue: { equalTo: "*****" } }, ["a", "b", "c"]],
  ];
  for (const [filter, found] of finds) {
    const came = await names(ana, "filter: $f, orderBy: [NAME_ASC]", { f: filter });
    t.deepEqual(came, found, JSON.stringify(filter));
  }
});

test("a filter by a workspace's name finds nothing where the caller sees two of that name, and those of one else", async (t) => {
  const [ana, bo] = [await person(), await person()];
  const workspaceId = await makeWorkspace(server.database, { [ana]: "ADMIN", [bo]: "ADMIN" });
  await makeWorkspace(server.database, { [bo]: "ADMIN" });
  await made(ana, { name: "n", scope: "WORKSPACE", workspaceId });
  const filter = { workspaceName: "a workspace" };
  t.deepEqual(await names(ana, "filter: $f", { f: filter }), ["n"]);
  t.deepEqual(await names(ana, "filter: $f", { f: { ...filter, own: true } }), ["n"]);
  t.deepEqual(await names(bo, "filter: $f", { f: filter }), []);
  t.deepEqual(await names(bo, "filter: $f", { f: { own: false } }), ["n"]);
});

test("a filter finds nothing of anybody else's", async (t) => {
  const { id, userId, name } = await made(await person(), { name: randomUUID() });
  const stranger = await person();
  for (const filter of [{ id: { equalTo: id } }, { userId: { equalTo: userId } }, { name: { equalTo: name } }]) {
    t.deepEqual(await names(stranger, "filter: $f", { f: filter }), []);
    const not = await names(stranger, "filter: $f", { f: { not: { not: filter } } });
    t.deepEqual(not, []);
  }
});

for (const filter of [
  null,
  {},
  { name: null },
  { name: {} },
  { name: { equalTo: null } },
  { own: null },
  { workspaceName: null },
]) {
  test(`the filter ${JSON.stringify(filter)} is refused: it would find everything, or nothing`, async (t) => {
    const query = "query ($f: UserCredentialFilter) { userCredentials(filter: $f) { totalCount } }";
    t.deepEqual((await server.query(await person(), query, { f: filter })).codes, ["VALIDATION"]);
  });
}

test("lists are newest first, and may be ordered otherwise", async (t) => {
  const ana = await person();
  for (const name of ["b", "c", "a"]) await made(ana, { name, description: name === "c" ? null : `d${name}` });
  t.deepEqual(await names(ana, ""), ["a", "c", "b"]);
  t.deepEqual(await names(ana, "orderBy: [CREATED_AT_ASC]"), ["b", "c", "a"]);
  t.deepEqual(await names(ana, "orderBy: [NAME_ASC]"), ["a", "b", "c"]);
  t.deepEqual(await names(ana, "orderBy: [NAME_DESC]"), ["c", "b", "a"]);
  t.deepEqual(await names(ana, "orderBy: [PROVIDER_ASC, NAME_DESC]"), ["c", "b", "a"]);
  t.deepEqual(await names(ana, "orderBy: [DESCRIPTION_ASC]"), ["a", "b", "c"]);
});

test("order by nothing is the default order", async (t) => {
  const ana = await person();
  const made5 = ["1", "2", "3", "4", "5"];
  for (const name of made5) await made(ana, { name });
  for (const orderBy of ["orderBy: []", "orderBy: null"]) t.deepEqual(await names(ana, orderBy), made5.toReversed());
});

test("a page that was opened by offset follows the same order", async (t) => {
  const ana = await person();
  for (const name of ["1", "2", "3", "4"]) await made(ana, { name });
  t.deepEqual(await names(ana, "first: 2, offset: 1"), ["3", "2"]);
});

/** Ten credentials in two ties of created_at, and with every second description missing. */
async function withTies(userId: string): Promise<string[]> {
  const all = Array.from({ length: 10 }, (_, index) => `n${index}`);
  for (const [index, name] of all.entries()) {
    await made(userId, { name, provider: index % 3 ? "x" : "y", ...(index % 2 && { description: `d${index % 3}` }) });
  }
  await server.database.pool("postgres").query(
    `update public.user_credentials set created_at = timestamptz '2026-01-01 00:00:00.123456' +
         case when name < 'n5' then interval '0' else interval '1 microsecond' end
       where user_id = $1`,
    [userId],
  );
  return all;
}

/** The pages of a list, in the order they are walked in; it stops after 20, for a cursor may lead in a circle. */
async function walk(userId: string, take: "first" | "last", from: "after" | "before", size: number, order: string) {
  const pages: string[][] = [];
  let cursor: string | null = null;
  do {
    const answer: Answer = await server.query(
      userId,
      `query ($c: Cursor) { userCredentials(${take}: ${size}, ${from}: $c, ${order}) {
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } nodes { name }
      } }`,
      { c: cursor },
    );
    if (!answer.data) throw new Error(answer.text);
    const { pageInfo, nodes } = answer.data.userCredentials as Page;
    pages.push(nodes.map(({ name }) => name));
    if (take === "first") cursor = pageInfo.hasNextPage ? pageInfo.endCursor : null;
    else cursor = pageInfo.hasPreviousPage ? pageInfo.startCursor : null;
  } while (cursor !== null && pages.length < 20);
  return pages;
}

interface Page {
  readonly pageInfo: { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string; endCursor: string };
  readonly nodes: ReadonlyArray<{ name: string }>;
}

for (const orderBy of [
  ...["CREATED_AT_DESC", "CREATED_AT_ASC", "PROVIDER_ASC", "DESCRIPTION_ASC", "DESCRIPTION_DESC", "EXPIRES_AT_DESC"],
  ...["IS_ACTIVE_ASC", "WORKSPACE_ID_DESC", "PROVIDER_DESC, CREATED_AT_ASC"],
]) {
  test(`cursors in the order ${orderBy} walk over ties and nulls without gap or repeat, both ways`, async (t) => {
    const ana = await person();
    const all = await withTies(ana);
    const order = `orderBy: [${orderBy}]`;
    const whole = await names(ana, order);
    t.deepEqual(whole.toSorted(), all);
    for (const size of [1, 3]) {
      const forwards = await walk(ana, "first", "after", size, order);
      const backwards = await walk(ana, "last", "before", size, order);
      t.deepEqual(forwards.flat(), whole, `forwards, ${size} at once`);
      t.deepEqual(backwards.reverse().flat(), whole, `backwards, ${size} at once`);
    }
  });
}

test("totalCount counts what the caller sees, whatever the page", async (t) => {
  const ana = await person();
  for (let i = 0; i < 3; i++) await made(ana);
  const { data } = await server.query(ana, "{ userCredentials(first: 1) { totalCount } }");
  t.is(data.userCredentials.totalCount, 3);
});

test("names are in camelCase, without exception", async (t) => {
  const { data } = await server.query(
    await person(),
    "{ __schema { types { name fields { name args { name } } inputFields { name } } } }",
  );
  type Named = { name: string };
  const all = data.__schema.types
    .filter(({ name }: Named) => !name.startsWith("__"))
    .flatMap(
      ({ fields, inputFields }: { fields: Array<Named & { args: Named[] }> | null; inputFields: Named[] | null }) => [
        ...(fields ?? []).flatMap(({ name, args }) => [name, ...args.map((arg) => arg.name)]),
        ...(inputFields ?? []).map(({ name }) => name),
      ],
    );
  for (const name of new Set<string>(all)) t.regex(name, /^[a-z][a-zA-Z0-9]*$/);
});

for (const [title, query] of [
  ["an alias", "query ($id: UUID!) { sneaky: userCredential(id: $id) { also: value } }"],
  ["a fragment", "query ($id: UUID!) { userCredential(id: $id) { ...F } } fragment F on UserCredential { value }"],
  ["an inline fragment", "query ($id: UUID!) { userCredential(id: $id) { ... { value } } }"],
  ["@include", "query ($id: UUID!) { userCredential(id: $id) { value @include(if: true) } }"],
  [
    "the user of a credential",
    "query ($id: UUID!) { userCredential(id: $id) { user { userCredentials { nodes { value } } } } }",
  ],
  ["an edge", "query ($id: UUID!) { userCredentials(filter: { id: { equalTo: $id } }) { edges { node { value } } } }"],
] as const) {
  test(`a value that is asked for by ${title} is on the record once`, async (t) => {
    const ana = await person();
    const { id } = await made(ana);
    const before = await actionsOf(id);
    const { text, codes } = await server.query(ana, query, { id });
    t.deepEqual(codes, []);
    t.true(text.includes('"made"'));
    t.deepEqual((await actionsOf(id)).slice(before.length), ["CREDENTIAL_ACCESSED"]);
    const stranger = await server.query(await person(), query, { id });
    t.false(stranger.text.includes("made"));
    t.is((await actionsOf(id)).length, before.length + 1);
  });
}

for (const [title, selection] of [
  ["@skip", "value @skip(if: $yes)"],
  ["@include", "value @include(if: $no)"],
  ["@skip on a fragment", "... @skip(if: $yes) { value }"],
] as const) {
  test(`a value that ${title} leaves out is neither revealed nor on the record`, async (t) => {
    const ana = await person();
    const { id } = await made(ana);
    const before = await actionsOf(id);
    const query = `query ($id: UUID!, $yes: Boolean!, $no: Boolean!) { userCredential(id: $id) { id ${selection} } 
      unused: userCredential(id: $id) { name @skip(if: $yes) provider @include(if: $no) id } }`;
    const { text, codes } = await server.query(ana, query, { id, yes: true, no: false });
    t.deepEqual(codes, []);
    t.false(text.includes("made"));
    t.deepEqual(await actionsOf(id), before);
    const other = await server.query(ana, query, { id, yes: false, no: true });
    t.true(other.text.includes('"made"'), "the same document, with other variables");
  });
}

test("a policy that is changed in SQL acts at the next request", async (t) => {
  const policyServer = await startTestServer();
  try {
    const superuser = policyServer.database.pool("postgres");
    const [admin, auditor] = [await makeUser(policyServer.database), await makeUser(policyServer.database)];
    const workspaceId = await makeWorkspace(policyServer.database, { [admin]: "ADMIN", [auditor]: "MEMBER" });
    const input = { scope: "WORKSPACE", workspaceId, provider: "p", name: "n", value: "shared" };
    const { data } = await policyServer.query(admin, set, { input });
    const { id } = data.setUserCredential.userCredential;
    const tryToRead = () => policyServer.query(auditor, read, { id });
    t.deepEqual((await tryToRead()).codes, ["NOT_FOUND"]);

    await superuser.query(`create policy listing on public.user_credentials for select to keyrow_user
      using (workspace_id = any (array(select keyrow.member_workspace_ids())))`);
    const listed = await tryToRead();
    t.deepEqual([listed.codes, listed.data.userCredential], [["FORBIDDEN"], { id, value: null }]);

    await superuser.query("alter policy listing on public.user_credentials to keyrow_user, keyrow_reveal");
    // keyrow_reveal asks for the memberships by itself; what it may call is a grant like any other.
    await superuser.query("grant execute on function keyrow.member_workspace_ids() to keyrow_reveal");
    t.is((await tryToRead()).data.userCredential.value, "shared");

    await superuser.query("drop policy listing on public.user_credentials");
    t.deepEqual((await tryToRead()).codes, ["NOT_FOUND"]);
  } finally {
    await policyServer.stop();
  }
});

const setMany = `mutation ($credentials: [UserCredentialToSet!]!) {
  setUserCredentials(input: { credentials: $credentials, clientMutationId: "m" }) {
    clientMutationId results { created userCredential { id provider name type value } }
  }
}`;

test("several credentials are set by one mutation, in one batch of the cipher and in their order", async (t) => {
  const ana = await person();
  const { id } = await made(ana, { provider: "many", name: "old" });
  const credentials = ["a", "old", "b", "c", "d", "e", "f"].map((name) => ({
    provider: "many",
    name,
    value: `value of ${name}`,
  }));
  const { data, codes } = await server.query(ana, setMany, { credentials });
  t.deepEqual(codes, []);
  const { clientMutationId, results } = data.setUserCredentials;
  t.is(clientMutationId, "m");
  t.deepEqual(
    results.map(({ created, userCredential }: { created: boolean; userCredential: Record<string, string> }) => [
      created,
      userCredential.name,
      userCredential.value,
    ]),
    [
      [true, "a", "value of a"],
      [false, "old", "value of old"],
      ...["b", "c", "d", "e", "f"].map((name) => [true, name, `value of ${name}`]),
    ],
  );
  t.is(results[1].userCredential.id, id);
  // No other test has so many.
  t.true(server.cipherCalls.seal.includes(7));
});

test("of several credentials none is set where one can't be, whatever stands in its way", async (t) => {
  const ana = await person();
  const workspaceId = await makeWorkspace(server.database, { [ana]: "MEMBER" });
  const old = await made(ana, { provider: "many", name: "old", value: "before" });
  const good = [
    { provider: "many", name: "new", value: "v" },
    { provider: "many", name: "old", value: "after" },
  ];
  const bad: Array<[object, string]> = [
    [{ scope: "WORKSPACE", workspaceId, provider: "many", name: "team", value: "v" }, "FORBIDDEN"],
    [{ scope: "WORKSPACE", provider: "many", name: "team", value: "v" }, "VALIDATION"],
    [{ scope: "SYSTEM", provider: "many", name: "system", value: "v" }, "FORBIDDEN"],
    [{ provider: "many", name: "", value: "v" }, "VALIDATION"],
    [{ provider: "many", name: "late", value: "v", expiresAt: "2030-02-30" }, "VALIDATION"],
    [{ provider: "many", name: "typeless", value: "v", type: null }, "VALIDATION"],
    [{ provider: "many", name: "long", value: "v".repeat(65_537) }, "LIMIT_EXCEEDED"],
    [{ provider: "many", name: "old", value: "twice" }, "VALIDATION"],
  ];
  for (const [one, code] of bad) {
    const { data, codes } = await server.query(ana, setMany, { credentials: [...good, one] });
    t.deepEqual([data?.setUserCredentials, codes], [null, [code]], JSON.stringify(one).slice(0, 100));
  }
  t.deepEqual(await names(ana, ""), ["old"]);
  t.is(await revealed(ana, old.id), "before");
  t.deepEqual((await server.query(ana, setMany, { credentials: [] })).data.setUserCredentials.results, []);
});

test("two who set several in opposite orders at once both succeed, and each row has one of their values", async (t) => {
  const ana = await person();
  const credentials = Array.from({ length: 20 }, (_, index) => ({ provider: "race", name: `n${index}`, value: "0" }));
  const rounds = [1, 2, 3, 4].map((round) => {
    const mine = credentials.map((one) => ({ ...one, value: String(round) }));
    return server.query(ana, setMany, { credentials: round % 2 === 0 ? mine : mine.reverse() });
  });
  for (const { codes, text } of await Promise.all(rounds)) t.deepEqual(codes, [], text);
  const { data } = await server.query(ana, "{ userCredentials { nodes { value } } }");
  const values = data.userCredentials.nodes.map(({ value }: { value: string }) => value);
  t.is(values.length, 20);
  t.true(values.every((value: string) => ["1", "2", "3", "4"].includes(value)));
});

test("a dry run says what would be done, shows what is there as it is, and stores and records nothing", async (t) => {
  const ana = await person();
  const there = await made(ana, { name: "there", provider: "p" });
  const log = async () =>
    (await server.query(ana, "{ activityLogs { totalCount } }")).data.activityLogs.totalCount as number;
  const recorded = await log();
  const { data, codes } = await server.query(
    ana,
    `mutation { setUserCredentials(input: { dryRun: true, credentials: [
      { provider: "p", name: "there", value: "new", description: "new" }, { provider: "p", name: "new", value: "new" }
    ] }) { results { created userCredential { id description maskedValue } } } }`,
  );
  t.deepEqual(codes, []);
  t.deepEqual(data.setUserCredentials.results, [
    { created: false, userCredential: { id: there.id, description: null, maskedValue: "*****" } },
    { created: true, userCredential: null },
  ]);
  t.deepEqual([(await names(ana, "")).length, await log()], [1, recorded]);
});
