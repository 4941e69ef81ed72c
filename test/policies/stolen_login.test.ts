import test from "ava";
import { createTestDatabase } from "../helpers/database.ts";
import {
  type Claim,
  holdsBecauseOfIt,
  ids,
  inWorld,
  outcome,
  type Persona,
  personas,
  rolledBack,
  type Sandbox,
  sealed,
  superuser,
} from "./world.ts";

// Somebody has the server's database login. They may become keyrow_user and claim to be anybody: to the database they
// are whom they claim to be, and on the record under that name. What they must not get beyond it is tested here, and
// so is what they do get: "known limit" in a title. The threat model in the README says the same.

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");

const { owner: ana, stranger, worker } = personas;
const server: Persona = { login: "keyrow_authenticator", user: null };
const thieves = { server, user: ana, anonymous: personas.anonymous };

test("the login becomes keyrow_user and keyrow_anonymous, and nobody else", async (t) => {
  const roles = ["user", "anonymous", "owner", "reveal", "upkeep", "worker", "admin", "migrate"].map(
    (name) => `keyrow_${name}`,
  );
  const real = database.pool("keyrow_authenticator");
  for (const role of [...roles, "postgres", "pg_read_all_data"]) {
    const expected = role === "keyrow_user" || role === "keyrow_anonymous" ? 0 : "42501";
    const came = (sql: string) => rolledBack(real, async (client) => (await outcome(client, sql)) || 0);
    t.is(await came(`set local role ${role}`), expected, role);
    t.is(await came(`set local session authorization ${role}`), "42501", role);
  }
});

test("the login by itself has the rights of neither: it inherits nothing", async (t) => {
  await inWorld(pool, async (s) => {
    for (const table of ["user_credentials", "users", "workspaces", "workspace_members", "activity_logs"]) {
      t.is(await s.try(server, `select from public.${table}`), "42501", table);
    }
    for (const call of [
      "keyrow.reveal_user_credentials('{}')",
      "keyrow.reveal_system_credentials('{}')",
      "keyrow.co_member_ids()",
      "keyrow.provision_user('', '')",
    ]) {
      t.is(await s.try({ ...server, user: ids.ana }, `select ${call}`), "42501", call);
    }
  });
});

const definitions = [
  "create table public.x (y int)",
  "create table keyrow.x (y int)",
  "create temporary table x (y int)",
  "create temporary view x as select 1",
  "create schema x",
  "create view public.x as select 1",
  "create function public.x() returns int language sql as 'select 1'",
  "create function keyrow.x() returns int language sql as 'select 1'",
  "create function pg_temp.x() returns int language sql as 'select 1'",
  "create type public.x as enum ('y')",
  "create domain public.uuid as text",
  "create operator public.= (leftarg = text, rightarg = text, function = pg_catalog.textne)",
  "create cast (text as uuid) with inout as implicit",
  "create extension dblink",
  "create trigger x before insert on public.user_credentials for each row execute function keyrow.user_credentials_guard()",
  "create rule x as on select to public.user_credentials do instead select 1",
  "create policy x on public.user_credentials using (true)",
  "create index on public.user_credentials (name)",
  "create statistics public.x on name, provider from public.user_credentials",
  "create publication x for table public.user_credentials",
  "create role x",
  "alter table public.user_credentials disable row level security",
  "alter table public.user_credentials disable trigger all",
  "alter policy user_credentials_user_access on public.user_credentials using (true)",
  "alter function keyrow.reveal_user_credentials(uuid[], bigint) set search_path = public",
  "drop policy user_credentials_user_access on public.user_credentials",
  "drop table public.user_credentials",
  "truncate public.user_credentials",
  "comment on table public.user_credentials is 'x'",
  "set local session_replication_role = replica",
  "copy public.user_credentials to program 'cat'",
  "select pg_read_file('PG_VERSION')",
  "select * from pg_authid",
];

for (const [name, who] of Object.entries(thieves)) {
  test(`${name} defines, changes and drops nothing`, async (t) => {
    await inWorld(pool, async (s) => {
      for (const sql of definitions) t.is(await s.try(who, sql), "42501", sql);
    });
  });
}

test("a grant of what one has passes nothing on", async (t) => {
  await inWorld(pool, async (s) => {
    await s.try(ana, "grant delete on public.user_credentials to keyrow_anonymous");
    await s.try(ana, "grant execute on function keyrow.reveal_user_credentials(uuid[], bigint) to keyrow_anonymous");
    const [row] = await s.rows(
      superuser,
      `select has_table_privilege('keyrow_anonymous', 'public.user_credentials', 'delete') as deletes,
        has_function_privilege('keyrow_anonymous', 'keyrow.reveal_user_credentials(uuid[], bigint)', 'execute') as reveals`,
    );
    t.deepEqual(row, { deletes: false, reveals: false });
  });
});

test("SYSTEM credentials stay closed to the login, whatever role it takes and whatever it claims", async (t) => {
  const claims = [null, ids.ana, ids.stranger, ids.SYSTEM, "00000000-0000-0000-0000-000000000000", "not-a-uuid", " "];
  const asked = [[ids.SYSTEM, ids.USER, ids.WORKSPACE]];
  await inWorld(pool, async (s) => {
    for (const role of [undefined, "keyrow_user", "keyrow_anonymous"]) {
      for (const user of claims) {
        const who: Persona = { login: "keyrow_authenticator", user, ...(role !== undefined && { role }) };
        const title = `${role} ${user}`;
        t.is(await s.try(who, "select from keyrow.reveal_system_credentials($1)", asked), "42501", title);
        const users = "select from keyrow.reveal_user_credentials($1) where scope = 'SYSTEM'";
        t.true([0, "28000", "22P02", "42501"].includes(await s.try(who, users, asked)), title);
        const seen = await s.try(who, "select from public.user_credentials where scope = 'SYSTEM'");
        t.true([0, "28000", "22P02", "42501"].includes(seen), title);
      }
    }
  });
});

// --------------------------------------------------------------------------------------------- ways around the policies

test("row security can't be switched off", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run("set local row_security = off");
    t.is(await s.try(stranger, "select id from public.user_credentials"), "42501");
  });
});

test("no search path leads a function astray", async (t) => {
  await inWorld(pool, async (s) => {
    // Even where somebody else has left a schema full of traps, and opened it.
    await s.run(`
      create schema traps;
      grant usage on schema traps to public;
      create table traps.workspace_members (workspace_id uuid, user_id uuid, role text);
      insert into traps.workspace_members values ('${ids.team}', '${ids.stranger}', 'OWNER');
      create table traps.user_credentials (like public.user_credentials);
      create function traps.current_user_id() returns uuid language sql as $$ select '${ids.ana}'::uuid $$;
      create function traps.now() returns timestamptz language sql as $$ select '-infinity'::timestamptz $$;
      grant select on all tables in schema traps to public;
      set local search_path = traps, public, pg_catalog`);
    t.is(await s.try(stranger, `select id from public.user_credentials`), 0);
    t.deepEqual(
      await s.rows(stranger, `select public.is_workspace_admin('${ids.team}', '${ids.stranger}') as fooled`),
      [{ fooled: false }],
    );
    t.is(
      await s.try(
        stranger,
        `select * from keyrow.reveal_user_credentials(array['${ids.USER}', '${ids.WORKSPACE}']::uuid[])`,
      ),
      0,
    );
    await s.run(`update public.user_credentials set expires_at = pg_catalog.now() where id = '${ids.USER}'`);
    const [row] = await s.rows(ana, `select refusal from keyrow.reveal_user_credentials(array['${ids.USER}']::uuid[])`);
    t.deepEqual(row, { refusal: "CREDENTIAL_EXPIRED" });
  });
});

test("no operator in the search path makes claims read as none, which is what opens the bypass", async (t) => {
  // Takes a schema that somebody may create in; the asking role here is the one that the bypass is for.
  const claimant: Persona = { ...personas["DB admin"], user: ids.stranger };
  await holdsBecauseOfIt(t, pool, {
    scenario: async (s) => {
      await s.run(`
        create schema traps;
        grant usage on schema traps to public;
        create function traps.always(text, text) returns boolean language sql immutable as 'select true';
        create operator traps.= (leftarg = text, rightarg = text, function = traps.always);
        set local search_path = traps, pg_catalog`);
      return s.try(claimant, "select id from public.user_credentials");
    },
    holds: 0,
    withoutIt: `
      create or replace function public.current_user_id() returns uuid language sql stable
        as $$ select nullif(current_setting('jwt.claims.user_id', true), '')::uuid $$`,
    broken: 3,
  });
});

test("a filter that fails loudly never meets a row that a policy hides", async (t) => {
  await inWorld(pool, async (s) => {
    for (const filter of [
      "name::int = 1",
      "name::uuid is null",
      "1 / (length(name) - length(name)) = 1",
      "metadata::text::int = 1",
      "pg_input_is_valid(name, 'int') or name::int = 1",
    ]) {
      const came = await s.try(stranger, `select id from public.user_credentials where ${filter}`);
      t.true(came === 0 || came === "42883", `${filter}: ${came}`);
      t.is(await s.try(stranger, `delete from public.user_credentials where ${filter}`), came);
    }
  });
});

test("what binds a request binds a login that gives its role back within the statement", async (t) => {
  const vault = `vault:v1:${"A".repeat(40)}`;
  const refused: Array<[set: string, code: string]> = [
    [`encrypted_value = '${vault}', key_id = 'legacy'`, "42501"],
    ["description = repeat('x', 16385)", "54000"],
    ["name = ''", "23514"],
  ];
  await inWorld(pool, async (s) => {
    for (const role of ["none", "keyrow_anonymous"]) {
      // Once the policies have let the row in, and before its triggers.
      const given = `provider = provider || left(set_config('role', '${role}', true), 0) where id = '${ids.USER}'`;
      for (const [set, code] of refused) {
        t.is(await s.try(ana, `update public.user_credentials set ${set}, ${given}`), code, `${role}: ${set}`);
      }
      t.is(await s.try(ana, `update public.user_credentials set description = 'x', ${given}`), 1, role);
    }
  });
});

test("no value is longer than a sealed one can be: whoever moves values to another key reads many at once", async (t) => {
  const head = `${"A".repeat(16)}:${"A".repeat(22)}==:`;
  const set = (quads: number) =>
    `encrypted_value = '${head}' || repeat('AAAA', ${quads}), key_id = 'local:20260101-0000000a'`;
  await inWorld(pool, async (s) => {
    const update = (quads: number) => `update public.user_credentials set ${set(quads)} where id = '${ids.USER}'`;
    t.is(await s.try(ana, update(32_757)), 1);
    t.is(await s.try(ana, update(32_758)), "54000");
    // What came by migration may be of any length.
    t.is(await s.try(personas["table owner"], update(32_758)), 1);
    t.is(await s.try(ana, `update public.user_credentials set name = 'other' where id = '${ids.USER}'`), 1);
  });
});

test("a cursor of one user's shows another nothing once their transaction is over", async (t) => {
  const client = await database.pool("keyrow_authenticator").connect();
  try {
    await client.query("begin; set local role keyrow_user");
    await client.query("select set_config('jwt.claims.user_id', $1, true)", [ids.ana]);
    await client.query("declare listing cursor for select id from public.user_credentials");
    await client.query("commit; begin");
    await t.throwsAsync(client.query("fetch all from listing"), { message: /does not exist/ });
    await client.query("rollback");
    const { rows } = await client.query(
      "select current_user as role, current_setting('jwt.claims.user_id', true) as claim",
    );
    t.deepEqual(rows, [{ role: "keyrow_authenticator", claim: "" }]);
  } finally {
    client.release();
  }
});

// ------------------------------------------------------------------------------------------------------ errors, and views

const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));
const secret = sealed("Z");

test("no error repeats a ciphertext or another's row, in its message, detail or hint", async (t) => {
  const columns = "(user_id, workspace_id, name, provider, type, scope, encrypted_value, key_id)";
  const row = (user: string, workspace: string | null, name: string, scope: string, value = secret) =>
    `insert into public.user_credentials ${columns} values ('${user}', ${workspace ? `'${workspace}'` : "null"},
      '${name}', 'github', 'API_KEY', '${scope}', '${value}', 'local:20260101-0000000a')`;
  const own = `where id = '${ids.USER}'`;
  const failing: Array<[code: string, who: Persona, sql: string]> = [
    ["23505", ana, row(ids.ana, ids.team, "mine", "USER")],
    ["23505", personas["workspace admin"], row(ids.workspaceAdmin, ids.team, "deploy", "WORKSPACE")],
    ["23514", ana, row(ids.ana, null, "plain", "USER", `${secret}!`)],
    ["23514", ana, `update public.user_credentials set encrypted_value = '${secret}!' ${own}`],
    ["23514", worker, `update public.user_credentials set encrypted_value = '${secret}!' ${own}`],
    ["23514", ana, `update public.user_credentials set encrypted_value = '${secret}', is_active = false ${own}`],
    ["23514", personas["table owner"], `update public.user_credentials set encrypted_value = '${secret}!' ${own}`],
    ["23514", personas["DB admin"], `update public.user_credentials set encrypted_value = '${secret}!' ${own}`],
    ["42501", ana, row(ids.stranger, null, "theirs", "USER")],
    ["42501", ana, `update public.user_credentials set scope = 'SYSTEM' ${own}`],
    ["23502", ana, `update public.user_credentials set encrypted_value = '${secret}', name = null ${own}`],
    ["23502", ana, `update public.user_credentials set encrypted_value = null ${own}`],
    ["22001", ana, `update public.user_credentials set masked_value = '${secret}' ${own}`],
    ["23503", { ...ana, user: ids.SYSTEM }, row(ids.SYSTEM, null, "new", "USER")],
  ];
  await inWorld(pool, async (s) => {
    for (const [code, who, sql] of failing) {
      const error = await s.error(who, sql);
      t.is(error.code, code, sql);
      const text = `${error.message} ${error.detail} ${error.hint} ${error.where}`;
      t.false(text.includes("ZZZZ"), text);
      t.false(text.includes(sealed().slice(0, 16)), text);
      if (code === "23505") t.is(error.detail, undefined, text);
    }
  });
});

test("planner statistics show API roles, the worker and DB admins nothing of the table", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run("analyze public.user_credentials");
    for (const who of [ana, server, personas.anonymous, personas["DB admin"], worker, personas["table owner"]]) {
      t.is(await s.try(who, "select from pg_stats where tablename = 'user_credentials'"), 0, who.role ?? who.login);
    }
    t.not(await s.try(superuser, "select from pg_stats where tablename = 'user_credentials'"), 0);
  });
});

test("what other logins run stays hidden in pg_stat_activity", async (t) => {
  const client = await database.pool("keyrow_worker").connect();
  try {
    await client.query("select 'what the worker runs'");
    await inWorld(pool, async (s) => {
      for (const who of Object.values(thieves)) {
        const query = "select from pg_stat_activity where usename = 'keyrow_worker' and query like '%the worker runs%'";
        t.is(await s.try(who, query), 0);
      }
    });
  } finally {
    client.release();
  }
});

// ---------------------------------------------------------------------------------------------------------- known limits

/** The ciphertext of Ana's credential, or undefined. */
async function take(s: Sandbox): Promise<unknown> {
  const reveal = `select encrypted_value from keyrow.reveal_user_credentials(array['${ids.USER}']::uuid[])`;
  const { rows } = await s.client.query(reveal);
  return rows[0]?.encrypted_value;
}

test("known limit: a reveal that is rolled back gives a ciphertext off the record; opening it takes the server's key", async (t) => {
  await inWorld(pool, async (s) => {
    await s.become(ana);
    await s.client.query("savepoint theft");
    t.is(await take(s), sealed());
    await s.client.query("rollback to savepoint theft");
    await s.superuser();
    t.is(await s.try(superuser, "select from public.activity_logs where action = 'CREDENTIAL_ACCESSED'"), 0);
  });
});

const withoutClaims: Array<[what: string, sql: string]> = [
  ["a deletion", `delete from public.user_credentials where id = '${ids.USER}' returning `],
  ["a revocation", `update public.user_credentials set is_active = false where id = '${ids.USER}' returning `],
  [
    "a new value",
    `update public.user_credentials set encrypted_value = '${sealed("B")}' where id = '${ids.USER}' returning `,
  ],
  ["a new name", `update public.user_credentials set name = 'new' where id = '${ids.USER}' returning `],
  [
    "a creation",
    `insert into public.user_credentials (name, provider, type, encrypted_value, key_id)
     values ('new', 'x', 'SECRET', '${sealed()}', 'local:20260101-0000000a') returning `,
  ],
];
for (const [what, sql] of withoutClaims) {
  test(`${what} is never nobody's: claims that are taken away in the statement itself end it`, withoutIt, {
    scenario: async (s) => {
      const outcome = await s.try(ana, `${sql} set_config('jwt.claims.user_id', '', true)`);
      const entries =
        "select from public.activity_logs where user_id is null and session_role = 'keyrow_authenticator'";
      return [outcome, await s.try(superuser, entries)];
    },
    holds: ["28000", 0],
    // What is no request's login may: an admin's session, which has no claims.
    withoutIt: "grant keyrow_admin to keyrow_authenticator",
    broken: [1, 1],
  });
}

test("known limit: a change is recorded under the claims at the statement's end, which the thief sets", async (t) => {
  await inWorld(pool, async (s) => {
    const forged = `delete from public.user_credentials where id = '${ids.USER}'
      returning set_config('jwt.claims.user_id', '${ids.stranger}', true)`;
    t.is(await s.try(ana, forged), 1);
    const [entry] = await s.rows(
      superuser,
      `select user_id, session_role from public.activity_logs where action = 'CREDENTIAL_REVOKED'`,
    );
    t.deepEqual(entry, { user_id: ids.stranger, session_role: "keyrow_authenticator" }, "the login is never forged");
  });
});

test("known limit: a thief lists, makes and revokes anybody's records of tokens, and gets no token by it", async (t) => {
  await inWorld(pool, async (s) => {
    const made = "select from keyrow.create_token('stolen', '{}', now() + interval '1 hour')";
    t.is(await s.try(ana, made), 1);
    t.is(await s.try(ana, "select keyrow.revoke_token(id) from keyrow.visible_tokens() where name = 'stolen'"), 1);
    t.is(await s.try(server, "select from keyrow.tokens"), "42501", "the table itself is closed");
  });
});

test("known limit: the login learns whom an issuer's subject is, and which machine claims are, by asking for it", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(server, "select from keyrow.identified_user('https://issuer.test', 'guessed')"), 1);
    t.is(
      await s.try(server, "select from keyrow.identified_machines('https://issuer.test', '{\"sub\": \"guessed\"}')"),
      0,
    );
    for (const table of ["identities", "machines"])
      t.is(await s.try(server, `select from keyrow.${table}`), "42501", "no list of them");
  });
});

test("known limit: a conflict tells of a hidden row of one's own id, or of a co-admin's note of the workspace", async (t) => {
  const insert = (user: string, workspace: string | null, provider: string, name: string) =>
    `insert into public.user_credentials (user_id, workspace_id, provider, name, type, encrypted_value, key_id)
     values ('${user}', ${workspace ? `'${workspace}'` : "null"}, '${provider}', '${name}', 'SECRET', '${sealed()}', 'local:20260101-0000000a')`;
  await inWorld(pool, async (s) => {
    t.is(
      await s.try(ana, insert(ids.ana, null, "smtp", "mail")),
      "23505",
      "the SYSTEM credential that carries Ana's id",
    );

    await s.run(`update public.user_credentials set user_id = '${ids.ana}' where id = '${ids.WORKSPACE}'`);
    t.is(await s.try(ana, insert(ids.ana, ids.team, "github", "deploy")), "23505", "what Ana made and no longer sees");

    const rename = (name: string) =>
      `update public.user_credentials set name = '${name}' where id = '${ids.WORKSPACE}'`;
    const admin = personas["workspace admin"];
    t.is(
      await s.try(admin, rename("mine")),
      "23505",
      "Ana's USER credential with the same provider, name and workspace",
    );
    t.is(await s.try(admin, rename("other")), 1);
  });
});

test("known limit: explain analyze counts the hidden rows of a guessed user, for ids and names compare leakproof", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run("set local enable_seqscan = off");
    const hidden = async (user: string) => {
      const explain = "explain (analyze, costs off, timing off, summary off, format json)";
      const query = `${explain} select id from public.user_credentials where user_id = '${user}'`;
      const plan = JSON.stringify(await s.rows(stranger, query));
      return Number(/"Rows Removed by Filter": ?(\d+)/.exec(plan)?.[1] ?? 0);
    };
    t.deepEqual([await hidden(ids.ana), await hidden(ids.guest)], [2, 0]);
  });
});

test("known limit: large objects need no right, so a thief can fill the disk, but reads no file with them", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(ana, "select lo_from_bytea(0, 'x')"), 1);
    t.is(await s.try(ana, "select lo_import('/etc/passwd')"), "42501");
    t.is(await s.try(ana, "select lo_export(1, '/tmp/x')"), "42501");
  });
});

test("known limit: whoever may delete rows may lock the table", async (t) => {
  await inWorld(pool, async (s) => {
    t.is((await s.try(ana, "lock table public.user_credentials in access exclusive mode")) || 0, 0);
    t.is(await s.try(server, "lock table public.user_credentials in access share mode"), "42501");
  });
});

test("known limit: a login changes defaults of its own, but no default can hold claims", async (t) => {
  await inWorld(pool, async (s) => {
    const alter = (setting: string) => `alter role keyrow_authenticator in database ${database.name} set ${setting}`;
    t.is((await s.try(server, alter("search_path = ''"))) || 0, 0);
    t.is(await s.try(server, alter(`"jwt.claims.user_id" = '${ids.ana}'`)), "42501");
    t.is(await s.try(server, alter(`"request.jwt.claims" = '{"sub": "${ids.ana}"}'`)), "42501");
  });
});
