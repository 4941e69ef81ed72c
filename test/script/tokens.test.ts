import { rmSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { withConnection } from "../../src/setup.ts";
import { ownSigningKey, readSigningKey } from "../../src/signing-key.ts";
import { parseLimits } from "../../src/token-limits.ts";
import { createLogin } from "../helpers/admin.ts";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { keyrow } from "../helpers/command.ts";
import { makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";
import { does, makeShell, pageOf } from "../helpers/shell.ts";

// `keyrow token create|list|revoke` as processes, against a running server.

let server: TestServer;
const directory = makeTemporaryDirectory();
test.before(async () => {
  server = await startTestServer({ signingKey: await ownSigningKey(join(directory, "servers.pem")) });
});
test.after.always(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function somebody() {
  const id = await makeUser(server.database);
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  const as = (args: string[], token = server.token(id), input = "") =>
    keyrow(args, { env: { KEYROW_URL: server.url, KEYROW_TOKEN: token }, input });
  await as(["set", "github/deploy"], undefined, "value");
  await as(["set", "gitlab/deploy"], undefined, "other");
  return { id, workspace, as };
}

test("a token that is made for some credentials opens them, and nothing else is there for it", async (t) => {
  const { as } = await somebody();
  const made = await as(["token", "create", "--only", "github/*", "--actions", "reveal", "--expires", "15m"]);
  t.like(made, { stderr: "", exitCode: 0 });
  const token = made.stdout.trimEnd();
  t.regex(made.stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  t.like(await as(["get", "github/deploy"], token), { stdout: "value", exitCode: 0 });
  t.like(await as(["get", "gitlab/deploy"], token), { stdout: "", exitCode: 3 });
  const refused = await as(["set", "github/deploy"], token, "new");
  t.like(refused, { stdout: "", exitCode: 4 });
  t.regex(refused.stderr, /^error: a policy does not allow this\n/);
});

test("tokens are listed with their limits, and revoked by id with all that were made with them", async (t) => {
  const { as } = await somebody();
  t.like(await as(["token", "list"]), { stdout: "", stderr: "there are no tokens\n", exitCode: 0 });
  const parent = JSON.parse(
    (await as(["token", "create", "--name", "ci", "--actions", "read,reveal", "--json"])).stdout,
  );
  t.like(parent, { name: "ci", limits: [{ actions: ["read", "reveal"] }], revokedAt: null });
  const child = (await as(["token", "create", "--only", "github/*"], parent.jwt)).stdout.trimEnd();
  const table = (await as(["token", "list"])).stdout;
  t.regex(table, /^ID +NAME +EXPIRES +REVOKED +LIMITS *\n/);
  t.regex(table, new RegExp(`^${parent.id} +ci +\\S+Z +- +\\[{"actions":\\["read","reveal"\\]}\\]$`, "m"));
  t.regex(
    table,
    /- +\[{"credentials":\["github\/\*"\]},{"actions":\["read","reveal"\]}\]$/m,
    "what its parent leaves of it",
  );
  t.is(JSON.parse((await as(["token", "list", "--json"], parent.jwt)).stdout).length, 2);
  t.false(table.includes(child));

  t.deepEqual(await as(["token", "revoke", parent.id]), { stdout: `revoked  ${parent.id}\n`, stderr: "", exitCode: 0 });
  for (const token of [parent.jwt, child]) {
    const refused = await as(["get", "github/deploy"], token);
    t.like(refused, { stdout: "", exitCode: 4 });
    t.regex(refused.stderr, /^error: a valid token is required\n/);
  }
  const another = JSON.parse((await as(["token", "create", "--json"])).stdout);
  const revoked = JSON.parse((await as(["token", "revoke", another.id, "--json"])).stdout);
  t.is(revoked.id, another.id);
  t.true(Date.parse(revoked.revokedAt) > 0);
});

test("a token may be for one workspace, by its id or name", async (t) => {
  const { as, workspace } = await somebody();
  await as(["set", "github/team", "--workspace", workspace], undefined, "team's");
  const token = (await as(["token", "create", "--workspace", workspace])).stdout.trimEnd();
  t.like(await as(["get", "github/team", "--workspace", workspace], token), { stdout: "team's" });
  t.like(await as(["get", "github/deploy"], token), { exitCode: 3 });
});

const page = pageOf("tokens.md", "sh", "json", "sql");

test("docs/tokens.md, taken by its word, makes, lists and revokes a token", async (t) => {
  const { id } = await somebody();
  const at = makeShell(directory);
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(id) };
  const token = await does(t, at, page.block("token create"), env);
  t.like(await keyrow(["get", "github/deploy"], { env: { ...env, KEYROW_TOKEN: token } }), { stdout: "value" });
  const [listed] = JSON.parse(await does(t, at, "npx keyrow token list --json", env));
  await does(t, at, page.block("token revoke"), { ...env, ID: listed.id });
  t.like(await keyrow(["get", "github/deploy"], { env: { ...env, KEYROW_TOKEN: token } }), { exitCode: 4 });
  const made = await does(t, at, `${page.block("openssl genpkey")}\necho "$KEYROW_SIGNING_KEY_FILE"`, {});
  t.regex((await readSigningKey(made)).kid, /^keyrow-/);
});

test("docs/tokens.md says a limit and SQL as the server and the database take them", async (t) => {
  t.notThrows(() => parseLimits(JSON.parse(page.block('"*/deploy"'))));
  await server.database.pool("keyrow_authenticator").query(page.block("set local role keyrow_user"));
  const admin = await createLogin(server.database, "keyrow_admin");
  await withConnection(admin.url, (client) =>
    client.query(`set role keyrow_admin; ${page.block("update keyrow.tokens")}`),
  );
  await admin.drop();
});

const misuses: ReadonlyArray<[what: string, args: string[], exitCode: number, stderr: RegExp]> = [
  ["an action that there is not", ["create", "--actions", "delete"], 2, /^error: the value of --actions is not/],
  ["a duration that is none", ["create", "--expires", "soon"], 2, /^error: the value of --expires is not/],
  [
    "a pattern without a slash",
    ["create", "--only", "github"],
    2,
    /^error: the value of --only is not a pattern of credentials/,
  ],
  [
    "a credential's id for a pattern",
    ["create", "--only", "00000000-0000-4000-8000-000000000000"],
    2,
    /^error: the value of --only is not a pattern of credentials/,
  ],
  ["a pattern of nothing", ["create", "--only", "github/"], 2, /^error: the value of --only is not a pattern/],
  ["a pattern beyond all names", ["create", "--only", `p/${"x".repeat(256)}`], 2, /^error: the value of --only/],
  ["an id that is none", ["revoke", "ci"], 2, /^error: a token is named by its id/],
  ["a token that there is not", ["revoke", "00000000-0000-4000-8000-000000000000"], 3, /^error: /],
  ["no user", [], 2, /^error: no user is named\nhint: give --user/],
];
for (const [what, args, exitCode, stderr] of misuses) {
  test(`it is told: ${what}`, async (t) => {
    const { as } = await somebody();
    const told = await as(["token", ...args]);
    t.like(told, { stdout: "", exitCode });
    t.regex(told.stderr, stderr);
  });
}

test("a server without a key says which setting it lacks", async (t) => {
  const without = await startTestServer();
  t.teardown(() => without.stop());
  const token = without.token(await makeUser(without.database));
  const told = await keyrow(["token", "create"], { env: { KEYROW_URL: without.url, KEYROW_TOKEN: token } });
  t.like(told, { stdout: "", exitCode: 1 });
  t.regex(told.stderr, /^error: this server makes no tokens.*\nhint: .*KEYROW_SIGNING_KEY_FILE/);
});
