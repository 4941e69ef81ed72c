import { randomUUID } from "node:crypto";
import { join } from "node:path";
import test from "ava";
import { machineSigner } from "../src/own-tokens.ts";
import { ownSigningKey } from "../src/signing-key.ts";
import { createLogin, keyrow, type PersonalLogin } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { issue, makeKey, startKeyServer, writeIssuers } from "./helpers/issuer.ts";
import { asAdmin, makeUser, makeWorkspace, post, startTestServer, type TestServer } from "./helpers/server.ts";

const key = makeKey("RS256", { kid: "r1" });
const keys = await startKeyServer(key.jwk);
const directory = makeTemporaryDirectory();
const path = join(directory, "issuers.json");
const names = { github: "identities", keycloak: "uuid" };
type Name = keyof typeof names;
const iss = (name: Name) => `https://${name}.example/`;
writeIssuers(path, keys.url, names);

const signingKeyFile = join(directory, "signing-key.pem");
const signingKey = await ownSigningKey(signingKeyFile);

let server: TestServer;
let alice: PersonalLogin;
let owner: string;
test.before(async () => {
  server = await startTestServer({ env: { JWT_ISSUERS: path }, signingKey });
  alice = await createLogin(server.database, "keyrow_admin");
  owner = await makeUser(server.database, "Owner");
});
test.after.always(async () => {
  await server.stop();
  await alice.drop();
  await keys.close();
  await removeWithServers(directory);
});

const run = (...args: string[]) =>
  keyrow(["machine", ...args], {
    ADMIN_DATABASE_URL: alice.url,
    JWT_ISSUERS: path,
    KEYROW_SIGNING_KEY_FILE: signingKeyFile,
  });

/** A workspace with these credentials, whose values are their names. */
async function team(...credentials: string[]): Promise<string> {
  const workspaceId = await makeWorkspace(server.database, { [owner]: "OWNER" });
  const set = "mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { created } }";
  for (const one of credentials) {
    const [provider, name] = one.split("/");
    const input = { scope: "WORKSPACE", workspaceId, provider, name, value: one };
    const { codes } = await server.query(owner, set, { input });
    if (codes.length > 0) throw new Error(`${one}: ${codes}`);
  }
  return workspaceId;
}

/** A repository that nobody else's test has. */
const repository = () => `acme/${randomUUID()}`;
const job = (claims: object, name: Name = "github", sub = "repo:acme/app:ref:refs/heads/main") =>
  issue(key, { iss: iss(name), sub, aud: "keyrow", exp: Math.floor(Date.now() / 1_000) + 60, ...claims });

const ALL = "{ userCredentials { nodes { provider name value } } }";
/** What a token reveals, as `provider/name`; the status where it does not come so far. */
async function reveals(token: string): Promise<string[] | number> {
  const { status, data, codes } = await post(server.url, token, { query: ALL });
  if (status !== 200) return status;
  if (codes.length > 0) return codes as string[];
  return data?.userCredentials.nodes.map((one: { value: string }) => one.value).toSorted();
}

async function add(name: string, workspace: string, ...more: string[]): Promise<string> {
  const { stdout, stderr, exitCode } = await run("add", name, "--workspace", workspace, ...more, "--json");
  if (exitCode !== 0) throw new Error(stderr);
  return JSON.parse(stdout).id;
}

test("a job lists and reveals what its machine was given, and at the next request after its removal nothing", async (t) => {
  const workspace = await team("github/deploy", "github/npm", "gitlab/deploy", "aws/github");
  await team("github/elsewhere");
  const repo = repository();
  const claims = ["--claim", `repository=${repo}`, "--claim", "ref=refs/heads/main"];
  t.is(await reveals(job({ repository: repo, ref: "refs/heads/main" })), 401);
  const name = `ci-${repo.slice(-6)}`;
  const added = await run("add", name, "--issuer", "github", ...claims, "--workspace", workspace, "--only", "github/*");
  t.regex(added.stdout, new RegExp(`^added {2}${name} {2}[0-9a-f-]{36}\n$`));

  const main = job({ repository: repo, ref: "refs/heads/main", run_attempt: 1 });
  t.deepEqual(await reveals(main), ["github/deploy", "github/npm"]);
  t.is(await reveals(job({ repository: repo, ref: "refs/heads/other" })), 401, "another branch");
  t.is(await reveals(job({ repository: `${repo}x`, ref: "refs/heads/main" })), 401, "another repository");
  t.is(await reveals(job({ ref: "refs/heads/main" })), 401, "a claim is missing");
  t.is(await reveals(job({ repository: [repo], ref: "refs/heads/main" })), 401, "a list is no text");
  t.is(await reveals(job({ repository: repo.toUpperCase(), ref: "refs/heads/main" })), 401, "letter by letter");
  t.is(await reveals(job({ iss: iss("keycloak"), repository: repo, ref: "refs/heads/main" })), 401, "another issuer");

  t.deepEqual(await run("rm", name), { stdout: `removed  ${name}\n`, stderr: "", exitCode: 0 });
  t.is(await reveals(main), 401);
});

const patterns: Array<[title: string, only: string[], expected: string[]]> = [
  ["one by its name", ["github/deploy"], ["github/deploy"]],
  ["a name of any provider", ["*/deploy"], ["github/deploy", "gitlab/deploy"]],
  ["a part of a name", ["github/d*y"], ["github/deploy"]],
  ["several patterns", ["github/npm", "gitlab/*"], ["github/npm", "gitlab/deploy"]],
  ["all of the workspace's", ["*/*"], ["github/deploy", "github/npm", "gitlab/deploy"]],
  ["nothing, where signs of other patterns stand for themselves", ["github/deplo_", "github/deplo.", "git%/npm"], []],
  ["nothing, in other letters", ["GitHub/*"], []],
];
test("patterns: only * stands for others, on its side of the slash", async (t) => {
  const workspace = await team("github/deploy", "github/npm", "gitlab/deploy");
  for (const [index, [title, only, expected]] of patterns.entries()) {
    const repo = repository();
    const given = only.flatMap((one) => ["--only", one]);
    await add(`pattern-${index}`, workspace, "--issuer", "github", "--claim", `repository=${repo}`, ...given);
    t.deepEqual(await reveals(job({ repository: repo })), expected, title);
  }
});

test("a machine writes nothing, and sees its workspace and nobody: no users, members or log", async (t) => {
  const workspace = await team("github/deploy");
  const repo = repository();
  await add("reader", workspace, "--issuer", "github", "--claim", `repository=${repo}`, "--only", "*/*");
  const token = job({ repository: repo });
  const ask = (query: string, variables: object = {}) => post(server.url, token, { query, variables });
  t.deepEqual(await reveals(token), ["github/deploy"]);

  const seen = await ask(
    "{ users { nodes { id } } workspaces { nodes { id } } workspaceMembers { nodes { role } } activityLogs { nodes { id } } }",
  );
  const none = { nodes: [] };
  const own = { nodes: [{ id: workspace }] };
  t.deepEqual(seen.data, { users: none, workspaces: own, workspaceMembers: none, activityLogs: none });

  const { data } = await ask("{ userCredentials { nodes { id } } }");
  const id = data?.userCredentials.nodes[0].id;
  const input = { scope: "WORKSPACE", workspaceId: workspace, provider: "github", name: "new", value: "x" };
  const set = "mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { created } }";
  const create =
    "mutation ($input: CreateUserCredentialInput!) { createUserCredential(input: $input) { userCredential { id } } }";
  const attempts: Array<[query: string, variables: object]> = [
    [set, { input }],
    [set, { input: { ...input, name: "deploy" } }],
    [set, { input: { provider: "github", name: "own", value: "x" } }],
    [create, { input: { userCredential: { ...input, type: "SECRET" } } }],
    [
      'mutation { createToken(input: { name: "x", actions: [REVEAL], expiresAt: new Date(Date.now() + 60_000) }) { token } }',
      {},
    ],
    ["mutation ($id: UUID!) { revokeUserCredential(input: { id: $id }) { userCredential { id } } }", { id }],
    ["mutation ($id: UUID!) { deleteUserCredential(input: { id: $id }) { userCredential { id } } }", { id }],
    [
      'mutation ($id: UUID!) { rotateUserCredential(input: { id: $id, value: "x" }) { userCredential { id } } }',
      { id },
    ],
  ];
  for (const [query, variables] of attempts) {
    const { codes } = await ask(query, variables);
    t.true(["FORBIDDEN", "NOT_FOUND", "VALIDATION"].includes(codes[0] ?? ""), `${query} ${codes}`);
  }
  t.deepEqual(await reveals(token), ["github/deploy"]);
});

test("what a machine reveals is on the record, under its id and in its workspace, where the workspace's owner reads it", async (t) => {
  const workspace = await team("github/deploy");
  const repo = repository();
  const id = await add(
    "recorded",
    workspace,
    "--issuer",
    "github",
    "--claim",
    `repository=${repo}`,
    "--only",
    "github/*",
  );
  await reveals(job({ repository: repo }));
  const { data } = await server.query(
    owner,
    "query ($id: UUID!) { activityLogs(filter: { userId: { equalTo: $id } }) { nodes { action workspaceId details } } }",
    { id },
  );
  t.is(data.activityLogs.nodes.length, 1);
  t.like(data.activityLogs.nodes[0], { action: "CREDENTIAL_ACCESSED", workspaceId: workspace });
});

test("a token that could be several machines is none of them, and the log says why", async (t) => {
  const workspace = await team("github/deploy");
  const repo = repository();
  await add("several-1", workspace, "--issuer", "github", "--claim", `repository=${repo}`, "--only", "github/*");
  const both = job({ repository: repo, environment: "production" });
  t.deepEqual(await reveals(both), ["github/deploy"]);
  await add(
    "several-2",
    workspace,
    "--issuer",
    "github",
    "--claim",
    `repository=${repo}`,
    "--claim",
    "environment=production",
    "--only",
    "*/*",
  );
  t.is(await reveals(both), 401);
  t.deepEqual(await reveals(job({ repository: repo })), ["github/deploy"]);
  t.regex(server.log(), /a token could be several machines/);
});

test("a token that is no machine is whom an identity says", async (t) => {
  const subject = `repo:${repository()}:ref:refs/heads/main`;
  await asAdmin(server.database, "insert into keyrow.identities (issuer, subject, user_id) values ($1, $2, $3)", [
    iss("github"),
    subject,
    owner,
  ]);
  const { data } = await post(server.url, job({}, "github", subject), { query: "{ users { nodes { id } } }" });
  t.deepEqual(data?.users.nodes, [{ id: owner }]);
});

test("claims that are numbers or booleans are compared as texts, and an issuer of users has machines as well", async (t) => {
  const workspace = await team("github/deploy");
  const azp = randomUUID();
  const id = await add(
    "service",
    workspace,
    "--issuer",
    iss("keycloak"),
    "--claim",
    `azp=${azp}`,
    "--claim",
    "level=7",
    "--claim",
    "robot=true",
    "--only",
    "github/*",
  );
  const service = (more: object) => job({ azp, level: 7, robot: true, ...more }, "keycloak", randomUUID());
  t.deepEqual(await reveals(service({})), ["github/deploy"]);
  t.deepEqual(await reveals(service({ level: "7" })), ["github/deploy"]);
  // Users' ids as subjects: without its claims the token is a user of that id, who has nothing here.
  t.deepEqual(await reveals(service({ robot: false })), []);
  const { rows } = await asAdmin(server.database, "select id from public.users where id = $1", [id]);
  t.deepEqual(rows, []);
});

test("a machine without an issuer takes its tokens from the command, until it is removed", async (t) => {
  const workspace = await team("s3/backup", "s3/other");
  const id = await add("backup", workspace, "--only", "s3/backup");
  const { stdout, exitCode } = await run("token", "backup", "--expires", "15m");
  t.is(exitCode, 0);
  t.regex(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/);
  t.deepEqual(await reveals(stdout.trim()), ["s3/backup"]);
  const made = () => asAdmin(server.database, "select from public.users where id = $1", [id]);
  t.is((await made()).rowCount, 0, "it is no user, though users are provisioned");
  await run("rm", "backup");
  t.is(await reveals(stdout.trim()), 401);
  t.is((await made()).rowCount, 0);
});

test("a person's issuer that names a machine's id makes nobody that machine, nor a user", async (t) => {
  const workspace = await team("github/deploy");
  const id = await add("by-id", workspace, "--only", "github/*");
  t.is(await reveals(server.token(id)), 401, "the settings' issuer");
  t.is(await reveals(job({}, "keycloak", id)), 401, "a listed one");
  const { rowCount } = await asAdmin(server.database, "select from public.users where id = $1", [id]);
  t.is(rowCount, 0);
});

test("nor where no users are made, whether it lists, reveals, writes or makes a token", async (t) => {
  const env = { JWT_ISSUERS: path, JWT_PROVISION: "off" };
  const other = await startTestServer({ env, signingKey });
  t.teardown(() => other.stop());
  const { database } = other;
  const boss = await makeUser(database, "Owner");
  const workspaceId = await makeWorkspace(database, { [boss]: "OWNER" });
  const input = { scope: "WORKSPACE", workspaceId, provider: "github", name: "deploy", value: "github/deploy" };
  const set = "mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { created } }";
  t.deepEqual((await other.query(boss, set, { input })).codes, []);
  const insert = "insert into keyrow.machines (name, workspace_id, credentials) values ('m', $1, '{*/*}') returning id";
  const { rows } = await asAdmin(database, insert, [workspaceId]);
  const { id } = rows[0] as { id: string };
  const asked = [
    "{ userCredentials { nodes { name } } }",
    ALL,
    'mutation { setUserCredential(input: { provider: "github", name: "own", value: "x" }) { created } }',
    "mutation { createToken(input: {}) { clientMutationId } }",
  ];
  for (const query of asked) {
    for (const token of [other.token(id), job({}, "keycloak", id)]) {
      t.deepEqual((await post(other.url, token, { query })).codes, ["UNAUTHENTICATED"], query);
    }
  }
  const its = await post(
    other.url,
    machineSigner(signingKey, "keyrow")({ id, expiresAt: new Date(Date.now() + 60_000) }),
    { query: ALL },
  );
  t.is(its.data?.userCredentials.nodes[0].value, "github/deploy", "its own token is its own");
});

test("nobody is a machine by saying so, nor by limits: a token's own narrow what the machine has", async (t) => {
  const workspace = await team("github/deploy", "github/npm");
  t.is(
    await reveals(machineSigner(signingKey, "keyrow")({ id: owner, expiresAt: new Date(Date.now() + 60_000) })),
    401,
  );
  const repo = repository();
  await add("narrow", workspace, "--issuer", "github", "--claim", `repository=${repo}`, "--only", "github/*");
  const token = (limits: object) => job({ repository: repo, keyrow: limits });
  t.deepEqual(await reveals(token({ credentials: ["*/npm"] })), ["github/npm"]);
  t.deepEqual(await reveals(token({ credentials: ["gitlab/*"] })), []);
  t.deepEqual(await reveals(token({ actions: ["write"], workspace: randomUUID() })), []);
  const listed = await post(server.url, token({ actions: ["read"] }), {
    query: "{ userCredentials { nodes { name } } }",
  });
  t.is(listed.data?.userCredentials.nodes.length, 2);
  t.deepEqual((await post(server.url, token({ actions: ["read"] }), { query: ALL })).codes.slice(0, 1), ["FORBIDDEN"]);
});

test("who deletes a workspace deletes its machines", async (t) => {
  const workspace = await makeWorkspace(server.database, { [owner]: "OWNER" });
  await add("going", workspace, "--only", "*/*");
  const { stdout } = await run("token", "going");
  t.deepEqual(await reveals(stdout.trim()), []);
  await asAdmin(server.database, "delete from public.workspaces where id = $1", [workspace]);
  t.is(await reveals(stdout.trim()), 401);
});

test("machines are listed as a table and as JSON, and a workspace goes by its name where one alone has it", async (t) => {
  const workspace = await makeWorkspace(server.database, {});
  const name = `Team ${randomUUID()}`;
  await asAdmin(server.database, "update public.workspaces set name = $2 where id = $1", [workspace, name]);
  const id = await add(
    "listed",
    name,
    "--issuer",
    "github",
    "--claim",
    "repository=acme/listed",
    "--only",
    "github/*",
    "--only",
    "*/deploy",
  );
  const { stdout } = await run("list");
  t.regex(stdout, /^MACHINE +WORKSPACE +CREDENTIALS +ISSUER +CLAIMS +SINCE +BY\n/);
  t.regex(
    stdout,
    new RegExp(
      `^listed +${name} +github/\\* \\*/deploy +https://github\\.example/ +repository=acme/listed +\\S+Z +${alice.name}$`,
      "m",
    ),
  );
  const json = JSON.parse((await run("list", "--json")).stdout).find((one: { name: string }) => one.name === "listed");
  t.like(json, {
    id,
    issuer: iss("github"),
    claims: { repository: "acme/listed" },
    workspaceId: workspace,
    workspaceName: name,
    credentials: ["github/*", "*/deploy"],
    createdBy: alice.name,
  });

  const other = await makeWorkspace(server.database, {});
  await asAdmin(server.database, "update public.workspaces set name = $2 where id = $1", [other, name]);
  const ambiguous = await run("add", "ambiguous", "--workspace", name, "--only", "*/*");
  t.regex(ambiguous.stderr, /^error: several workspaces have this name\nhint: give the workspace's id/);
});

const at = ["--workspace", randomUUID()];
const refused: Array<[title: string, args: string[], exitCode: number, expected: RegExp]> = [
  [
    "a workspace that is not there",
    ["add", "x", ...at, "--only", "*/*"],
    3,
    /^error: no workspace has this id or name/,
  ],
  [
    "a workspace's name that is not there",
    ["add", "x", "--workspace", "nowhere", "--only", "*/*"],
    3,
    /^error: no workspace/,
  ],
  [
    "an issuer without a claim",
    ["add", "x", ...at, "--only", "*/*", "--issuer", "github"],
    2,
    /^error: an issuer and claims belong together\nhint: .*every token/,
  ],
  [
    "a claim without its issuer",
    ["add", "x", ...at, "--only", "*/*", "--claim", "a=b"],
    2,
    /^error: an issuer and claims/,
  ],
  [
    "a claim that is none",
    ["add", "x", ...at, "--only", "*/*", "--issuer", "github", "--claim", "a"],
    2,
    /^error: the value of --claim/,
  ],
  [
    "a claim twice",
    ["add", "x", ...at, "--only", "*/*", "--issuer", "github", "--claim", "a=b", "--claim", "a=c"],
    2,
    /^error: a claim is given twice/,
  ],
  [
    "the expiry as claim",
    ["add", "x", ...at, "--only", "*/*", "--issuer", "github", "--claim", "exp=1"],
    2,
    /^error: the claim exp tells/,
  ],
  [
    "an issuer that nobody named",
    ["add", "x", ...at, "--only", "*/*", "--issuer", "gitlab", "--claim", "a=b"],
    2,
    /^error: there is no issuer of this name\nhint: the file of JWT_ISSUERS has github, keycloak\n/,
  ],
  [
    "an issuer that the servers do not list",
    ["add", "x", ...at, "--only", "*/*", "--issuer", "https://gitlab.example/", "--claim", "a=b"],
    2,
    /^error: there is no issuer of this name\nhint: The file of JWT_ISSUERS has github, keycloak\. List this one there first\.\n/i,
  ],
  ["no credentials", ["add", "x", ...at], 2, /^error: .*--only/],
  [
    "a pattern without a slash",
    ["add", "x", ...at, "--only", "github"],
    2,
    /^error: the value of --only is not a pattern/,
  ],
  ["a name in capitals", ["add", "CI", ...at, "--only", "*/*"], 2, /^error: that is not the name of a machine/],
  ["a token for a machine that is not there", ["token", "nobody"], 3, /^error: there is no machine of this name/],
  ["a token for ever", ["token", "nobody", "--expires", "366d"], 2, /^error: the value of --expires is not a duration/],
  [
    "to remove a machine that is not there",
    ["rm", "nobody"],
    3,
    /^error: there is no machine of this name\nhint: `keyrow machine list`/,
  ],
];
for (const [title, args, exitCode, expected] of refused) {
  test(`refuses ${title}`, async (t) => {
    const came = await run(...args);
    t.regex(came.stderr, expected);
    t.like(came, { stdout: "", exitCode });
  });
}

test("without the servers' file an issuer's address is taken, with a warning; for the embedded server it is refused", async (t) => {
  const workspace = await makeWorkspace(server.database, {});
  const address = ["--issuer", "https://gitlab.example/", "--claim", `sub=${randomUUID()}`];
  const args = ["machine", "add", "unchecked", "--workspace", workspace, "--only", "*/*", ...address];
  const taken = await keyrow([...args, "--json"], { ADMIN_DATABASE_URL: alice.url });
  t.deepEqual(Object.keys(JSON.parse(taken.stdout)), ["name", "id", "workspaceId", "added"]);
  t.regex(
    taken.stderr,
    /^warning: whether the servers take tokens of this issuer is not known here\nhint: Set JWT_ISSUERS to .*\n$/i,
  );
  const embedded = await keyrow(args, { KEYROW_DATA_DIR: join(directory, "none") });
  t.regex(
    embedded.stderr,
    /^error: there is no issuer of this name\nhint: .*set JWT_ISSUERS, here and for `keyrow start`/,
  );
  t.like(embedded, { stdout: "", exitCode: 2 });
});

test("a machine's token is JSON with its id and end where that is asked for", async (t) => {
  const workspace = await team("s3/backup");
  const id = await add("json", workspace, "--only", "s3/*");
  const before = Math.floor(Date.now() / 1000);
  const { jwt, expiresAt, ...rest } = JSON.parse((await run("token", "json", "--expires", "15m", "--json")).stdout);
  t.deepEqual(rest, { name: "json", id });
  t.deepEqual(await reveals(jwt), ["s3/backup"]);
  const { exp } = JSON.parse(Buffer.from(jwt.split(".")[1], "base64url").toString());
  t.is(Date.parse(expiresAt), exp * 1000);
  t.true(exp >= before + 900 && exp < before + 1000);
});

test("refuses a second machine of one name, and a token for one whose issuer makes them", async (t) => {
  const workspace = await makeWorkspace(server.database, {});
  await add("once", workspace, "--issuer", "github", "--claim", `repository=${repository()}`, "--only", "*/*");
  t.regex(
    (await run("add", "once", "--workspace", workspace, "--only", "*/*")).stderr,
    /^error: there is a machine of this name/,
  );
  t.regex(
    (await run("token", "once")).stderr,
    /^error: this machine's tokens come from its issuer\nhint: make a machine without --issuer/,
  );
});

test("whoami and login say which machine a token is, and --workspace takes its workspace's name", async (t) => {
  const workspace = await team("github/deploy");
  await asAdmin(server.database, "update public.workspaces set name = 'acme' where id = $1", [workspace]);
  const id = await add("teller", workspace, "--only", "github/*");
  const token = (await run("token", "teller", "--expires", "1h")).stdout.trim();
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: token, HOME: directory };
  const who = await keyrow(["whoami"], env);
  t.is(who.stderr, "");
  t.regex(
    who.stdout,
    new RegExp(`^machine +${id}\\nname +teller\\nworkspace +${workspace}\\ncredentials +github/\\*\\nuntil +2`, "m"),
  );
  const { machine, name } = JSON.parse((await keyrow(["whoami", "--json"], env)).stdout);
  t.like(machine, { workspaceId: workspace, credentials: ["github/*"] });
  t.is(name, "teller");
  t.is((await keyrow(["login", server.url], { HOME: directory }, token)).stdout, "logged in  teller\n");
  t.is((await keyrow(["get", "github/deploy", "--workspace", "acme"], env)).stdout, "github/deploy");
  t.regex(
    (await keyrow(["describe", "github/deploy", "--workspace", "acme"], env)).stdout,
    /^credential +github\/deploy/,
  );
});
