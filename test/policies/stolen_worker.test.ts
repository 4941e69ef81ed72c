import test from "ava";
import { createTestDatabase } from "../helpers/database.ts";
import { until } from "../helpers/until.ts";
import {
  ids,
  inWorld,
  type Outcome,
  outcome,
  type Persona,
  personas,
  rolledBack,
  type Sandbox,
  sealed,
  superuser,
} from "./world.ts";

// Somebody has the login of `keyrow worker` and `keyrow rewrap`, or that of `keyrow migrate`. What they get, and what they
// don't, is in the threat model in these words.

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");

const { worker } = personas;
const all = [ids.USER, ids.WORKSPACE, ids.SYSTEM];

async function logged(s: Sandbox): Promise<number> {
  const [row] = await s.rows<{ n: number }>(superuser, "select count(*)::int as n from public.activity_logs");
  return row?.n ?? -1;
}

test("known limit: the worker's login reads every ciphertext, off the record", async (t) => {
  await inWorld(pool, async (s) => {
    const before = await logged(s);
    const rows = await s.rows<{ id: string; encrypted_value: string }>(
      worker,
      "select id::text, encrypted_value from public.user_credentials order by id",
    );
    t.deepEqual(
      rows,
      all.map((id) => ({ id, encrypted_value: sealed() })),
    );
    t.is(await logged(s), before);
  });
});

test("known limit: it writes ciphertext, key id and last use of every row, off the record", async (t) => {
  await inWorld(pool, async (s) => {
    const before = await logged(s);
    const changes = [
      `encrypted_value = '${sealed("B")}'`,
      "key_id = 'local:20260101-0000000b'",
      "last_used_at = '2001-01-01'",
      // So it can make a row look like one that another application sealed.
      `key_id = 'legacy', encrypted_value = 'vault:v1:${"A".repeat(40)}'`,
    ];
    for (const change of changes) t.is(await s.try(worker, `update public.user_credentials set ${change}`), 3, change);
    t.is(await logged(s), before);
    const seen = await s.rows(superuser, "select distinct is_active, rotated_at from public.user_credentials");
    t.deepEqual(seen, [{ is_active: true, rotated_at: null }], "nothing else tells of it");
  });
});

test("it changes nothing else, makes no row, takes none away, and stores no plaintext", async (t) => {
  await inWorld(pool, async (s) => {
    const [first] = await s.rows<Record<string, unknown>>(superuser, "select * from public.user_credentials limit 1");
    const others = Object.keys(first ?? {}).filter(
      (column) => !["encrypted_value", "key_id", "last_used_at"].includes(column),
    );
    t.true(others.length >= 14);
    t.is(await s.try(worker, "select name from public.user_credentials"), "42501");
    for (const column of others) {
      t.is(await s.try(worker, `update public.user_credentials set ${column} = ${column}`), "42501", column);
    }
    const insert = `insert into public.user_credentials (user_id, name, provider, type, encrypted_value, key_id)
      values ('${ids.ana}', 'n', 'p', 'SECRET', '${sealed()}', 'local:20260101-0000000a')`;
    for (const statement of [insert, "delete from public.user_credentials", "truncate public.user_credentials"]) {
      t.is(await s.try(worker, statement), "42501", statement);
    }
    t.is(await s.try(worker, "update public.user_credentials set encrypted_value = 'plaintext'"), "23514");
    for (const table of ["users", "workspaces", "workspace_members", "activity_logs"]) {
      t.is(await s.try(worker, `select from public.${table}`), "42501", table);
    }
    for (const call of ["reveal_user_credentials('{}')", "reveal_system_credentials('{}')"]) {
      t.is(await s.try(worker, `select keyrow.${call}`), "42501", call);
    }
  });
});

test("no role drops its rights or policies, as `drop owned` by itself would where it may read whole tables", async (t) => {
  await inWorld(pool, async (s) => {
    const left = () =>
      s.rows(
        superuser,
        `select p.polrelid::regclass::text as of, p.polname as name, p.polroles::regrole[]::text as roles from pg_policy p
         union all select c.oid::regclass::text, 'rights', c.relacl::text from pg_class c where c.relacl is not null
         order by 1, 2`,
      );
    const before = await left();
    const { worker, owner, anonymous, "DB admin": admin, "table owner": tables } = personas;
    // It concerns the rights to other databases as well, and another test may change one of them at that moment.
    const attempt = async (who: Persona, statement: string) => {
      let came: Outcome = "XX000";
      await until(async () => {
        came = await s.try(who, statement);
        return came !== "XX000";
      });
      return came;
    };
    for (const who of [worker, owner, admin]) {
      const role = who.role ?? who.login;
      t.is(await attempt(who, `drop owned by ${role} cascade`), "42501", role);
    }
    // These have no policies of their own.
    for (const who of [anonymous, { ...owner, role: "keyrow_authenticator" }]) {
      t.is((await attempt(who, `drop owned by ${who.role}`)) || 0, 0, who.role);
    }
    t.deepEqual(await left(), before);
    t.is(await s.try(tables, "drop owned by keyrow_worker"), "42501");
  });
});

test("a revoked credential stays revoked under it", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run(`update public.user_credentials set is_active = false where id = '${ids.USER}'`);
    const back = `update public.user_credentials set encrypted_value = '${sealed("B")}' where id = '${ids.USER}'`;
    t.is(await s.try(worker, back), 1);
    const [row] = await s.rows(superuser, `select is_active from public.user_credentials where id = '${ids.USER}'`);
    t.deepEqual(row, { is_active: false });
  });
});

test("it can neither replace, drop, take over nor close a function, those that the server's login calls included", async (t) => {
  await inWorld(pool, async (s) => {
    const functions = await s.rows<{ name: string; definition: string; called: boolean }>(
      superuser,
      `select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition,
         has_function_privilege('keyrow_authenticator', p.oid, 'execute') as called
       from pg_proc p where p.pronamespace = 'keyrow'::regnamespace`,
    );
    const called = functions.filter((one) => one.called).map(({ name }) => name);
    for (const name of ["keyrow.key_census()", "keyrow.key_rows(text)", "keyrow.touch(uuid[])"]) {
      t.true(called.includes(name), name);
    }
    for (const { name, definition } of functions) {
      const statements = [
        definition,
        `drop function ${name}`,
        `alter function ${name} owner to keyrow_worker`,
        `alter function ${name} reset all`,
        `revoke execute on function ${name} from keyrow_authenticator`,
      ];
      for (const statement of statements) t.is(await s.try(worker, statement), "42501", statement);
    }
  });
});

test("nobody may log in as the owner of what the server's login asks of all rows, and it reads no ciphertext", async (t) => {
  await inWorld(pool, async (s) => {
    const upkeep: Persona = { login: "keyrow_migrate", role: "keyrow_upkeep", user: null };
    t.is(await s.try(upkeep, "select id, key_id, last_used_at from public.user_credentials"), 3);
    for (const statement of [
      "select encrypted_value from public.user_credentials",
      "select user_id from public.user_credentials",
      "update public.user_credentials set key_id = key_id",
      "delete from public.user_credentials",
    ]) {
      t.is(await s.try(upkeep, statement), "42501", statement);
    }
    const [role] = await s.rows(
      superuser,
      `select rolcanlogin as login, array(select member::regrole::text from pg_auth_members
         where roleid = r.oid and member::regrole::text like 'keyrow%') as members
       from pg_roles r where rolname = 'keyrow_upkeep'`,
    );
    t.deepEqual(role, { login: false, members: ["keyrow_migrate"] });
  });
});

const roles = ["owner", "user", "anonymous", "reveal", "upkeep", "worker", "admin", "migrate", "authenticator"];

for (const [login, may] of [
  ["keyrow_worker", ["worker"]],
  ["keyrow_migrate", ["owner", "reveal", "upkeep", "worker", "migrate"]],
] as const) {
  test(`${login} becomes ${may.join(", ")} and nobody else`, async (t) => {
    const real = database.pool(login);
    for (const role of roles) {
      const came = await rolledBack(real, (client) => outcome(client, `set local role keyrow_${role}`));
      t.is(came || 0, (may as readonly string[]).includes(role) ? 0 : "42501", role);
    }
    t.is(await rolledBack(real, (client) => outcome(client, "set local role postgres")), "42501");
  });
}

test("known limit: the migrating login reads every ciphertext, and takes triggers and policies away", async (t) => {
  const owner: Persona = personas["table owner"];
  await inWorld(pool, async (s) => {
    t.is(await s.try(owner, "select encrypted_value from public.user_credentials"), 3);
    t.is(await s.try(owner, "alter table public.user_credentials disable trigger user_credentials_log_rotated"), 0);
    t.is(await s.try(owner, "drop policy user_credentials_user_access on public.user_credentials"), 0);
  });
});
