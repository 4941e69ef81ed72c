import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import test from "ava";
import type pg from "pg";
import { createTestDatabase, type Login } from "../helpers/database.ts";
import { type Cell, cells, type Expected, statement } from "./matrix.ts";
import {
  accessibleTables,
  anonymousRole,
  call,
  callableFunctions,
  came,
  configurationKeys,
  create,
  inRequest,
  type Method,
  type Request,
  read,
  remove,
  type Statement,
  send,
  update,
} from "./postgrest.ts";
import { become, ids, outcome, type Persona, personas, rolledBack, sealed, world } from "./world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());

const logins: Login[] = ["postgres", "keyrow_authenticator", "keyrow_worker", "keyrow_migrate"];
const pools = new Map<Login, pg.Pool>(logins.map((login) => [login, database.pool(login)]));
const poolOf = (login: Login): pg.Pool => {
  const pool = pools.get(login);
  if (!pool) throw new Error(`no pool for ${login}`);
  return pool;
};
const superuser = poolOf("postgres");
const authenticator = poolOf("keyrow_authenticator");

test.before(async () => {
  await superuser.query(world);
});

const table = "user_credentials";
const keyId = "local:20260101-0000000a";

//---------------------------------------------------------------------------------------------------------- the matrix

/** The forms in which a token may name its user; the first of PostgREST's own, then with a claim of the application's. */
function claimsOf(who: Persona): Array<Record<string, unknown>> {
  const role = who.role ?? who.login;
  if (who.user === null) return [{ role }, { role, sub: null, user_id: null }, { role, sub: "", user_id: "" }];
  const keyrow = who.limits === undefined ? {} : { keyrow: who.limits };
  return [
    { role, sub: who.user, aud: "keyrow", exp: 4102444800, ...keyrow },
    { role, user_id: who.user, ...keyrow },
    { role, user_id: who.user, sub: ids.stranger, ...keyrow },
  ];
}

const methods: Record<Cell["command"], Method> = {
  select: "GET",
  insert: "POST",
  update: "PATCH",
  delete: "DELETE",
  reveal: "POST",
};

/** What PostgREST makes of a request that does what the cell says. */
function mainQuery({ who, scope, command }: Cell): Statement {
  const id = ids[scope];
  switch (command) {
    case "select":
      return read(table, ["id"], { id });
    case "insert": {
      const { user } = personas[who];
      return create(table, {
        user_id: user === null || user === "not-a-uuid" ? ids.ana : user,
        workspace_id: scope === "WORKSPACE" ? ids.team : null,
        name: "new",
        provider: "github",
        type: "API_KEY",
        scope,
        encrypted_value: sealed(),
        key_id: keyId,
      });
    }
    case "update":
      return update(table, { description: "changed" }, { id });
    case "delete":
      return remove(table, { id });
    case "reveal":
      // Not at PostgREST's doors, for `keyrow` is in no db-schemas: were it there, the same would come of it.
      return call(
        "keyrow",
        "reveal_user_credentials",
        { ids: "uuid[]" },
        { ids: [id] },
        'WHERE "pgrst_source"."encrypted_value" IS NOT NULL',
      );
  }
}

function words(expected: Expected): string {
  if (typeof expected === "object") return expected.map(words).join(" or ");
  if (expected === 0) return "nothing";
  return expected === 1 ? "done" : `${expected}`;
}

for (const cell of cells) {
  const who: Persona = personas[cell.who];
  const pool = poolOf(who.login);
  const request = (claims: Record<string, unknown>): Request => ({
    method: methods[cell.command],
    path: cell.command === "reveal" ? "/rpc/reveal_user_credentials" : `/${table}`,
    claims,
    headers: { "user-agent": "curl/8.5.0", accept: "*/*" },
    rollback: true,
  });

  test(`PostgREST: ${cell.who}, ${cell.command} of a ${cell.scope} credential: ${words(cell.expected)}`, async (t) => {
    const ours = await rolledBack(pool, async (client) => {
      await become(client, who, "keyrow");
      return outcome(client, statement(cell));
    });
    const expected = typeof cell.expected === "object" ? cell.expected : [cell.expected];
    t.true(expected.includes(ours), `ours came to ${ours}`);
    for (const claims of claimsOf(who)) {
      t.is(await came(pool, request(claims), mainQuery(cell)), ours, JSON.stringify(claims));
      const same = await inRequest(pool, request(claims), (client) => outcomeKept(client, statement(cell)));
      t.is(same, ours, `our own statement, ${JSON.stringify(claims)}`);
    }
  });
}

/** What a statement comes to, in a transaction that goes on. */
async function outcomeKept(client: pg.ClientBase, text: string) {
  await client.query("savepoint attempt");
  const result = await outcome(client, text);
  if (typeof result === "string") await client.query("rollback to savepoint attempt");
  return result;
}

//-------------------------------------------------------------------------------------------------------- who one becomes

const everything = read(table, ["id", "name"]);
const get = (claims: Record<string, unknown> = {}): Request => ({ method: "GET", path: `/${table}`, claims });
const ana = { role: "keyrow_user", sub: ids.ana };
const admin = { role: "keyrow_user", sub: ids.workspaceAdmin };

test("a request without a token is anonymous, and reads nothing", async (t) => {
  for (const readable of [table, "users", "workspaces", "workspace_members", "activity_logs"]) {
    t.is(await came(authenticator, get(), read(readable, ["*"])), "42501", readable);
  }
  const request: Request = { method: "POST", path: "/rpc/is_workspace_admin" };
  const parameters = { workspace_id: "uuid", user_id: "uuid" };
  const asked = call("public", "is_workspace_admin", parameters, { workspace_id: ids.team, user_id: ids.ana });
  t.is(await came(authenticator, request, asked), "42501");
});

test("a token without a role claim is anonymous, whoever it names", async (t) => {
  t.is(await came(authenticator, get({ sub: ids.ana }), everything), "42501");
});

for (const role of ["keyrow_owner", "keyrow_reveal", "keyrow_worker", "keyrow_admin", "keyrow_migrate", "postgres"]) {
  test(`a role claim can't make anybody ${role}`, async (t) => {
    const error = await t.throwsAsync(send(authenticator, get({ role, sub: ids.ana }), everything));
    t.like(error, { code: "42501", message: `permission denied to set role "${role}"` });
  });
}

test("a role claim that names the login itself, or none, gives the login's rights: to no row", async (t) => {
  for (const role of ["keyrow_authenticator", "none"]) {
    for (const readable of [table, "users", "workspaces", "workspace_members", "activity_logs"]) {
      t.is(await came(authenticator, get({ role, sub: ids.ana }), read(readable, ["*"])), "42501", readable);
    }
  }
});

test("a role claim that names nobody is refused", async (t) => {
  t.is(await came(authenticator, get({ role: "nobody", sub: ids.ana }), everything), "22023");
  t.is(await came(authenticator, get({ role: "keyrow_user; reset role", sub: ids.ana }), everything), "22023");
});

test("claims that are no text come to an error, never to nobody", async (t) => {
  for (const sub of [17, true, [ids.ana], { id: ids.ana }, `${ids.ana} `, "null"]) {
    const of = (claims: object): Request => get({ role: "keyrow_user", ...claims });
    t.is(await came(authenticator, of({ sub }), everything), "22P02", JSON.stringify({ sub }));
    t.is(await came(authenticator, of({ user_id: sub, sub: ids.ana }), everything), "22P02", JSON.stringify(sub));
  }
});

test("each request sees its own settings, and nothing is left of it for the next one", async (t) => {
  const settings = `select current_user, session_user, current_setting('search_path') as path,
    current_setting('transaction_read_only') as read_only, current_setting('transaction_isolation') as isolation,
    current_setting('request.method', true) as method, current_setting('request.headers', true)::jsonb as headers,
    current_setting('request.cookies', true)::jsonb as cookies, current_setting('timezone') as timezone,
    public.current_user_id() as user_id`;
  const request: Request = {
    ...get(ana),
    headers: { "x-request-id": "1" },
    cookies: { session: "s" },
    timezone: "Pacific/Auckland",
  };
  const { rows } = await inRequest(authenticator, request, (client) => client.query(settings));
  t.deepEqual(rows[0], {
    current_user: "keyrow_user",
    session_user: "keyrow_authenticator",
    path: '"public", "public"',
    read_only: "on",
    isolation: "read committed",
    method: "GET",
    headers: { "x-request-id": "1" },
    cookies: { session: "s" },
    timezone: "Pacific/Auckland",
    user_id: ids.ana,
  });

  const single = database.pool("keyrow_authenticator");
  single.options.max = 1;
  t.is((await send(single, get(ana), everything)).page, 1);
  t.is(await came(single, get(), everything), "42501", "the same connection, without a token");
  const nobody = await inRequest(single, get({ role: "keyrow_user" }), (client) =>
    client.query("select public.current_user_id() as id"),
  );
  t.deepEqual(nobody.rows, [{ id: null }]);
});

test("headers and cookies make nobody somebody", async (t) => {
  const forged = { "jwt.claims.user_id": ids.ana, "x-user-id": ids.ana, role: "keyrow_owner" };
  const request = { ...get({ role: "keyrow_user", sub: ids.stranger }), headers: forged, cookies: forged };
  t.deepEqual(await send(authenticator, request, everything), { page: 0, total: null, body: [] });
});

//----------------------------------------------------------------------------------------------------- what can be done

const visible = [
  "id",
  "user_id",
  "workspace_id",
  "name",
  "provider",
  "type",
  "scope",
  "masked_value",
  "description",
  "expires_at",
  "last_used_at",
  "metadata",
  "is_active",
  "rotated_at",
  "created_at",
  "updated_at",
  "key_id",
];

/** A USER credential of somebody's own, for a test that changes it. */
async function credentialOf(user: string): Promise<string> {
  const id = randomUUID();
  await superuser.query(
    `insert into public.user_credentials (id, user_id, name, provider, type, encrypted_value, key_id)
     values ($1, $2, $3, 'gitlab', 'API_KEY', $4, $5)`,
    [id, user, id, sealed(), keyId],
  );
  return id;
}

/** The row as it is, whoever asks. */
async function stored(id: string) {
  const { rows } = await superuser.query("select * from public.user_credentials where id = $1", [id]);
  return rows[0];
}

test("listing works in a read-only transaction, with every column that may be seen, filters, order and count", async (t) => {
  const order = '"public"."user_credentials"."created_at" DESC, "public"."user_credentials"."id" DESC';
  for (const method of ["GET", "HEAD"] as const) {
    const request = { ...get(admin), method };
    const { page, total, body } = await send(
      authenticator,
      request,
      read(table, visible, { scope: "WORKSPACE" }, { order, count: true }),
    );
    t.deepEqual([page, total, body.length], [1, 1, 1]);
    t.deepEqual(Object.keys(body[0]), visible);
    t.like(body[0], { id: ids.WORKSPACE, name: "deploy", is_active: true });
  }
  const members = await send(authenticator, get(admin), read("workspace_members", ["user_id", "role"]));
  t.is(members.page, 5);
  t.is((await send(authenticator, get(admin), read("workspaces", ["*"]))).page, 1);
  t.is((await send(authenticator, get(admin), read("users", ["id", "name"]))).page, 5);
});

test("metadata is written, and what was written comes back by the columns that are named", async (t) => {
  const member = { role: "keyrow_user", sub: ids.member };
  const id = await credentialOf(ids.member);
  const request: Request = { method: "PATCH", path: `/${table}`, claims: member };
  const body = { description: "Deploys", metadata: { repo: "app" }, expires_at: "2099-01-01T00:00:00Z", name: "ci" };
  const written = await send(authenticator, request, update(table, body, { id }, ["id", "name", "metadata"]));
  t.deepEqual(written, { page: 1, total: null, body: [{ id, name: "ci", metadata: { repo: "app" } }] });
  t.like(await stored(id), { ...body, expires_at: new Date(body.expires_at), encrypted_value: sealed() });
});

test("a credential is revoked, on the record, and neither becomes active again nor opens", async (t) => {
  const member = { role: "keyrow_user", sub: ids.member };
  const id = await credentialOf(ids.member);
  const request: Request = { method: "PATCH", path: `/${table}`, claims: member };
  t.is(await came(authenticator, request, update(table, { is_active: false }, { id })), 1);
  t.like(await stored(id), { is_active: false });

  const entries = { entity_id: id, action: "CREDENTIAL_REVOKED" };
  const log = read("activity_logs", ["action", "user_id", "session_role"], entries);
  const { body } = await send(authenticator, get(member), log);
  t.deepEqual(body, [{ action: "CREDENTIAL_REVOKED", user_id: ids.member, session_role: "keyrow_authenticator" }]);

  t.is(await came(authenticator, request, update(table, { is_active: true }, { id })), "23514");
  t.like(await stored(id), { is_active: false });
});

test("a credential is deleted, on the record", async (t) => {
  const member = { role: "keyrow_user", sub: ids.member };
  const id = await credentialOf(ids.member);
  const request: Request = { method: "DELETE", path: `/${table}`, claims: member };
  const { body } = await send(authenticator, request, remove(table, { id }, ["id"]));
  t.deepEqual(body, [{ id }]);
  t.is(await stored(id), undefined);
  const { body: entries } = await send(
    authenticator,
    get(member),
    read("activity_logs", ["details"], { entity_id: id }),
  );
  t.true(entries.some(({ details }: { details: { deleted?: boolean } }) => details.deleted === true));
});

//----------------------------------------------------------------------------------------------- what the database refuses

const plaintext = "ghp_0123456789abcdefghij0123456789abcdefgh";
const sealedRow = { name: "new", provider: "gitlab", type: "API_KEY", encrypted_value: sealed(), key_id: keyId };
const bearsNo = (error: unknown) => !JSON.stringify(error, Object.getOwnPropertyNames(error)).includes(plaintext);

const refusedAsAna: Array<[what: string, method: Method, statement: Statement, code: string]> = [
  ["a plaintext value", "POST", create(table, { ...sealedRow, encrypted_value: plaintext }), "23514"],
  [
    "a plaintext value under a legacy key",
    "POST",
    create(table, { ...sealedRow, encrypted_value: plaintext, key_id: "legacy" }),
    // The policy says no before the constraint is asked.
    "42501",
  ],
  [
    "a plaintext value without a key",
    "POST",
    create(table, { name: "n", provider: "p", type: "SECRET", encrypted_value: plaintext }),
    "42501",
  ],
  [
    "several, one of them plaintext",
    "POST",
    create(table, [sealedRow, { ...sealedRow, name: "2", encrypted_value: plaintext }]),
    "23514",
  ],
  ["no value at all", "POST", create(table, { name: "n", provider: "p", type: "SECRET", key_id: keyId }), "23502"],
  ["no value and no key", "POST", create(table, { name: "n", provider: "p", type: "SECRET" }), "42501"],
  ["plaintext over a sealed value", "PATCH", update(table, { encrypted_value: plaintext }, { id: ids.USER }), "23514"],
  [
    "plaintext over a sealed value, under a legacy key",
    "PATCH",
    update(table, { encrypted_value: plaintext, key_id: "legacy" }, { id: ids.USER }),
    "42501",
  ],
  [
    "a value that is the column's name in a column nobody has",
    "POST",
    create(table, { ...sealedRow, value: plaintext }),
    "42703",
  ],
  ["an upsert", "POST", create(table, { id: ids.USER, ...sealedRow }, { merge: true }), "42501"],
  ["the ciphertext", "GET", read(table, ["id", "encrypted_value"]), "42501"],
  ["every column, as an address without select has it", "GET", read(table, ["*"]), "42501"],
  ["a filter by the ciphertext", "GET", read(table, ["id"], { encrypted_value: sealed() }), "42501"],
  ["an order by the ciphertext", "GET", read(table, ["id"], {}, { order: '"encrypted_value"' }), "42501"],
  ["what was written, every column", "PATCH", update(table, { description: "x" }, { id: ids.USER }, ["*"]), "42501"],
  ["the ciphertext of what was deleted", "DELETE", remove(table, { id: ids.USER }, ["encrypted_value"]), "42501"],
  ["a row in somebody else's name", "POST", create(table, { ...sealedRow, user_id: ids.stranger }), "42501"],
  [
    "a row for a workspace of which Ana is no admin",
    "POST",
    create(table, { ...sealedRow, scope: "WORKSPACE", workspace_id: ids.team }),
    "42501",
  ],
  [
    "a row that notes a strangers' workspace",
    "POST",
    create(table, { ...sealedRow, workspace_id: ids.otherTeam }),
    "42501",
  ],
  ["a SYSTEM row", "POST", create(table, { ...sealedRow, scope: "SYSTEM" }), "42501"],
  ["another owner", "PATCH", update(table, { user_id: ids.stranger }, { id: ids.USER }), "42501"],
  ["another scope", "PATCH", update(table, { scope: "WORKSPACE" }, { id: ids.USER }), "42501"],
  ["another workspace", "PATCH", update(table, { workspace_id: ids.otherTeam }, { id: ids.USER }), "42501"],
  ["another id", "PATCH", update(table, { id: randomUUID() }, { id: ids.USER }), "42501"],
  [
    "another key under the same value",
    "PATCH",
    update(table, { key_id: "local:20260101-0000000b" }, { id: ids.USER }),
    "23001",
  ],
  ["a use that was none", "PATCH", update(table, { last_used_at: "2026-01-01T00:00:00Z" }, { id: ids.USER }), "42501"],
  ["an entry of the log", "POST", create("activity_logs", { user_id: ids.ana }), "42501"],
  ["a log without entries", "DELETE", remove("activity_logs", {}), "42501"],
  ["a membership", "POST", create("workspace_members", { workspace_id: ids.otherTeam, user_id: ids.ana }), "42501"],
  ["a role of their own", "PATCH", update("workspace_members", { role: "OWNER" }, { user_id: ids.ana }), "42501"],
  ["everybody's e-mail addresses", "GET", read("users", ["email"]), "42501"],
  ["a partition of the log by itself", "GET", read("activity_logs_default", ["*"]), "42501"],
  ["a write by GET", "GET", update(table, { description: "x" }, { id: ids.USER }), "25006"],
];

for (const [what, method, refused, code] of refusedAsAna) {
  test(`a PostgREST client is refused, ${method}: ${what} (${code})`, async (t) => {
    const before = await stored(ids.USER);
    const request: Request = { method, path: `/${table}`, claims: ana };
    const error = await t.throwsAsync(send(authenticator, request, refused));
    t.like(error, { code });
    t.true(bearsNo(error), "the error repeats no value");
    t.deepEqual(await stored(ids.USER), before);
  });
}

test("what others own is neither written nor deleted: no row is touched", async (t) => {
  const before = await stored(ids.USER);
  for (const user of [ids.stranger, ids.workspaceAdmin]) {
    const as = (method: Method): Request => ({ method, path: `/${table}`, claims: { role: "keyrow_user", sub: user } });
    t.is(await came(authenticator, as("PATCH"), update(table, { description: "x" }, { id: ids.USER })), 0);
    t.is(await came(authenticator, as("PATCH"), update(table, { is_active: false }, { id: ids.USER })), 0);
    t.is(await came(authenticator, as("DELETE"), remove(table, { id: ids.USER })), 0);
  }
  t.deepEqual(await stored(ids.USER), before);
});

test("a request that fails leaves nothing behind: no row, no entry", async (t) => {
  const count =
    "select (select count(*) from public.user_credentials where provider = 'half'), (select count(*) from public.activity_logs where details ->> 'provider' = 'half') as entries";
  const rows = [
    { ...sealedRow, provider: "half" },
    { ...sealedRow, provider: "half", name: "2", encrypted_value: plaintext },
  ];
  t.is(await came(authenticator, { method: "POST", path: `/${table}`, claims: ana }, create(table, rows)), "23514");
  t.deepEqual((await superuser.query(count)).rows, [{ count: "0", entries: "0" }]);
});

test("known limit: who may write a row may put a false ciphertext there, under a key that nobody has, on the record", async (t) => {
  const id = await credentialOf(ids.guest);
  const claims = { role: "keyrow_user", sub: ids.guest };
  const body = { encrypted_value: sealed("B"), key_id: "local:20990101-ffffffff", masked_value: "****" };
  t.is(await came(authenticator, { method: "PATCH", path: `/${table}`, claims }, update(table, body, { id })), 1);
  t.like(await stored(id), body);
  const rotated = read("activity_logs", ["user_id"], { entity_id: id, action: "CREDENTIAL_ROTATED" });
  t.deepEqual((await send(authenticator, get(claims), rotated)).body, [{ user_id: ids.guest }]);
});

//---------------------------------------------------------------------------------------------------- what is to be seen

const show = async (claims: Record<string, unknown>, text: string): Promise<Array<{ name: string }>> =>
  (await inRequest(authenticator, { method: "GET", path: "/", claims }, (client) => client.query(text))).rows;
const names = (rows: Array<{ name: string }>) => rows.map(({ name }) => name);

test("PostgREST shows a user five tables, and nobody else any", async (t) => {
  t.deepEqual(names(await show(ana, accessibleTables)), [
    "activity_logs",
    "user_credentials",
    "users",
    "workspace_members",
    "workspaces",
  ]);
  t.deepEqual(await show({}, accessibleTables), []);
});

test("PostgREST lets be called what tells a caller of themselves, and the extension's functions that read nothing", async (t) => {
  const extension = await superuser.query(
    `select p.proname as name from pg_proc p join pg_depend d on d.objid = p.oid and d.deptype = 'e'
     join pg_extension e on e.oid = d.refobjid where e.extname = 'uuid-ossp' order by 1`,
  );
  const own = async (claims: Record<string, unknown> = {}) => {
    const rows = await show(claims, callableFunctions);
    return rows.filter(({ name }) => !names(extension.rows).includes(name));
  };
  t.deepEqual(await own(ana), [
    { name: "current_user_id", volatility: "s" },
    { name: "is_workspace_admin", volatility: "s" },
  ]);
  t.deepEqual(await own(), [{ name: "current_user_id", volatility: "s" }]);
  t.true(extension.rows.length > 0);
});

test("the reveal function is in no schema that PostgREST has, and by SQL gives ciphertext, on the record", async (t) => {
  const request: Request = { method: "POST", path: "/rpc/reveal_user_credentials", claims: ana, rollback: true };
  await inRequest(authenticator, request, async (client) => {
    const { rows } = await client.query(
      "select to_regproc('reveal_user_credentials') as found, current_schemas(false)::text as schemas",
    );
    t.deepEqual(rows, [{ found: null, schemas: "{public}" }]);
    const reveal = call("keyrow", "reveal_user_credentials", { ids: "uuid[]" }, { ids: [ids.USER] });
    const [answer] = (await client.query(reveal.text, [...reveal.values])).rows;
    t.like(answer.body[0], { encrypted_value: sealed(), recorded: true });
    const entries = await client.query(
      "select session_role from public.activity_logs where action = 'CREDENTIAL_ACCESSED' and entity_id = $1",
      [ids.USER],
    );
    t.deepEqual(entries.rows, [{ session_role: "keyrow_authenticator" }]);
  });
});

//------------------------------------------------------------------------------------------------- docs/postgrest.conf

/** The settings of docs/postgrest.conf, those that are shown and not set included. */
async function configuration(): Promise<Array<{ key: string; value: string; set: boolean }>> {
  const text = await readFile(new URL("../../docs/postgrest.conf", import.meta.url), "utf8");
  const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("##"));
  return lines.map((line) => {
    const [, comment, key = "", value = ""] = /^(# )?([a-z0-9.-]+) = ("[^"]*"|true|false|\d+)$/.exec(line) ?? [];
    if (key === "") throw new Error(`no setting: ${line}`);
    return { key, value: value.replaceAll('"', ""), set: comment === undefined };
  });
}

test("docs/postgrest.md asks for columns that may be seen, by their names", async (t) => {
  const text = await readFile(new URL("../../docs/postgrest.md", import.meta.url), "utf8");
  const selects = [...text.matchAll(/[?&]select=([a-z_,]+)/g)].map(([, names = ""]) => names.split(","));
  t.true(selects.length >= 2);
  for (const select of selects) t.is((await send(authenticator, get(ana), read(table, select))).page, 1);
});

test("docs/postgrest.conf has keys that PostgREST knows, each once", async (t) => {
  const keys = (await configuration()).map(({ key }) => key);
  t.deepEqual(
    keys.filter((key) => !configurationKeys.includes(key)),
    [],
  );
  t.is(new Set(keys).size, keys.length);
});

test("docs/postgrest.conf names roles and schemas that exist, and holds no secret", async (t) => {
  const set = Object.fromEntries((await configuration()).filter((one) => one.set).map((one) => [one.key, one.value]));
  const uri = new URL(set["db-uri"] ?? "");
  t.deepEqual([uri.username, uri.password], ["keyrow_authenticator", ""]);
  t.is(set["db-anon-role"], anonymousRole);
  const { rows } = await superuser.query(
    `select r.rolcanlogin as login, pg_has_role('keyrow_authenticator', r.oid, 'MEMBER') as member
     from pg_roles r where rolname = any ($1) order by rolname`,
    [[uri.username, anonymousRole]],
  );
  t.deepEqual(rows, [
    { login: false, member: true },
    { login: true, member: true },
  ]);
  t.deepEqual(
    [set["db-schemas"], set["db-extra-search-path"]],
    ["public", "public"],
    "as the tests of this file have it",
  );
  t.like(set, { "db-tx-end": "commit", "db-config": "false", "server-host": "127.0.0.1", "log-query": "false" });
  t.true(set["jwt-secret"]?.startsWith("@"), "the key is in a file of its own");
  t.is(set["db-pre-request"], undefined, "or the tests of this file would have to run it");
});

test("no role has settings of its own, which PostgREST would apply", async (t) => {
  const { rows } = await superuser.query(
    "select setrole::regrole::text from pg_db_role_setting where setrole in ('keyrow_user'::regrole, 'keyrow_anonymous'::regrole)",
  );
  t.deepEqual(rows, []);
});
