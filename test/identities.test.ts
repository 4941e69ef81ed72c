import { randomUUID } from "node:crypto";
import { join } from "node:path";
import test from "ava";
import { ownSigningKey } from "../src/signing-key.ts";
import { createLogin, keyrow, type PersonalLogin } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { createTestDatabase } from "./helpers/database.ts";
import { issue, makeKey, startKeyServer, writeIssuers } from "./helpers/issuer.ts";
import { asAdmin, makeUser, post, startTestServer, type TestServer } from "./helpers/server.ts";

const key = makeKey("RS256", { kid: "r1" });
const keys = await startKeyServer(key.jwk);
const directory = makeTemporaryDirectory();
const path = join(directory, "issuers.json");
const names = { auth0: "identities", keycloak: "identities", github: "identities", club: "provision", app: "uuid" };
type Name = keyof typeof names;
const iss = (name: Name) => `https://${name}.example/`;
writeIssuers(path, keys.url, names);

let server: TestServer;
let alice: PersonalLogin;
test.before(async () => {
  server = await startTestServer({ env: { JWT_ISSUERS: path } });
  alice = await createLogin(server.database, "keyrow_admin");
});
test.after.always(async () => {
  await server.stop();
  await alice.drop();
  await keys.close();
  await removeWithServers(directory);
});

const token = (name: Name, sub: string, more: object = {}) =>
  issue(key, { iss: iss(name), sub, aud: "keyrow", exp: Math.floor(Date.now() / 1_000) + 60, ...more });
const me = (name: Name, sub: string, more: object = {}) =>
  post<{ users: { nodes: Array<{ id: string; name: string | null }> } }>(server.url, token(name, sub, more), {
    query: "{ users { nodes { id name } } }",
  });
const run = (...args: string[]) => keyrow(["identity", ...args], { ADMIN_DATABASE_URL: alice.url, JWT_ISSUERS: path });
const which = (name: Name, subject: string) => ["--issuer", name, "--subject", subject];

const subjects: Array<[title: string, name: Name, subject: string]> = [
  ["Auth0", "auth0", "auth0|5f7c8ec7c33c6c004bbafe82"],
  ["Keycloak, whose UUID is of another realm", "keycloak", "6f0f4f3e-8a0c-4f6b-9d2e-0a1b2c3d4e5f"],
  ["GitHub Actions", "github", "repo:acme/app:ref:refs/heads/main"],
];
for (const [title, name, subject] of subjects) {
  test(`a subject of ${title} is a stranger, then whom an admin says, and at the next request a stranger again`, async (t) => {
    const ana = await makeUser(server.database, "Ana");
    const before = await me(name, subject);
    t.is(before.status, 401);
    t.is(before.headers.get("www-authenticate"), 'Bearer realm="keyrow", error="invalid_token"');
    t.deepEqual(await run("add", ...which(name, subject), "--user", ana), {
      stdout: `added  ${subject}  is  ${ana}\n`,
      stderr: "",
      exitCode: 0,
    });
    t.deepEqual((await me(name, subject)).data?.users.nodes, [{ id: ana, name: "Ana" }]);
    t.is((await me(name, subject.toUpperCase())).status, 401, "letter by letter");
    t.deepEqual(await run("rm", ...which(name, subject)), { stdout: `removed  ${subject}\n`, stderr: "", exitCode: 0 });
    t.is((await me(name, subject)).status, 401);
  });
}

test("a subject is one issuer's: the same text of another is a stranger, a user's id included", async (t) => {
  const ana = await makeUser(server.database, "Ana");
  await run("add", ...which("auth0", "shared"), "--user", ana);
  t.is((await me("auth0", "shared")).status, 200);
  t.is((await me("github", "shared")).status, 401);
  t.is((await me("auth0", ana)).status, 401, "a user's id is no subject");
  t.is((await me("app", ana)).status, 200, "but where subjects are ids");
  t.is((await me("app", "shared")).status, 401);
});

test("what was made with a subject's token is worth nothing once the identity is taken away", async (t) => {
  const signingKey = await ownSigningKey(join(directory, "signing-key.pem"));
  const own = await startTestServer({
    env: { JWT_ISSUERS: path },
    signingKey,
    database: { ...server.database, drop: async () => undefined },
  });
  t.teardown(() => own.stop());
  const bo = await makeUser(server.database, "Bo");
  await run("add", ...which("auth0", "tokens"), "--user", bo);
  const query = 'mutation { createToken(input: {name: "kept", expiresIn: 60}) { jwt } }';
  const { data } = await post<{ createToken: { jwt: string } }>(own.url, token("auth0", "tokens"), { query });
  const list = () => post(own.url, data?.createToken.jwt as string, { query: "{ users { nodes { id } } }" });
  t.is((await list()).status, 200);
  t.is((await run("rm", ...which("auth0", "tokens"))).exitCode, 0);
  t.is((await list()).status, 401);
});

test("who goes takes their identities along, and who has no user has no credentials", async (t) => {
  const ana = await makeUser(server.database, "Ana");
  await run("add", ...which("auth0", "leaving"), "--user", ana);
  await asAdmin(server.database, "delete from public.users where id = $1", [ana]);
  t.is((await me("auth0", "leaving")).status, 401);
  t.is((await run("list", "--issuer", "auth0")).stdout.includes("leaving"), false);
});

test("identities are listed as a table and as JSON, all of them or a user's or an issuer's", async (t) => {
  const bo = await makeUser(server.database, "Bo");
  const email = `${randomUUID()}@example.com`;
  await asAdmin(server.database, "update public.users set email = $2 where id = $1", [bo, email]);
  const added = await run("add", ...which("github", "repo:acme/list"), "--user", email, "--json");
  t.deepEqual(JSON.parse(added.stdout), {
    issuer: iss("github"),
    subject: "repo:acme/list",
    userId: bo,
    added: true,
  });
  await run("add", "--issuer", iss("keycloak"), "--subject", "bo", "--user", bo);
  const { stdout } = await run("list", "--user", bo);
  t.regex(stdout, /^SUBJECT +ISSUER +USER +SINCE +BY\n/);
  t.regex(stdout, new RegExp(`^repo:acme/list +https://github\\.example/ +${email} +\\S+Z +${alice.name}$`, "m"));
  const json = JSON.parse((await run("list", "--user", bo, "--json")).stdout);
  t.deepEqual(
    json.map((one: { issuer: string; subject: string; userEmail: string }) => [one.issuer, one.subject, one.userEmail]),
    [
      [iss("github"), "repo:acme/list", email],
      [iss("keycloak"), "bo", email],
    ],
  );
  t.is(JSON.parse((await run("list", "--user", bo, "--issuer", "keycloak", "--json")).stdout).length, 1);
  const removed = await run("rm", ...which("keycloak", "bo"), "--json");
  t.deepEqual(JSON.parse(removed.stdout), { issuer: iss("keycloak"), subject: "bo", removed: true });
});

const refused: Array<[title: string, args: string[], exitCode: number, expected: RegExp]> = [
  [
    "a user that is not there",
    ["add", ...which("auth0", "x"), "--user", randomUUID()],
    3,
    /^error: no user has this id/,
  ],
  [
    "an issuer that nobody named",
    ["add", "--issuer", "gitlab", "--subject", "x", "--user", "x"],
    2,
    /^error: there is no issuer of this name\nhint: the file of JWT_ISSUERS has auth0, keycloak, github, club, app\n/,
  ],
  [
    "an issuer that the servers do not list",
    ["add", "--issuer", "https://gitlab.example/", "--subject", "x", "--user", "x"],
    2,
    /^error: there is no issuer of this name\nhint: the file of JWT_ISSUERS has auth0, .* List this one there first/,
  ],
  [
    "a subject that is a user's id by itself",
    ["add", ...which("app", "x"), "--user", "x"],
    2,
    /^error: the subjects of this issuer are users' ids: nothing asks who they are\nhint: .*`subjects`/,
  ],
  ["no subject", ["add", ...which("auth0", ""), "--user", "x"], 2, /^error: that is not a subject/],
  [
    "a subject that would steer a terminal",
    ["add", ...which("auth0", "\u001b[31m"), "--user", "x"],
    2,
    /^error: that is not a subject/,
  ],
  [
    "a subject that is not there",
    ["rm", ...which("auth0", "nobody")],
    3,
    /^error: this issuer has no such subject here\nhint: `keyrow identity list`/,
  ],
  ["a subject without its issuer", ["add", "--subject", "x", "--user", "x"], 2, /^error: .*--issuer/],
];
test("an identity of an issuer that is listed no longer is listed and taken away by its address", async (t) => {
  const gone = "https://gone.example/";
  const ana = await makeUser(server.database, "Ana");
  const unlisted = { ADMIN_DATABASE_URL: alice.url };
  const added = await keyrow(["identity", "add", "--issuer", gone, "--subject", "a", "--user", ana], unlisted);
  t.is(added.stdout, `added  a  is  ${ana}\n`);
  t.regex(added.stderr, /^warning: whether the servers take tokens of this issuer is not known here\nhint: /);
  t.is(JSON.parse((await run("list", "--issuer", gone, "--json")).stdout).length, 1);
  t.is((await run("rm", "--issuer", gone, "--subject", "a")).stdout, "removed  a\n");
});

for (const [title, args, exitCode, expected] of refused) {
  test(`refuses ${title}`, async (t) => {
    const came = await run(...args);
    t.regex(came.stderr, expected);
    t.like(came, { stdout: "", exitCode });
  });
}

test("a subject is one user: a second is refused, and the first stays", async (t) => {
  const [ana, bo] = [await makeUser(server.database, "Ana"), await makeUser(server.database, "Bo")];
  await run("add", ...which("auth0", "taken"), "--user", ana);
  const second = await run("add", ...which("auth0", "taken"), "--user", bo);
  t.regex(second.stderr, /^error: this subject is somebody already\nhint: .*identity rm/);
  t.is((await me("auth0", "taken")).data?.users.nodes[0]?.id, ana);
});

test("where subjects are provisioned, first requests at once make one user, of what the token says", async (t) => {
  const email = `${randomUUID()}@example.com`;
  const more = { email, email_verified: true, name: "Cleo" };
  const answers = await Promise.all(Array.from({ length: 6 }, () => me("club", "member-7", more)));
  const seen = answers.map(({ data }) => data?.users.nodes);
  t.deepEqual(new Set(seen.map((nodes) => nodes?.[0]?.id)).size, 1);
  t.deepEqual(seen[0]?.[0]?.name, "Cleo");
  const { rows } = await asAdmin(server.database, "select name from public.users where email = $1", [email]);
  t.deepEqual(rows, [{ name: "Cleo" }]);
  t.not((await me("club", "member-8", more)).data?.users.nodes[0]?.id, seen[0]?.[0]?.id, "another subject is another");
});

test("provisioning never gives somebody who is there already, whatever e-mail address or subject a token names", async (t) => {
  const ana = await makeUser(server.database, "Ana");
  const email = `${randomUUID()}@example.com`;
  await asAdmin(server.database, "update public.users set email = $2 where id = $1", [ana, email]);
  for (const sub of ["with-her-address", ana]) {
    const { data } = await me("club", sub, { email, email_verified: true });
    t.is(data?.users.nodes.length, 1);
    t.not(data?.users.nodes[0]?.id, ana);
  }
});

test("a limited token makes no user of a stranger, and is its user's once there is one", async (t) => {
  const limited = { keyrow: { actions: ["read"] } };
  t.is((await me("club", "limited", limited)).status, 401);
  const { data } = await me("club", "limited");
  t.is(data?.users.nodes.length, 1);
  t.deepEqual((await me("club", "limited", limited)).data, data);
});

test("an unverified e-mail address is not written down", async (t) => {
  const email = `${randomUUID()}@example.com`;
  const { data } = await me("club", "unverified", { email, email_verified: false });
  const { rows } = await asAdmin(server.database, "select email from public.users where id = $1", [
    data?.users.nodes[0]?.id,
  ]);
  t.deepEqual(rows, [{ email: null }]);
});

test("a provisioned identity that is taken away comes back as a new user, and not as the old one", async (t) => {
  const first = (await me("club", "again")).data?.users.nodes[0]?.id;
  t.is((await run("rm", ...which("club", "again"))).exitCode, 0);
  const second = (await me("club", "again")).data?.users.nodes[0]?.id;
  t.truthy(second);
  t.not(second, first);
});

test("an application says itself how its users are made, with all that the token says", async (t) => {
  const database = await createTestDatabase();
  const superuser = database.pool("postgres");
  await superuser.query(`
    alter table public.users add column plan text not null default '-', add constraint planned check (plan <> '-');
    drop function keyrow.provision_user(text, text, jsonb);
    create function keyrow.provision_user(issuer text, subject text, claims jsonb) returns uuid
    language sql volatile security definer set search_path = pg_catalog, pg_temp
    as $$ insert into public.users (name, plan) values (subject, claims ->> 'plan') returning id $$;
    revoke all on function keyrow.provision_user(text, text, jsonb) from public;
    grant execute on function keyrow.provision_user(text, text, jsonb) to keyrow_reveal`);
  const own = await startTestServer({ env: { JWT_ISSUERS: path }, database });
  t.teardown(() => own.stop());
  const { data } = await post(own.url, token("club", "planned", { plan: "pro" }), {
    query: "{ users { nodes { id name } } }",
  });
  t.is(data?.users.nodes[0].name, "planned");
  const { rows } = await superuser.query("select plan from public.users where name = 'planned'");
  t.deepEqual(rows, [{ plan: "pro" }]);
});

test("a server whose database does not know how users are made refuses to provision, and says what is missing", async (t) => {
  const database = await createTestDatabase();
  await database.pool("postgres").query("drop function keyrow.provision_user(text, text, jsonb)");
  await t.throwsAsync(startTestServer({ env: { JWT_ISSUERS: path }, database }), {
    message: "JWT_ISSUERS: club: subjects is provision, and the database does not know how users are made.",
  });
});
