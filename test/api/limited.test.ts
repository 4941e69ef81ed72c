import test from "ava";
import { secretKey } from "../../src/jwt-key.ts";
import { createSigner } from "../../src/token.ts";
import type { Limit } from "../../src/token-limits.ts";
import { type Answer, makeUser, makeWorkspace, post, startTestServer, type TestServer } from "../helpers/server.ts";

// What a caller with a limited token gets through the API. What the database makes of limits is in test/policies.

const server: TestServer = await startTestServer();
test.after.always(() => server.stop());

interface Stage {
  readonly user: string;
  readonly workspace: string;
  /** Sends a query with a token that has these limits; undefined: none. */
  // biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
  as(limits: readonly Limit[] | undefined, query: string, variables?: Record<string, unknown>): Promise<Answer<any>>;
  readonly ids: Readonly<Record<"github" | "gitlab" | "team", string>>;
}

const SET = `mutation ($input: SetUserCredentialInput!) {
  setUserCredential(input: $input) { created userCredential { id provider name } } }`;

async function stage(): Promise<Stage> {
  const user = await makeUser(server.database);
  const workspace = await makeWorkspace(server.database, {
    [user]: "ADMIN",
    [await makeUser(server.database)]: "MEMBER",
  });
  const as: Stage["as"] = (limits, query, variables) =>
    post(server.url, server.token(user, limits && { limits }), { query, variables });
  const made = async (input: object): Promise<string> => {
    const { data, text } = await as(undefined, SET, { input });
    if (!data?.setUserCredential) throw new Error(text);
    return data.setUserCredential.userCredential.id;
  };
  return {
    user,
    workspace,
    as,
    ids: {
      github: await made({ scope: "USER", provider: "github", name: "deploy", value: "g" }),
      gitlab: await made({ scope: "USER", provider: "gitlab", name: "deploy", value: "l" }),
      team: await made({ scope: "WORKSPACE", workspaceId: workspace, provider: "github", name: "deploy", value: "t" }),
    },
  };
}

const LIST = "query { userCredentials(first: 10) { totalCount nodes { id } } }";
const VALUE = "query ($id: UUID!) { userCredential(id: $id) { id value } }";
const input = (name: string, provider = "github") => ({
  input: { scope: "USER", provider, name, value: "new" },
});

test("a limited token lists, counts and opens what its limits name, and nothing else is there", async (t) => {
  const { as, ids } = await stage();
  const limits = [{ credentials: ["gitlab/*"], actions: ["reveal"] }] as const;
  const { data } = await as(limits, LIST);
  t.deepEqual(data.userCredentials, { totalCount: 1, nodes: [{ id: ids.gitlab }] });
  t.like(await as(limits, VALUE, { id: ids.gitlab }), {
    data: { userCredential: { id: ids.gitlab, value: "l" } },
    codes: [],
  });
  t.like(await as(limits, VALUE, { id: ids.github }), { data: { userCredential: null }, codes: ["NOT_FOUND"] });
});

test("a token that may read lists, and opens nothing", async (t) => {
  const { as, ids } = await stage();
  const limits = [{ actions: ["read"] }] as const;
  const { data } = await as(limits, LIST);
  t.is(data.userCredentials.totalCount, 3);
  const { data: opened, codes } = await as(limits, VALUE, { id: ids.github });
  t.is(opened.userCredential?.value ?? null, null);
  t.deepEqual(codes, ["FORBIDDEN"]);
});

test("a token that may not write is told so: it creates, renews, changes and deletes nothing", async (t) => {
  const { as, ids } = await stage();
  for (const limits of [[{ actions: ["read"] }], [{ actions: ["reveal"] }]] as const) {
    t.like(await as(limits, SET, input("other")), { codes: ["FORBIDDEN"] });
    t.like(await as(limits, SET, input("deploy")), { codes: ["FORBIDDEN"] });
    const update = `mutation ($id: UUID!) { updateUserCredential(input: { id: $id, patch: { description: "x" } }) {
      userCredential { id } } }`;
    t.like(await as(limits, update, { id: ids.github }), { codes: ["NOT_FOUND"] });
    const remove = "mutation ($id: UUID!) { deleteUserCredential(input: { id: $id }) { userCredential { id } } }";
    t.like(await as(limits, remove, { id: ids.github }), { codes: ["NOT_FOUND"] });
  }
  t.like(await as(undefined, VALUE, { id: ids.github }), { data: { userCredential: { value: "g" } } });
});

test("a token that may write what it names sets it, and beyond that nothing", async (t) => {
  const { as } = await stage();
  const limits = [{ credentials: ["github/de*"], actions: ["write"] }] as const;
  t.like(await as(limits, SET, input("deliver")), { data: { setUserCredential: { created: true } }, codes: [] });
  t.like(await as(limits, SET, input("deploy")), { data: { setUserCredential: { created: false } }, codes: [] });
  t.like(await as(limits, SET, input("release")), { codes: ["FORBIDDEN"] });
  t.like(await as(limits, SET, input("deploy", "gitlab")), { codes: ["FORBIDDEN"] });
});

test("a token that is limited to a workspace has the workspace's alone", async (t) => {
  const { as, ids, workspace, user } = await stage();
  const limits = [{ workspace }];
  const { data } = await as(limits, LIST);
  t.deepEqual(data.userCredentials, { totalCount: 1, nodes: [{ id: ids.team }] });
  t.like(await as(limits, SET, input("other")), { codes: ["FORBIDDEN"] });
  const inTeam = { input: { ...input("other").input, scope: "WORKSPACE", workspaceId: workspace } };
  t.like(await as(limits, SET, inTeam), { data: { setUserCredential: { created: true } }, codes: [] });

  const around = `query { users { nodes { id } } workspaces { nodes { id } } activityLogs(first: 10) { totalCount } }`;
  t.deepEqual((await as(limits, around)).data, {
    users: { nodes: [{ id: user }] },
    workspaces: { nodes: [{ id: workspace }] },
    activityLogs: { totalCount: 0 },
  });
  const unlimited = (await as(undefined, around)).data;
  t.is(unlimited.users.nodes.length, 2);
  t.true(unlimited.activityLogs.totalCount > 0);
});

test("limits that can't be understood are no token", async (t) => {
  const user = await makeUser(server.database);
  const rules = { key: secretKey(server.secret), audience: "keyrow", issuer: undefined, userClaim: "sub" };
  for (const limits of [[], [{ action: ["read"] }], [{ actions: ["all"] }], null, "none"]) {
    // What a signer of another program may write.
    const token = createSigner(rules)({ userId: user, expiresIn: 60, limits: limits as never });
    t.is((await post(server.url, token, { query: LIST })).status, 401, JSON.stringify(limits));
  }
});

test("a limited token makes no user's row", async (t) => {
  const provisioning = await startTestServer({ env: { JWT_PROVISION: "on" } });
  t.teardown(() => provisioning.stop());
  const user = "00000000-0000-4000-8000-00000000f00d";
  const asked = async (limits?: readonly Limit[]) => {
    const token = provisioning.token(user, limits && { limits });
    return post(provisioning.url, token, { query: "query { users { nodes { id } } }" });
  };
  t.deepEqual((await asked([{}])).data, { users: { nodes: [] } });
  t.deepEqual((await asked()).data, { users: { nodes: [{ id: user }] } });
  t.deepEqual((await asked([{}])).data, { users: { nodes: [{ id: user }] } });
});
