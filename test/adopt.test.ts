import { readFile } from "node:fs/promises";
import test, { type ExecutionContext } from "ava";
import type pg from "pg";
import type { Adoption } from "../src/adopt.ts";
import { createPool } from "../src/database.ts";
import { secretKey } from "../src/jwt-key.ts";
import { createSigner } from "../src/token.ts";
import {
  environment,
  fallback,
  filledIn,
  JWT_SECRET,
  keyrow,
  makeApplication,
  run,
  type Server,
  servers,
  setUp,
  sqlFile,
} from "./adopt/application.ts";
import { post } from "./helpers/server.ts";
import { hasPostgres15 } from "./helpers/system-postgres.ts";
import { addressOf } from "./helpers/until.ts";
import { cells, statement } from "./policies/matrix.ts";
import { ids, limitsOf, outcome, personas, rolledBack, world } from "./policies/world.ts";

type Env = Record<string, string>;

/** The findings of `keyrow adopt --check --json`, as severity and name, and its exit code. */
async function check(env: Env): Promise<{ exitCode: number | undefined; found: string[]; adoption: Adoption }> {
  const { exitCode, stdout } = await keyrow(["adopt", "--check", "--json"], env);
  const adoption = JSON.parse(stdout) as Adoption;
  return { exitCode, adoption, found: adoption.findings.map(({ severity, name }) => `${severity}: ${name}`) };
}

const rights = [
  "to run: enum.EntityType",
  "to run: enum.ActivityAction",
  "to run: function.is_workspace_admin",
  "to run: grant.users.references",
  "to run: grant.workspaces.references",
  "to run: grant.workspaces.select",
  "to run: grant.workspace_members.select",
  "to run: policy.workspaces",
  "to run: policy.workspace_members",
  "to run: grant.activity_logs.insert",
  "to run: policy.activity_logs",
  "to run: grant.users.select",
];

const notes = [
  "note: log.cascade.user_id",
  "note: log.cascade.workspace_id",
  "note: log.login",
  "note: public.functions",
  "note: public.tables",
];

/** From the application's tables alone to a migrated database whose log is written by the application's own function. */
async function adopted(t: ExecutionContext, server: Server): Promise<Env> {
  await makeApplication(server);
  const env = await environment(t, server);

  const first = await check(env);
  t.is(first.exitCode, 1);
  t.deepEqual(
    first.found.toSorted(),
    ["to run: setup", "in the way: identity.setting", "note: log.form", ...rights, ...notes].toSorted(),
  );
  env.KEYROW_USER_SETTING = "app.user_id";
  await setUp(server);
  const second = await check(env);
  t.deepEqual([second.exitCode, second.found.toSorted()], [1, ["note: log.form", ...rights, ...notes].toSorted()]);

  await run(server, "app_owner", (await keyrow(["adopt", "--sql", "before"], env)).stdout);
  const third = await check(env);
  t.deepEqual([third.exitCode, third.found.toSorted()], [0, ["note: log.form", ...notes].toSorted()]);
  t.is(third.adoption.sql.before, "");
  t.is((await keyrow(["migrate"], env)).exitCode, 0);

  // A log that nothing fills as it should be is not forgotten.
  t.deepEqual(
    (await check(env)).found.filter((one) => !one.startsWith("note")),
    ["to run: log.form"],
  );
  const { stdout: after } = await keyrow(["adopt", "--sql", "after"], env);
  await run(server, "keyrow_migrate", after);
  t.deepEqual(
    (await check(env)).found.filter((one) => !one.startsWith("note")),
    ["to run: log.form"],
  );
  await run(server, "keyrow_migrate", filledIn(after));
  const last = await check(env);
  t.deepEqual([last.exitCode, last.found.toSorted()], [0, notes.toSorted()]);
  return env;
}

/** A token of a user. */
const tokenOf = createSigner({ key: secretKey(JWT_SECRET), audience: "keyrow", issuer: undefined, userClaim: "sub" });

/** The policy matrix, with claims as the application sets them, each cell in a transaction that is rolled back. */
async function matrixHolds(t: ExecutionContext, server: Server): Promise<void> {
  const pools = new Map<string, pg.Pool>();
  for (const cell of cells) {
    const { login, user, ...who } = personas[cell.who];
    const pool = pools.get(login) ?? createPool(server.url(login, "app"), { max: 1 });
    pools.set(login, pool);
    const came = await rolledBack(pool, async (client) => {
      if (who.role) await client.query(`set local role ${who.role}`);
      await client.query("select set_config('app.user_id', $1, true), set_config('keyrow.limits', $2, true)", [
        user ?? "",
        limitsOf(personas[cell.who]),
      ]);
      return outcome(client, statement(cell));
    });
    const expected = [cell.expected].flat();
    t.true(expected.includes(came), `${cell.who}, ${cell.command} of ${cell.scope}: ${came}, not ${expected}`);
  }
  await Promise.all([...pools.values()].map((pool) => pool.end()));
}

const limitPolicies = `
  select tablename, policyname, permissive, roles::text[], cmd, qual, with_check, obj_description(p.oid) as comment
  from pg_policies join pg_policy p on polname = policyname and polrelid = format('%I.%I', schemaname, tablename)::regclass
  where schemaname = 'public' and tablename <> 'user_credentials'
    and (policyname like '%\\_limited' or policyname = 'workspaces_select_machine')
  order by tablename, policyname`;

/** Limits of tokens and of machines hold on tables of the application by policies that its owner is given. */
async function holdsLimits(t: ExecutionContext, server: Server, env: Env): Promise<void> {
  // More than the API shows: it still shows its own list of columns, of the rows that the application's policies let it.
  await run(server, "app_owner", "grant select on users, workspaces, workspace_members, activity_logs to keyrow_user");
  const { exitCode, found, adoption } = await check(env);
  t.is(exitCode, 1);
  t.deepEqual(found.filter((one) => !one.startsWith("note")).toSorted(), [
    "to run: limits.activity_logs",
    "to run: limits.users",
    "to run: limits.workspace_members",
    "to run: limits.workspaces",
    "to run: machines.workspaces",
  ]);
  await run(server, "app_owner", adoption.sql.before);
  const then = await check(env);
  t.deepEqual([then.exitCode, then.adoption.sql], [0, { before: "", after: "" }]);

  const { rows } = await run(server, "postgres", limitPolicies);
  t.is(rows.length, 17);
  // They are those of Keyrow's own tables.
  const foundation = await run(
    server,
    "postgres",
    `begin;
     ${["users", "workspaces", "workspace_members", "activity_logs"].map((name) => `alter table public.${name} owner to keyrow_owner;`).join(" ")}
     set local role keyrow_owner; select keyrow.limit_foundation(); ${limitPolicies}; rollback`,
  );
  const own = (foundation as unknown as pg.QueryResult[]).find(({ rows }) => rows[0]?.policyname !== undefined);
  t.deepEqual(rows, own?.rows);

  const sees = async (user: string, limits: string) => {
    const counted = ["users", "workspaces", "workspace_members", "activity_logs"].map(
      (name) => `(select count(*)::int from public.${name}) as ${name}`,
    );
    const answers = await run(
      server,
      "keyrow_authenticator",
      `begin; set local role keyrow_user;
       select set_config('app.user_id', '${user}', true), set_config('keyrow.limits', '${limits}', true);
       select ${counted.join(", ")}; rollback`,
    );
    return Object.values((answers as unknown as pg.QueryResult[])[3]?.rows[0]);
  };
  const limited = (limit: object) => JSON.stringify([limit]);
  await run(
    server,
    "app_owner",
    `insert into activity_logs
    (workspace_id, user_id, action, entity_type, entity_id, source, importance)
    values ('${ids.team}', '${ids.ana}', 'CREATED', 'TASK', '${ids.ana}', 'app', 1)`,
  );
  const [, , members = 0, entries = 0] = (await sees(ids.ana, "none")) as number[];
  t.true(members > 1 && entries > 0);
  t.deepEqual(await sees(ids.ana, limited({ credentials: ["github/*"] })), [1, 1, 1, 0]);
  t.deepEqual(await sees(ids.ana, limited({ workspace: ids.otherTeam })), [1, 0, 0, 0]);
  t.deepEqual(await sees(ids.machine, "none"), [0, 1, 0, 0]);
}

const introspection =
  "{ __schema { types { name fields { name args { name } } inputFields { name } enumValues { name } } } }";

const builtIn = /^(Int|Float|String|Boolean|ID)$/;

async function serves(t: ExecutionContext, server: Server, env: Env): Promise<void> {
  const { KEYROW_USER_SETTING: _, ...unset } = env;
  const refused = await keyrow(["serve"], unset);
  t.is(refused.exitCode, 1);
  t.regex(refused.stderr, /^error: .*current_user_id\(\) gives nobody.*\nhint: .*KEYROW_USER_SETTING/);

  // The world's rows, and those of the application, are sealed under keys that this test does not have.
  const serving = keyrow(["serve"], { ...env, KEYROW_ALLOW_MISSING_KEYS: "on" });
  try {
    const url = await addressOf(serving);
    const token = tokenOf({ userId: ids.ana, expiresIn: 60 });
    const set =
      'mutation { setUserCredential(input: {provider: "p", name: "n", value: "v"}) { userCredential { id value } } }';
    const { data, text } = await post(url, token, { query: set });
    t.is(data?.setUserCredential?.userCredential.value, "v", text);
    const { rows } = await run(
      server,
      "postgres",
      `select user_id, workspace_id, action, entity_type, source, importance from public.activity_logs
       where entity_id = '${data?.setUserCredential.userCredential.id}' order by action`,
    );
    const entry = { ...fallback, user_id: ids.ana, entity_type: "CREDENTIAL", source: "keyrow", importance: 3 };
    t.deepEqual(rows, [
      { ...entry, action: "CREDENTIAL_CREATED" },
      { ...entry, action: "CREDENTIAL_ACCESSED" },
    ]);

    const stranger = tokenOf({ userId: ids.stranger, expiresIn: 60 });
    const query = "{ userCredentials { nodes { id value } } }";
    t.deepEqual((await post(url, stranger, { query })).data, { userCredentials: { nodes: [] } });
    const users = await post(url, token, { query: "{ users { nodes { id name } } }" });
    t.deepEqual(users.data, { users: { nodes: [{ id: ids.ana, name: "Ana" }] } }, users.text);
    const { text: schema } = await post(url, token, { query: introspection });
    t.regex(schema, /"UserCredential"/);
    t.notRegex(schema, /unrelated|password_?hash|preferences|theme|settings|nickname|importance/i);
    const known = await readFile(new URL("../schema.graphql", import.meta.url), "utf8");
    const named = [...schema.matchAll(/\{"name":"([A-Z]\w+)","fields"/g)].map(([, name]) => name);
    t.true(named.length > 20);
    t.deepEqual(
      named.filter((name) => !builtIn.test(name ?? "") && !new RegExp(`^\\w+ ${name}\\b`, "m").test(known)),
      [],
    );
  } finally {
    serving.kill("SIGTERM");
  }
  t.is((await serving).exitCode, 0);
}

/** What goes by cascade is written to a log that points to what goes. */
async function canBeDeleted(t: ExecutionContext, server: Server): Promise<void> {
  await run(server, "keyrow_migrate", `set role keyrow_owner; ${row("vault:v1:base64data", "mine", ids.member)}`);
  await run(server, "app_owner", `delete from workspaces where id = '${ids.team}'`);
  await run(server, "app_owner", `delete from users where id = '${ids.member}'`);
  const { rows } = await run(
    server,
    "postgres",
    `select user_id, workspace_id, action from public.activity_logs where details ->> 'deleted' = 'true'`,
  );
  // The team's, the one of Ana's that noted the team, and the member's.
  t.deepEqual(rows, Array(3).fill({ ...fallback, action: "CREDENTIAL_REVOKED" }));
  await t.throwsAsync(run(server, "app_owner", `delete from users where id = '${ids.ana}'`), { code: "23001" });
}

const row = (encrypted: string, name: string, user: string = ids.ana) => `
  insert into "user_credentials" ("user_id", "name", "provider", "type", "encrypted_value")
  values ('${user}', '${name}', 'github', 'API_KEY', '${encrypted}')`;

async function goesAllTheWay(t: ExecutionContext, server: Server): Promise<void> {
  const env = await adopted(t, server);
  await run(server, "postgres", world);
  const owner = (text: string) => run(server, "keyrow_migrate", `set role keyrow_owner; ${text}`);
  await owner(row("vault:v1:base64data", "transit"));
  await owner(row("000102030405060708090a0b:000102030405060708090a0b0c0d0e0f:deadbeef", "local"));
  await t.throwsAsync(owner(row("plaintext", "plain")), { code: "23514" });
  await matrixHolds(t, server);
  await holdsLimits(t, server, env);
  await serves(t, server, env);
  await canBeDeleted(t, server);
  t.is((await keyrow(["migrate"], env)).stdout, "nothing to apply\n");
}

const suites = Object.entries(servers).map(([version, start]) => ({
  version,
  start,
  // On a machine without it the test is skipped and counted; in CI its absence is a failure.
  on: version !== "15" || hasPostgres15 || process.env.CI ? test : test.skip,
}));
for (const { version, start, on } of suites) {
  on(
    `an application that exists is adopted, served, and nothing unrelated is exposed, on PostgreSQL ${version}`,
    async (t) => {
      const server = await start();
      t.teardown(() => server.stop());
      await goesAllTheWay(t, server);
    },
  );

  on(
    `the rows of an application that made the specification's table itself load, on PostgreSQL ${version}`,
    async (t) => {
      const server = await start();
      t.teardown(() => server.stop());
      await loadsItsOwnTable(t, server);
    },
  );
}

/** Rows of every kind in the specification's own table, as the application inserted them; none of them is refused. */
const itsRows = `
  insert into "users" ("id", "email", "name") values
    ('${ids.ana}', 'ana@example.org', 'Ana'), ('${ids.stranger}', 'stranger@example.org', 'Stranger');
  insert into "workspaces" ("id", "name") values ('${ids.team}', 'Team');
  insert into "user_credentials" values
    ('00000000-0000-4000-8000-0000000000d1', '${ids.ana}', '${ids.team}', 'GitHub', 'github', 'API_KEY', 'USER',
      'vault:v1:base64data', '****1234', 'Deploys', '2099-01-01T00:00:00Z', '2026-02-08T12:00:00Z',
      '{"scopes": ["repo"]}', true, '2026-02-08T11:00:00Z', '2026-02-07T17:11:43Z', '2026-02-08T11:00:00Z'),
    ('00000000-0000-4000-8000-0000000000d2', '${ids.ana}', '${ids.team}', 'deploy', 'github', 'SECRET', 'WORKSPACE',
      '000102030405060708090a0b:000102030405060708090a0b0c0d0e0f:deadbeef', null, null, null, null,
      '{}', false, null, '2026-02-07T17:11:43Z', '2026-02-08T11:00:00Z'),
    ('00000000-0000-4000-8000-0000000000d3', '${ids.stranger}', null, 'mail', 'smtp', 'PASSWORD', 'SYSTEM',
      'AAECAwQFBgcICQoL:AAECAwQFBgcICQoLDA0ODw==:3q2+7w==', null, null, null, null,
      '{}', true, null, '2026-02-07T17:11:43Z', '2026-02-08T11:00:00Z')`;

/** A duplicate that plain NULLs let pass, and a plaintext. */
const refusedRows = `
  insert into "user_credentials" ("id", "user_id", "name", "provider", "type", "encrypted_value") values
    ('00000000-0000-4000-8000-0000000000f1', '${ids.ana}', 'twice', 'github', 'API_KEY', 'vault:v1:base64data'),
    ('00000000-0000-4000-8000-0000000000f2', '${ids.ana}', 'twice', 'github', 'API_KEY', 'vault:v1:base64data'),
    ('00000000-0000-4000-8000-0000000000f3', '${ids.ana}', 'plain', 'github', 'API_KEY', 'hunter2')`;

async function loadsItsOwnTable(t: ExecutionContext, server: Server): Promise<void> {
  await makeApplication(server);
  const env = { ...(await environment(t, server)), KEYROW_USER_SETTING: "app.user_id" };
  for (const text of [await sqlFile("specification.sql"), itsRows, refusedRows]) await run(server, "app_owner", text);
  const before = await run(
    server,
    "postgres",
    "select * from user_credentials where name <> all ('{twice,plain}') order by id",
  );
  await setUp(server);

  const { exitCode, adoption } = await check(env);
  t.is(exitCode, 1);
  const rows = adoption.findings
    .filter((one) => one.rows !== undefined)
    .map((one) => [one.name, one.rows?.count, one.rows?.ids]);
  t.deepEqual(rows, [
    ["rows.duplicate", 2, ["00000000-0000-4000-8000-0000000000f1", "00000000-0000-4000-8000-0000000000f2"]],
    ["rows.value", 1, ["00000000-0000-4000-8000-0000000000f3"]],
  ]);
  const { stdout } = await keyrow(["adopt", "--check"], env);
  t.regex(stdout, /in the way {2}rows\.value\n.*\n {4}rows \(1\): 00000000-0000-4000-8000-0000000000f3\n {4}remedy: /);
  for (const said of [stdout, JSON.stringify(adoption)]) t.notRegex(said, /hunter2|base64data|deadbeef/);

  const failed = await keyrow(["migrate"], env);
  t.is(failed.exitCode, 1);
  t.regex(failed.stderr, /error: a migration failed.*\nhint: .*`keyrow adopt --check`/);
  await run(server, "app_owner", adoption.sql.before);
  t.is((await keyrow(["migrate"], env)).exitCode, 0);
  const after = filledIn((await keyrow(["adopt", "--sql", "after"], env)).stdout);
  // All or nothing: what the check named is what is refused.
  await t.throwsAsync(run(server, "keyrow_migrate", after), { code: "23505" });
  t.is((await run(server, "postgres", "select from public.user_credentials")).rowCount, 0);
  // The table is called otherwise by now, and its rows are checked there.
  const left = (await check(env)).found.filter((one) => !one.startsWith("note"));
  t.deepEqual(left, ["in the way: rows.duplicate", "in the way: rows.value"]);
  await run(
    server,
    "app_owner",
    "delete from user_credentials_before_keyrow where name = 'plain'; update user_credentials_before_keyrow set name = 'once' where id = '00000000-0000-4000-8000-0000000000f2'",
  );
  t.is((await check(env)).exitCode, 0);
  await run(server, "keyrow_migrate", after);
  // A second time changes nothing.
  await run(server, "keyrow_migrate", after);
  const loaded = await run(
    server,
    "postgres",
    "select * from public.user_credentials where name not in ('twice', 'once') order by id",
  );
  t.deepEqual(
    loaded.rows,
    before.rows.map((one) => ({ ...one, key_id: "legacy" })),
  );
  const log = await run(server, "postgres", "select action from public.activity_logs where source = 'keyrow'");
  t.is(log.rowCount, 5);
  t.is((await check(env)).exitCode, 0);
}
