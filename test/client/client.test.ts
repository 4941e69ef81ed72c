import { randomUUID } from "node:crypto";
import { getEventListeners } from "node:events";
import test from "ava";
import { type Client, type ErrorCode, KeyrowError, keyrow } from "../../src/client.ts";
import { asAdmin, makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

/** A client of somebody new, which counts its requests. */
async function somebody() {
  const id = await makeUser(server.database, "Ana");
  return { ...clientOf(id), id };
}

function clientOf(id: string): { client: Client; requests: string[] } {
  const requests: string[] = [];
  const client = keyrow({
    url: server.url,
    token: async () => server.token(id),
    fetch: (url, init) => {
      requests.push(JSON.parse(String(init?.body)).operationName);
      return fetch(url, { ...init, headers: { ...init?.headers, connection: "close" } });
    },
  });
  return { client, requests };
}

async function failure(promise: Promise<unknown>): Promise<KeyrowError> {
  const error = await promise.then(
    () => new Error("it did not fail"),
    (reason: unknown) => reason,
  );
  if (error instanceof KeyrowError) return error;
  throw error;
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}

async function recorded(userId: string): Promise<number> {
  const { rows } = await asAdmin(
    server.database,
    "select count(*)::int as n from public.activity_logs where user_id = $1 and action = 'CREDENTIAL_ACCESSED'",
    [userId],
  );
  return rows[0].n;
}

test("a credential lives: set, described, revealed, rotated, revoked, removed", async (t) => {
  const { client, id } = await somebody();
  t.deepEqual(await client.whoami(), { id, name: "Ana", machine: null });
  const { created, credential } = await client.set({
    credential: "github/deploy/prod",
    value: "one",
    type: "API_KEY",
    expiresAt: new Date("2999-01-01"),
  });
  t.true(created);
  t.like(credential, { provider: "github", name: "deploy/prod", type: "API_KEY", userId: id });
  t.is(await client.get("github/deploy/prod"), "one");
  t.is(await client.get(credential.id), "one");
  t.like(await client.set({ credential: "github/deploy/prod", value: "two" }), { created: false });
  t.is((await client.describe("github/deploy/prod")).id, credential.id);
  await client.rotate("github/deploy/prod", { value: "three", expiresAt: null });
  t.is(await client.get("github/deploy/prod"), "three");
  t.false((await client.revoke("github/deploy/prod")).isActive);
  const revoked = await failure(client.get("github/deploy/prod"));
  t.is(revoked.code, "CREDENTIAL_REVOKED");
  t.regex(revoked.message, /^github\/deploy\/prod: this credential is revoked\./);
  t.is(await client.remove("github/deploy/prod"), credential.id);
  t.is((await failure(client.get("github/deploy/prod"))).code, "NOT_FOUND");
  t.is((await failure(client.describe(credential.id))).code, "NOT_FOUND");
});

test("reveals of the same tick share a request, and each gets its own value or error", async (t) => {
  const { client, requests, id } = await somebody();
  await client.setAll([1, 2, 3].map((n) => ({ credential: `p/${n}`, value: `v${n}` })));
  await client.revoke("p/3");
  requests.length = 0;
  const outcomes = await Promise.allSettled([
    client.get("p/1"),
    client.get("p/2"),
    client.get("p/1"),
    client.get("p/3"),
    client.get("p/4"),
    client.get("nonsense"),
  ]);
  t.deepEqual(requests, ["Reveal"]);
  t.deepEqual(
    outcomes.map((one) => (one.status === "fulfilled" ? one.value : (one.reason as KeyrowError).code)),
    ["v1", "v2", "v1", "CREDENTIAL_REVOKED", "NOT_FOUND", "VALIDATION"],
  );
  t.is(await recorded(id), 2, "what is asked for twice is revealed once");
});

test("patterns reveal what they match in one request: active ones, of one's own, `*` within provider or name", async (t) => {
  const { client, requests } = await somebody();
  const names = ["github/a", "github/a/b", "github/a_c", "github/axc", "gitlab/a", "git%/a"];
  await client.setAll([...names, "github/old"].map((credential) => ({ credential, value: credential })));
  await client.revoke("github/old");
  const matched = async (...patterns: string[]) => (await client.getAll(patterns)).map(({ value }) => value).toSorted();
  requests.length = 0;
  t.deepEqual(await matched("github/*"), ["github/a", "github/a/b", "github/a_c", "github/axc"]);
  t.deepEqual(requests, ["Reveal"]);
  t.deepEqual(await matched("git*/a"), ["git%/a", "github/a", "gitlab/a"]);
  t.deepEqual(await matched("github/a_*"), ["github/a_c"], "an underscore is itself");
  t.deepEqual(await matched("git%/*", "gitlab/a"), ["git%/a", "gitlab/a"]);
  t.deepEqual(await matched("*/nothing"), []);
  t.deepEqual(await matched(), []);
  t.is((await failure(client.getAll(["github/old"]))).code, "CREDENTIAL_REVOKED", "named, it is no silent gap");
});

test("a workspace's credentials are its admins', apart from one's own of the same name", async (t) => {
  const { client, id } = await somebody();
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  await client.set({ credential: "p/n", value: "mine" });
  t.like(await client.set({ credential: "p/n", value: "ours" }, { workspace }), { created: true });
  t.deepEqual(await Promise.all([client.get("p/n"), client.get("p/n", { workspace })]), ["mine", "ours"]);
  t.is((await all(client.list())).length, 2);
  t.deepEqual(
    (await all(client.list({ workspace }))).map(({ scope, workspaceId }) => [scope, workspaceId]),
    [["WORKSPACE", workspace]],
  );
  t.deepEqual(await client.workspacesNamed("a workspace"), [workspace]);
  const stranger = await somebody();
  t.is((await failure(stranger.client.get("p/n", { workspace }))).code, "NOT_FOUND");
  t.is((await failure(stranger.client.set({ credential: "p/n", value: "x" }, { workspace }))).code, "FORBIDDEN");
});

test("a workspace's credentials are revealed by its name in one request, and none where two have the name", async (t) => {
  const { client, requests, id } = await somebody();
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  await client.setAll(
    ["github/a", "github/b", "npm/c"].map((credential) => ({ credential, value: credential })),
    { workspace },
  );
  const mine = await client.set({ credential: "github/a", value: "mine" });
  requests.length = 0;
  const named = (...patterns: string[]) => client.getAll(patterns, { workspaceName: "a workspace" });
  const found = await named("github/*", "npm/c");
  t.deepEqual(found.map(({ value }) => value).toSorted(), ["github/a", "github/b", "npm/c"]);
  t.deepEqual(requests, ["RevealIn"]);
  t.deepEqual(await named(mine.credential.id), [], "it is none of that workspace's");
  t.is((await failure(client.getAll(["github/*"], { workspaceName: "another" }))).code, "NOT_FOUND");
  t.is(await recorded(id), 3);
  await makeWorkspace(server.database, { [id]: "ADMIN" });
  const twice = await failure(named("github/*", mine.credential.id, found[0]?.id ?? ""));
  t.is(twice.code, "USAGE");
  t.is(twice.message, "Two workspaces have that name.");
  t.is(await recorded(id), 3, "nothing was revealed");
});

test("a list goes through every page", async (t) => {
  const { client, requests } = await somebody();
  await client.setAll(Array.from({ length: 230 }, (_, n) => ({ credential: `p/${n}`, value: "v" })));
  requests.length = 0;
  const listed = await all(client.list());
  t.is(new Set(listed.map(({ name }) => name)).size, 230);
  t.deepEqual(requests, ["List", "List", "List"]);
});

test("what a policy lets somebody list of another is never taken for their own", async (t) => {
  const [ana, bo] = [await somebody(), await somebody()];
  await ana.client.set({ credential: "audit/n", value: "hers" });
  const superuser = server.database.pool("postgres");
  await superuser.query(`create policy t_auditor on public.user_credentials for select to keyrow_user, keyrow_reveal
    using (provider = 'audit' and (select public.current_user_id()) = '${bo.id}')`);
  t.is((await failure(bo.client.describe("audit/n"))).code, "NOT_FOUND");
  t.is((await failure(bo.client.get("audit/n"))).code, "NOT_FOUND");
  t.deepEqual(await bo.client.getAll(["audit/*"]), []);
  t.deepEqual(await bo.client.getAll(["audit/n"]), []);
  t.is(await recorded(bo.id), 0, "nor revealed");
  t.is((await failure(bo.client.remove("audit/n"))).code, "NOT_FOUND");
  t.like(await bo.client.set({ credential: "audit/n", value: "his" }), { created: true });
  t.is(await bo.client.get("audit/n"), "his");
});

test("what may be seen and not changed is FORBIDDEN, what may not be seen NOT_FOUND, and one read tells", async (t) => {
  const [ana, bo] = [await somebody(), await somebody()];
  const workspace = await makeWorkspace(server.database, { [ana.id]: "ADMIN" });
  const { id } = (await ana.client.set({ credential: "seen/n", value: "v" }, { workspace })).credential;
  await server.database.pool("postgres").query(`create policy t_viewer on public.user_credentials for select
    to keyrow_user using (provider = 'seen' and (select public.current_user_id()) = '${bo.id}')`);
  for (const [who, code] of [
    [bo, "FORBIDDEN"],
    [await somebody(), "NOT_FOUND"],
  ] as const) {
    const { client, requests } = who;
    for (const [change, operation] of [
      [() => client.rotate(id, { value: "x" }), "Rotate"],
      [() => client.revoke(id), "Revoke"],
      [() => client.remove(id), "Remove"],
    ] as const) {
      requests.length = 0;
      const error = await failure(change());
      t.is(error.code, code, operation);
      t.is(error.message.startsWith("seen/n: "), code === "FORBIDDEN");
      t.deepEqual(requests, [operation, "Find"]);
    }
  }
  const byName = await failure(bo.client.revoke("seen/n", { workspace }));
  t.is(byName.code, "FORBIDDEN");
  t.is(await ana.client.get(id), "v");
});

test("errors are those of the catalogue", async (t) => {
  const { client } = await somebody();
  const cases: Array<[ErrorCode, Promise<unknown>]> = [
    ["UNAUTHENTICATED", keyrow({ url: server.url, token: "no-token" }).whoami()],
    ["VALIDATION", client.set({ credential: randomUUID(), value: "v" })],
    ["LIMIT_EXCEEDED", client.set({ credential: "p/n", value: "v".repeat(70_000) })],
    ["VALIDATION", client.set({ credential: "p/n", value: "v", expiresAt: new Date("soon") })],
    ["VALIDATION", client.set({ credential: "p/n", value: "v", metadata: { large: 1n } })],
    ["NOT_FOUND", client.rotate("p/none", { value: "v" })],
  ];
  for (const [code, promise] of cases) t.is((await failure(promise)).code, code);
  t.is((await failure(client.rotate("p/none", { value: "v" }))).status, 404);
});

test("a signal keeps nothing of the calls that are over", async (t) => {
  const { client } = await somebody();
  await client.set({ credential: "p/n", value: "v" });
  const { signal } = new AbortController();
  for (let call = 0; call < 3; call++) await client.get("p/n", { signal });
  await Promise.all(Array.from({ length: 40 }, () => client.get("p/n", { signal })));
  t.is((await failure(client.get("p/none", { signal }))).code, "NOT_FOUND");
  t.is(getEventListeners(signal, "abort").length, 0);
});

test("who gives up gets the signal's reason, and the others their values", async (t) => {
  const { client } = await somebody();
  await client.set({ credential: "p/n", value: "v" });
  const reason = new Error("enough");
  const giving = new AbortController();
  const given = client.get("p/n", { signal: giving.signal });
  const other = client.get("p/n");
  giving.abort(reason);
  t.is(await given.catch((error: unknown) => error), reason);
  t.is(await other, "v");
  for (const late of [client.get("p/n", { signal: giving.signal }), client.whoami({ signal: giving.signal })]) {
    t.is(await late.catch((error: unknown) => error), reason);
  }
});
