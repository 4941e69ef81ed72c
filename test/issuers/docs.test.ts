import { createPublicKey, randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { machineSigner } from "../../src/own-tokens.ts";
import { ownSigningKey } from "../../src/signing-key.ts";
import { createLogin } from "../helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { githubToken } from "../helpers/github.ts";
import { issue, makeKey, startKeyServer } from "../helpers/issuer.ts";
import { asAdmin, makeUser, makeWorkspace, post, startTestServer } from "../helpers/server.ts";
import { does, makeShell, pageOf } from "../helpers/shell.ts";

const directory = makeTemporaryDirectory();
test.after.always(() => removeWithServers(directory));

const issuersPage = pageOf("issuers.md", "json", "sh", "sql");
const machinesPage = pageOf("machines.md", "sh", "sql");

// What issuers serve beside the key itself, and Keycloak's key for encryption, which has the algorithm's other kind.
const rsa = makeKey("RS256", { kid: "QjVDNzE", use: "sig", alg: "RS256", x5t: "QjVDNzE", x5c: ["MIIDBzCCAe"] });
const encryption = makeKey("RS256", { kid: "enc", use: "enc", alg: "RSA-OAEP" });
const batch = makeKey("ES256");

const now = () => Math.floor(Date.now() / 1_000);
const times = () => ({ iat: now(), nbf: now(), exp: now() + 300 });
const kid = { kid: "QjVDNzE", typ: "JWT" };

/** As Auth0 makes an access token for an API. */
const auth0 = (sub: string, more: object = {}) =>
  issue(
    rsa,
    {
      iss: "https://acme.eu.auth0.com/",
      sub,
      aud: ["https://keyrow.acme.example", "https://acme.eu.auth0.com/userinfo"],
      azp: "my-client",
      scope: "openid profile",
      ...times(),
      ...more,
    },
    kid,
  );

/** As Keycloak makes an access token for a client's service account. */
const keycloak = (sub: string, azp = "web") =>
  issue(
    rsa,
    {
      ...times(),
      jti: randomUUID(),
      iss: "https://id.acme.example/realms/staff",
      aud: ["keyrow", "account"],
      sub,
      typ: "Bearer",
      azp,
      acr: "1",
      realm_access: { roles: ["default-roles-staff", "offline_access"] },
      resource_access: { account: { roles: ["manage-account"] } },
      scope: "email profile",
      email_verified: false,
      preferred_username: `service-account-${azp}`,
    },
    kid,
  );

test("docs/issuers.md and docs/machines.md, taken by their word, with tokens as Auth0, Keycloak and GitHub Actions make them", async (t) => {
  const keys = await startKeyServer(rsa.jwk, encryption.jwk);
  t.teardown(() => keys.close());
  const path = join(directory, "issuers.json");
  // The addresses alone are others: they are far away.
  writeFileSync(path, issuersPage.block('"auth0"').replaceAll(/"jwks": ".*"/g, `"jwks": "${keys.url}"`));
  const pem = createPublicKey(batch.privateKey).export({ type: "spki", format: "pem" });
  writeFileSync(join(directory, "batch.pem"), pem);

  const signingKeyFile = join(directory, "signing-key.pem");
  const server = await startTestServer({ env: { JWT_ISSUERS: path }, signingKey: await ownSigningKey(signingKeyFile) });
  t.teardown(() => server.stop());
  const { database } = server;
  const alice = await createLogin(database, "keyrow_admin");
  t.teardown(() => alice.drop());
  const at = makeShell(directory);
  const env = { ADMIN_DATABASE_URL: alice.url, JWT_ISSUERS: path, KEYROW_SIGNING_KEY_FILE: signingKeyFile };

  const ana = await makeUser(database, "Ana");
  await asAdmin(database, "update public.users set email = 'ana@example.com' where id = $1", [ana]);
  const acme = await makeWorkspace(database, { [ana]: "OWNER" });
  await asAdmin(database, "update public.workspaces set name = 'acme' where id = $1", [acme]);
  for (const [provider, name] of [
    ["github", "deploy"],
    ["smtp", "relay"],
    ["s3", "backup"],
    ["stripe", "live"],
  ]) {
    const input = { scope: "WORKSPACE", workspaceId: acme, provider, name, value: `${provider}/${name}` };
    const set = "mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { created } }";
    t.deepEqual((await server.query(ana, set, { input })).codes, []);
  }
  const users = async (token: string) => {
    const { status, data } = await post(server.url, token, { query: "{ users { nodes { id } } }" });
    return status === 200 ? data?.users.nodes.map(({ id }: { id: string }) => id) : status;
  };
  const values = async (token: string) => {
    const { status, data } = await post(server.url, token, { query: "{ userCredentials { nodes { value } } }" });
    return status === 200
      ? data?.userCredentials.nodes.map(({ value }: { value: string }) => value).toSorted()
      : status;
  };

  // Who a subject is: the block's commands one by one, with what each comes to.
  const subject = "auth0|5f7c8ec7c33c6c004bbafe82";
  const [add = "", list = "", rm = ""] = issuersPage.block("identity add").trim().split("\n");
  await does(t, at, add, env);
  t.deepEqual(await users(auth0(subject)), [ana]);
  t.true((await does(t, at, list, env)).includes(subject));
  await does(t, at, rm, env);
  const [provisioned] = (await users(auth0(subject))) as string[];
  t.truthy(provisioned);
  t.not(provisioned, ana);
  t.is(await users(keycloak(ana)), 401, "a UUID of the realm is no user's id");
  t.is(await users(githubToken(rsa)), 401);
  const ownToken = { iss: "https://batch.acme.example", sub: ana, aud: "keyrow", ...times() };
  t.deepEqual(await users(issue(batch, ownToken)), [ana]);

  // Machines, of issuers and of the command.
  await does(t, at, machinesPage.block("machine add ci"), env);
  t.deepEqual(await values(githubToken(rsa)), ["github/deploy"]);
  t.is(await values(githubToken(rsa, { ref: "refs/heads/other" })), 401);
  t.is(await values(githubToken(rsa, { repository: "eve/app" })), 401);
  t.deepEqual(await values(keycloak(randomUUID(), "reports")), ["s3/backup", "smtp/relay"]);
  const printed = await does(t, at, machinesPage.block("machine token"), env);
  t.deepEqual(await values(printed.trim().split("\n").at(-1) ?? ""), ["s3/backup"]);
  await does(t, at, machinesPage.block("machine rm ci"), env);
  t.is(await values(githubToken(rsa)), 401);
});

test("docs/issuers.md makes users that need more than a name", async (t) => {
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  const superuser = database.pool("postgres");
  await superuser.query("alter table public.users add column plan text not null default ''");
  await superuser.query(issuersPage.block("provision_user"));
  const server = database.pool("keyrow_authenticator");
  const provision = () =>
    server.query(`select keyrow.provision_identity('https://a.example', 'a', '{"name": "Ana"}') as id`);
  const [first, second] = await Promise.all([provision(), provision()]);
  t.is(first?.rows[0].id, second?.rows[0].id);
  t.deepEqual((await superuser.query("select name, plan from public.users")).rows, [{ name: "Ana", plan: "free" }]);
});

test("an application's log that takes users alone refuses a machine, until it says the machine elsewhere", async (t) => {
  const database = await createTestDatabase();
  const superuser = database.pool("postgres");
  // Such a log: a user or nobody, and no policy of Keyrow's.
  await superuser.query(`
    alter table public.activity_logs add foreign key (user_id) references public.users;
    drop policy activity_logs_insert_reveal on public.activity_logs;
    create policy theirs on public.activity_logs for insert to keyrow_reveal with check (true)`);
  const signingKey = await ownSigningKey(join(directory, "own-key.pem"));
  const server = await startTestServer({ database, signingKey, env: { JWT_PROVISION: "off" } });
  t.teardown(() => server.stop());
  const ana = await makeUser(database, "Ana");
  const workspaceId = await makeWorkspace(database, { [ana]: "OWNER" });
  const set = "mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { created } }";
  const input = { scope: "WORKSPACE", workspaceId, provider: "s3", name: "backup", value: "the value" };
  t.deepEqual((await server.query(ana, set, { input })).codes, []);
  const { rows } = await asAdmin(
    database,
    "insert into keyrow.machines (name, workspace_id, credentials) values ('backup', $1, array['*/*']) returning id",
    [workspaceId],
  );
  const machine = rows[0].id;
  const token = machineSigner(signingKey, "keyrow")({ id: machine, expiresAt: new Date(Date.now() + 60_000) });
  const reveal = () => post(server.url, token, { query: "{ userCredentials { nodes { value } } }" });
  const before = await reveal();
  t.deepEqual(before.codes, ["INTERNAL"]);
  t.false(before.text.includes("the value"));

  const [column = "", details = ""] = machinesPage.blocks.filter((one) => one.startsWith("case"));
  await superuser.query(`
    create or replace function keyrow.log_credential_events(
      action public."ActivityAction", credential_ids uuid[], workspace_ids uuid[], details jsonb[]
    ) returns boolean language plpgsql volatile set search_path = pg_catalog, pg_temp
    as $function$
    begin
      insert into public.activity_logs (user_id, workspace_id, action, entity_type, entity_id, details)
      select ${column}, entry.workspace_id, log_credential_events.action, 'CREDENTIAL', entry.credential_id,
        entry.details || ${details}
      from unnest(credential_ids, workspace_ids, log_credential_events.details)
        as entry (credential_id, workspace_id, details);
      return true;
    end
    $function$`);
  t.is((await reveal()).data?.userCredentials.nodes[0].value, "the value");
  const { rows: logged } = await superuser.query(
    "select user_id, details ->> 'machine' as machine from public.activity_logs where action = 'CREDENTIAL_ACCESSED'",
  );
  t.deepEqual(logged, [{ user_id: null, machine }]);
});
