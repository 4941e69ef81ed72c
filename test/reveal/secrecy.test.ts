import { createSecretKey, randomBytes, randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import { Writable } from "node:stream";
import test from "ava";
import { readConfig } from "../../src/config.ts";
import { startEmbedded } from "../../src/embedded/server.ts";
import { secretKey } from "../../src/jwt-key.ts";
import { createLog } from "../../src/log.ts";
import { createRing } from "../../src/ring.ts";
import { serve } from "../../src/serve.ts";
import { withConnection } from "../../src/setup.ts";
import { createSigner } from "../../src/token.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { filesIn, find, formsOf, type Needle, type Place, random, search, talkative } from "../helpers/grep.ts";
import { post } from "../helpers/server.ts";
import { passwords, prepareTemplate, templateName } from "../helpers/template.ts";

test("the grep finds each form that it looks for", (t) => {
  const secret = `a"b\\c 'd' ñ ${random(20)}`;
  for (const [form, needle] of formsOf(secret)) {
    const around = Buffer.concat([Buffer.from("before"), needle, Buffer.from("after")]);
    t.true(find([{ name: "place", bytes: around }], secret).includes(`place: ${form}`), form);
  }
  for (const before of ["", "x", "xy", "xyz"]) {
    const inside = Buffer.from(Buffer.from(`${before}${secret}yz`).toString("base64"));
    t.true(find([{ name: "place", bytes: inside }], secret).length > 0, `base64 after ${before.length} bytes`);
  }
  t.deepEqual(find([{ name: "place", bytes: Buffer.from(random(100_000)) }], secret), []);
});

test("no value, token, secret or key is in a log, the WAL, the data directory, pg_stat_statements or an error", async (t) => {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const superuserPassword = random(32);
  const postgres = await startEmbedded({ directory, password: superuserPassword, settings: talkative });
  t.teardown(() => postgres.stop());
  await prepareTemplate(postgres);
  const superuser = postgres.url({ user: postgres.superuser, password: superuserPassword }, templateName);
  const admin = <T>(text: string, values: unknown[] = []) =>
    withConnection(superuser, async (client) => (await client.query(text, values)).rows as T[]);
  await admin("create extension pg_stat_statements");

  const jwtSecret = random(48);
  const keyBytes = randomBytes(32);
  const log: Buffer[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      log.push(Buffer.from(chunk));
      done();
    },
  });
  const config = readConfig({ PORT: "0", LOG_LEVEL: "trace", KEYROW_GRAPHIQL: "off" });
  const rules = { ...config.jwt, key: secretKey(jwtSecret) };
  const serverLog = createLog(config.logLevel, destination);
  const localKeys = [{ id: "local:20261123-00000001", key: createSecretKey(keyBytes) }];
  const serving = await serve(config, {
    databaseUrl: postgres.url({ user: "keyrow_authenticator", password: passwords.keyrow_authenticator }, templateName),
    ring: createRing({ localKeys, fallback: "local", log: serverLog }),
    rules,
    log: serverLog,
  });
  let stopped = false;
  const stop = async () => {
    if (!stopped) await serving.stop();
    stopped = true;
  };
  t.teardown(stop);
  const url = `http://127.0.0.1:${serving.port}`;
  const tokens: string[] = [];
  const sign = createSigner(rules);
  const ana = randomUUID();
  const token = () => {
    tokens.push(sign({ userId: ana, expiresIn: 600, email: "ana@example.org" }));
    return tokens.at(-1) as string;
  };

  const values: string[] = [];
  const cores: string[] = [];
  /** A value with characters that every encoding writes in its own way, around a core that none of them touches. */
  const secret = () => {
    const core = random(36);
    cores.push(core);
    values.push(`ghp_"${core}\\ 'ñ' %+/`);
    return values.at(-1) as string;
  };
  const errors: Place[] = [];
  const wrong = async (title: string, query: string, variables: Record<string, unknown> = {}) => {
    const { text, codes } = await post(url, token(), { query, variables });
    t.not(codes.length, 0, `${title} is an error: ${text}`);
    errors.push({ name: `the answer to ${title}`, bytes: Buffer.from(text) });
  };
  const right = async (query: string, variables: Record<string, unknown> = {}) => {
    const { data, codes } = await post(url, token(), { query, variables });
    t.deepEqual(codes, []);
    return data;
  };

  // What is stored, revealed, changed and deleted.
  const metadata = { canary: `canary ${random(30)}`, encoded: "" };
  metadata.encoded = Buffer.from(metadata.canary).toString("base64");
  const create = `mutation ($credential: UserCredentialInput!) {
    createUserCredential(input: { userCredential: $credential }) { userCredential { id value maskedValue } }
  }`;
  const credential = (name: string, value: unknown, more = {}) => ({
    credential: { provider: "secrecy", name, type: "SECRET", value, ...more },
  });
  const ids: string[] = [];
  for (const name of ["one", "two", "three", "four"]) {
    const value = secret();
    const made = await right(create, credential(name, value, { metadata }));
    t.is(made.createUserCredential.userCredential.value, value);
    ids.push(made.createUserCredential.userCredential.id);
  }
  const [one = "", two = "", three = "", four = ""] = ids;
  const list = "{ userCredentials(orderBy: NAME_ASC) { nodes { id value } } }";
  t.is((await right(list)).userCredentials.nodes.length, 4);
  const rotate = `mutation ($id: UUID!, $value: String!) {
    rotateUserCredential(input: { id: $id, value: $value }) { userCredential { value } }
  }`;
  await right(rotate, { id: one, value: secret() });
  // As a literal in the document as well.
  const literal = JSON.stringify(secret());
  await right(
    `mutation { rotateUserCredential(input: { id: "${two}", value: ${literal} }) { userCredential { value } } }`,
  );
  await right(
    `mutation ($id: UUID!, $value: String!) { updateUserCredential(input: { id: $id, patch: { value: $value } }) { userCredential { value } } }`,
    { id: three, value: secret() },
  );
  const set = `mutation ($name: String!, $value: String!, $scope: CredentialScope! = USER) {
    setUserCredential(input: { scope: $scope, provider: "secrecy", name: $name, value: $value }) { userCredential { value } }
  }`;
  await right(set, { name: "four", value: secret() });
  await right(set, { name: "five", value: secret() });
  await right(`mutation { revokeUserCredential(input: { id: "${four}" }) { userCredential { id } } }`);
  await right(set, { name: "four", value: secret() });

  // What goes wrong before SQL.
  await wrong("a number as value", create, credential("x", [secret()]));
  await wrong("an object as value", create, credential("x", { secret: secret() }));
  await wrong("a value where an id belongs", "query ($id: UUID!) { userCredential(id: $id) { value } }", {
    id: secret(),
  });
  await wrong(
    "a value where an id belongs, as a literal",
    `{ userCredential(id: ${JSON.stringify(secret())}) { value } }`,
  );
  await wrong("a value where a type belongs", create, credential("x", "x", { type: secret() }));
  await wrong("a value where a workspace belongs", create, credential("x", "x", { workspaceId: secret() }));
  await wrong("a value where a scope belongs", set, { name: "x", value: "x", scope: secret() });
  await wrong("a value under an unknown field", create, credential("x", "x", { secret: secret() }));
  await wrong(
    "a value as an argument that does not exist",
    `{ userCredentials(value: ${JSON.stringify(secret())}) { nodes { id } } }`,
  );
  await wrong(
    "a value where a number belongs",
    `{ userCredentials(first: ${JSON.stringify(secret())}) { nodes { id } } }`,
  );
  await wrong(
    "a value where an enum belongs",
    `{ userCredentials(orderBy: ${JSON.stringify(secret())}) { nodes { id } } }`,
  );
  await wrong(
    "a document cut off in a value",
    `mutation { rotateUserCredential(input: { id: "x", value: ${JSON.stringify(secret()).slice(0, -1)}`,
  );
  await wrong(
    "a document with a value between its words",
    `{ userCredentials ${JSON.stringify(secret())} { nodes { id } } }`,
  );
  await wrong("an unpaired surrogate in a value", create, credential("x", `${secret()}\ud800`));
  await wrong("a value over the limit", create, credential("x", secret().repeat(2000)));
  await wrong("null as value beside one", rotate, { id: one, value: null, secret: secret() });
  // What goes wrong in SQL.
  await wrong("a taken name", create, credential("one", secret()));
  await wrong("a name that is too long", create, credential("n".repeat(300), secret()));
  await wrong("a NUL in a name", create, credential("n\u0000", secret()));
  await wrong("a workspace that is not there", create, credential("x", secret(), { workspaceId: randomUUID() }));
  await wrong("a workspace scope without one", create, credential("x", secret(), { scope: "WORKSPACE" }));
  await wrong("SYSTEM scope", create, credential("x", secret(), { scope: "SYSTEM" }));
  await wrong("a row that is not there", rotate, { id: randomUUID(), value: secret() });
  await wrong("a date out of range", create, credential("x", secret(), { expiresAt: "99999999-01-01T00:00:00Z" }));
  await admin(
    `create function public.fail() returns trigger language plpgsql as $$ begin raise exception 'no: %', new; end $$`,
  );
  await admin(
    "create trigger fail before insert or update on public.user_credentials for each row execute function public.fail()",
  );
  await wrong("a trigger that tells the whole row", create, credential("x", secret()));
  await wrong("a rotation that fails in a trigger", rotate, { id: one, value: secret() });
  await admin("drop trigger fail on public.user_credentials");
  await admin("alter table public.user_credentials add constraint fail check (provider <> 'secrecy') not valid");
  await wrong("a constraint whose failure tells the whole row", create, credential("x", secret()));
  await admin("alter table public.user_credentials drop constraint fail");
  // What goes wrong in opening and recording.
  await admin(
    "set session_replication_role = replica; update public.user_credentials set encrypted_value = 'AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAA==:AAAA' where name = 'five'",
  );
  await wrong(
    "a value that can't be opened",
    '{ userCredentials(filter: { name: { equalTo: "five" } }) { nodes { value } } }',
  );
  await admin("revoke insert on public.activity_logs from keyrow_reveal");
  await wrong("a reveal that can't be recorded", `{ userCredential(id: "${one}") { value } }`);
  await admin(
    "grant insert (user_id, workspace_id, action, entity_type, entity_id, details) on public.activity_logs to keyrow_reveal",
  );
  // What goes wrong in HTTP.
  const raw = async (title: string, path: string, init: RequestInit, expected: number) => {
    const response = await fetch(`${url}${path}`, init);
    t.is(response.status, expected, title);
    const headers = JSON.stringify([...response.headers]);
    errors.push({ name: `the answer to ${title}`, bytes: Buffer.from(headers + (await response.text())) });
  };
  const json = { "content-type": "application/json" };
  const authorized = () => ({ ...json, authorization: `Bearer ${token()}` });
  const body = () => JSON.stringify({ query: set, variables: { name: "http", value: secret() } });
  await raw("no token", "/graphql", { method: "POST", headers: json, body: body() }, 401);
  await raw(
    "a value as the token",
    "/graphql",
    { method: "POST", headers: { ...json, authorization: `Bearer ${random(36)}` }, body: body() },
    401,
  );
  await raw(
    "a token with a changed letter",
    "/graphql",
    { method: "POST", headers: { ...json, authorization: `Bearer ${token().slice(0, -5)}AAAAA` }, body: body() },
    401,
  );
  await raw("a body cut off", "/graphql", { method: "POST", headers: authorized(), body: body().slice(0, -3) }, 400);
  await raw(
    "a body of another type",
    "/graphql",
    { method: "POST", headers: { ...authorized(), "content-type": "text/plain" }, body: body() },
    415,
  );
  await raw(
    "a body that is too large",
    "/graphql",
    { method: "POST", headers: authorized(), body: JSON.stringify({ query: secret().repeat(20_000) }) },
    413,
  );
  await raw("a value in the address", `/graphql?query=${encodeURIComponent(secret())}`, { headers: authorized() }, 405);
  await raw("a value as the path", `/${encodeURIComponent(secret())}`, { headers: authorized() }, 404);
  await raw(
    "a value as the path, to be posted to",
    `/${encodeURIComponent(secret())}`,
    { method: "POST", headers: authorized(), body: body() },
    404,
  );
  await raw(
    "a value as a header",
    "/graphql",
    { method: "POST", headers: { "content-type": "application/json", "x-secret": random(36) }, body: body() },
    401,
  );
  await broken(url, token(), body());

  // What is deleted, and the positive controls.
  t.is(
    (await right(list.replace("userCredentials(", 'userCredentials(filter: { name: { notEqualTo: "five" } }, ')))
      .userCredentials.nodes.length,
    4,
  );
  await right(`mutation { deleteUserCredential(input: { id: "${one}" }) { userCredential { id } } }`);
  await admin(`select /* ${metadata.canary} */ 1`);
  const canaryName = `canary_${random(20)}`;
  await raw(
    "a canary",
    "/graphql",
    {
      method: "POST",
      headers: { ...authorized(), "x-request-id": canaryName },
      body: JSON.stringify({ query: `{ ${canaryName} }` }),
    },
    200,
  );

  const places: Place[] = [...errors];
  for (const view of ["pg_stat_statements", "pg_stat_activity", "pg_prepared_statements"]) {
    places.push({ name: view, bytes: Buffer.from(JSON.stringify(await admin(`select * from ${view}`))) });
  }
  await admin("checkpoint");
  await stop();
  await postgres.stop();
  places.push({ name: "the server's log", bytes: Buffer.concat(log) }, ...filesIn(directory));

  // The grep finds what is there to be found, in each of the places.
  const canary = find(places, metadata.canary);
  const found = (pattern: RegExp) =>
    t.true(
      canary.some((place) => pattern.test(place)),
      `the canary is in ${pattern}`,
    );
  found(/^pg_stat_statements: raw$/);
  found(/^pg\/postgres\.log: raw$/);
  found(/^pg\/postgres\.log: base64 at 0$/);
  found(/^pg\/data\/pg_wal\/[0-9A-F]{24}: raw$/);
  found(/^pg\/data\/base\/\d+\/\d+: raw$/);
  found(/^pg\/data\/base\/\d+\/\d+: base64 at 0$/);
  const named = find(places, canaryName);
  t.true(named.includes("the answer to a canary: raw"));
  t.true(named.includes("the server's log: raw"));
  t.regex(
    String(places.find(({ name }) => name === "the server's log")?.bytes),
    /"level":"(warn|error)"/,
    "and the log was written at all",
  );

  t.true(values.length > 40);
  const secrets: Array<[title: string, secret: string | Buffer]> = [
    ...values.map((value, index): [string, string] => [`value ${index}`, value]),
    ...cores.flatMap(
      (core, index): Array<[string, string]> => [
        [`the beginning of value ${index}`, core.slice(0, 14)],
        [`the end of value ${index}`, core.slice(-14)],
      ],
    ),
    ["the JWT secret", jwtSecret],
    ["the key", keyBytes],
    ["the superuser's password", superuserPassword],
    ...Object.entries(passwords).map(([login, password]): [string, string] => [`the password of ${login}`, password]),
    ...tokens.flatMap((one, index): Array<[string, string]> => {
      const [header = "", payload = "", signature = ""] = one.split(".");
      return [
        [`the payload of token ${index}`, `${header}.${payload}`],
        [`the signature of token ${index}`, signature],
      ];
    }),
  ];
  const needles = secrets.flatMap(([title, secret]) =>
    formsOf(secret).map(([form, needle]): Needle => [`${title}, ${form}`, needle]),
  );
  t.deepEqual(search(places, needles), []);
  t.not(search(places, [...needles, ["the canary", Buffer.from(metadata.canary)]]).length, 0);
});

/** A request whose sender goes away in the middle of its body. */
async function broken(url: string, token: string, body: string): Promise<void> {
  await new Promise<void>((resolve) => {
    const request = httpRequest(`${url}/graphql`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${token}`,
        "content-length": body.length + 9,
      },
    });
    request.on("error", () => undefined);
    request.on("close", () => resolve());
    request.write(body, () => request.destroy());
  });
}
