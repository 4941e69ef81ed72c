import test from "ava";
import { createTestDatabase } from "../helpers/database.ts";
import {
  type Claim,
  holdsBecauseOfIt,
  ids,
  inWorld,
  type Outcome,
  type Persona,
  personas,
  type Sandbox,
  sealed,
  superuser,
} from "./world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");
const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const { owner: ana, stranger, worker } = personas;
const workspaceAdmin = personas["workspace admin"];
const dbAdmin = personas["DB admin"];
const tableOwner = personas["table owner"];
const reveal: Persona = { login: "keyrow_migrate", role: "keyrow_reveal", user: ids.ana };
const server: Persona = { login: "keyrow_authenticator", user: null };

// ------------------------------------------------------------------------------------------------------- who sees what

/** Ana changes her USER credential, the workspace's admin that of the team, a DB admin that of the system. */
async function somethingHappens(s: Sandbox): Promise<void> {
  await s.try(ana, `update public.user_credentials set encrypted_value = '${sealed("B")}' where id = '${ids.USER}'`);
  await s.try(workspaceAdmin, `update public.user_credentials set is_active = false where id = '${ids.WORKSPACE}'`);
  await s.try(dbAdmin, `update public.user_credentials set is_active = false where id = '${ids.SYSTEM}'`);
}

const read = "select action from public.activity_logs where action in ('CREDENTIAL_ROTATED', 'CREDENTIAL_REVOKED')";
const add = `insert into public.activity_logs (user_id, action, entity_type, entity_id)
  values ('${ids.ana}', 'CREDENTIAL_ACCESSED', 'CREDENTIAL', '${ids.USER}')`;

// who, does what: rows touched, or the SQLSTATE that stopped them
const matrix: Array<[title: string, who: Persona, sql: string, expected: Outcome]> = [
  ["who did something sees it", ana, read, 1],
  ["an admin sees what was done to the workspace's credentials", workspaceAdmin, read, 1],
  ["the workspace's owner sees it, whoever did it", personas["workspace owner"], read, 1],
  ["a member sees nothing of it", personas.member, read, 0],
  ["a guest sees nothing of it", personas.guest, read, 0],
  ["a stranger sees nothing", stranger, read, 0],
  ["a removed admin sees nothing of what was done since", personas["removed admin"], read, 0],
  ["no token reads nothing", personas.anonymous, read, "42501"],
  ["no claims raise", personas["no claims"], read, "28000"],
  ["malformed claims raise", personas["malformed claims"], read, "22P02"],
  ["the worker reads nothing", worker, read, "42501"],
  ["keyrow_reveal reads no action", reveal, read, "42501"],
  ["a DB admin sees everything", dbAdmin, read, 3],
  ["the table's owner sees everything, for backups", tableOwner, read, 3],
  ["the API writes nothing into it", ana, add, "42501"],
  ["the server's login writes nothing into it", server, add, "42501"],
  ["the worker writes nothing into it", worker, add, "42501"],
  ["a DB admin writes nothing into it", dbAdmin, add, "42501"],
  ["the table's owner writes nothing into it", tableOwner, add, "42501"],
  ["keyrow_reveal writes in the name of the asking user", reveal, add, 1],
  ["keyrow_reveal writes in nobody else's", { ...reveal, user: ids.stranger }, add, "42501"],
  ["keyrow_reveal doesn't write in a user's name without claims", { ...reveal, user: null }, add, "42501"],
];
for (const [title, who, sql, expected] of matrix) {
  test(title, async (t) => {
    const came = await inWorld(pool, async (s) => {
      await somethingHappens(s);
      return s.try(who, sql);
    });
    t.is(came, expected);
  });
}

test("nobody writes in another's name", withoutIt, {
  scenario: (s) => s.try({ ...reveal, user: ids.stranger }, add),
  holds: "42501",
  withoutIt: "alter policy activity_logs_insert_reveal on public.activity_logs with check (true)",
  broken: 1,
});

test("neither time nor session role of an entry can be made up", async (t) => {
  await inWorld(pool, async (s) => {
    for (const [column, value] of [
      ["created_at", "'2020-01-01'"],
      ["session_role", "'somebody'"],
    ] as const) {
      const forged = add.replace("(user_id", `(${column}, user_id`).replace("values (", `values (${value}, `);
      t.is(await s.try(reveal, forged), "42501", column);
    }
  });
});

// --------------------------------------------------------------------------------------------------------- append-only

const changes = (table: string) => [
  `update public.${table} set details = '{}'`,
  `delete from public.${table}`,
  `truncate public.${table}`,
  // Not even where no row is concerned: the trigger is the statement's.
  `delete from public.${table} where false`,
];

/** The log and every partition of it. */
async function logTables(s: Sandbox): Promise<string[]> {
  const rows = await s.rows<{ name: string }>(
    superuser,
    "select relid::regclass::text as name from pg_partition_tree('public.activity_logs')",
  );
  return rows.map(({ name }) => name);
}

test("no role changes or empties the log or a partition of it: neither its owner nor a superuser", async (t) => {
  await inWorld(pool, async (s) => {
    const tables = await logTables(s);
    t.true(tables.length > 13, `${tables}`);
    for (const table of tables) {
      for (const sql of changes(table)) {
        for (const who of [ana, personas.anonymous, server, worker, dbAdmin, reveal, tableOwner, superuser]) {
          t.is(await s.try(who, sql), "42501", `${who.role ?? who.login}: ${sql}`);
        }
      }
    }
  });
});

test("a trigger keeps the log append-only where grants don't bind", withoutIt, {
  scenario: (s) => s.try(superuser, "delete from public.activity_logs"),
  holds: "42501",
  withoutIt: "alter table public.activity_logs disable trigger activity_logs_append_only",
  broken: 3,
});

test("a partition has a trigger of its own, for the parent's does not see it", withoutIt, {
  scenario: async (s) => {
    const [row] = await s.rows<{ name: string }>(
      superuser,
      "select tableoid::regclass::text as name from public.activity_logs limit 1",
    );
    return s.try(superuser, `delete from public.${row?.name}`);
  },
  holds: "42501",
  withoutIt: `do $$ begin
    execute format('drop trigger %I on public.%1$I', 'activity_logs_' || to_char(now() at time zone 'UTC', 'YYYY_MM') || '_append_only',
      'activity_logs_' || to_char(now() at time zone 'UTC', 'YYYY_MM'));
  end $$`.replace("%1$I", "%I"),
  broken: 3,
});

test("no API role reads or writes a partition by itself", async (t) => {
  await inWorld(pool, async (s) => {
    for (const table of (await logTables(s)).filter((name) => name !== "activity_logs")) {
      for (const who of [ana, personas.anonymous, server, worker, dbAdmin, reveal]) {
        t.is(await s.try(who, `select from public.${table}`), "42501");
        t.is(await s.try(who, add.replace("activity_logs", table)), "42501");
      }
    }
  });
});

test("a user can be deleted whatever the log says of them: it has no foreign keys", async (t) => {
  await inWorld(pool, async (s) => {
    await s.try(personas.guest, "select 1");
    await s.try({ ...reveal, user: ids.guest }, add.replace(ids.ana, ids.guest));
    t.is(await s.try(dbAdmin, `delete from public.users where id = '${ids.guest}'`), 1);
    t.is(await s.try(superuser, `select from public.activity_logs where user_id = '${ids.guest}'`), 1);
  });
});

// ------------------------------------------------------------------------------------------------ written by triggers

interface Entry {
  action: string;
  user_id: string | null;
  workspace_id: string | null;
  entity_type: string;
  session_role: string;
  details: Record<string, unknown>;
}

/** What the log says of a credential since the world began. */
function entries(s: Sandbox, id: string = ids.USER): Promise<Entry[]> {
  return s.rows<Entry>(
    superuser,
    `select action, user_id, workspace_id, entity_type, session_role, details from public.activity_logs
     where entity_id = '${id}' order by id offset 1`,
  );
}

const about = (scope: "USER" | "WORKSPACE" | "SYSTEM") =>
  ({
    USER: { provider: "github", name: "mine", scope },
    WORKSPACE: { provider: "github", name: "deploy", scope },
    SYSTEM: { provider: "smtp", name: "mail", scope },
  })[scope];

for (const [what, sql, action, extra] of [
  ["a new value", `update public.user_credentials set encrypted_value = '${sealed("B")}'`, "CREDENTIAL_ROTATED", {}],
  ["a revocation", "update public.user_credentials set is_active = false", "CREDENTIAL_REVOKED", {}],
  ["a delete", "delete from public.user_credentials", "CREDENTIAL_REVOKED", { deleted: true }],
] as const) {
  for (const [who, persona, scope, login, user] of [
    ["its owner", ana, "USER", "keyrow_authenticator", ids.ana],
    ["an admin", workspaceAdmin, "WORKSPACE", "keyrow_authenticator", ids.workspaceAdmin],
    ["a DB admin in psql", dbAdmin, "SYSTEM", "postgres", null],
    ["the table's owner in psql", tableOwner, "SYSTEM", "keyrow_migrate", null],
    ["a superuser in psql", superuser, "USER", "postgres", null],
  ] as const) {
    test(`${what} by ${who} is on the record, with the claimed user and the login`, async (t) => {
      await inWorld(pool, async (s) => {
        t.is(await s.try(persona, `${sql} where id = '${ids[scope]}'`), 1);
        t.deepEqual(await entries(s, ids[scope]), [
          {
            action,
            user_id: user,
            workspace_id: scope === "WORKSPACE" ? ids.team : null,
            entity_type: "CREDENTIAL",
            session_role: login,
            details: { ...about(scope), ...extra },
          },
        ]);
      });
    });
  }
}

test("a new credential is on the record, wherever it comes from", async (t) => {
  await inWorld(pool, async (s) => {
    const insert = (name: string) =>
      `insert into public.user_credentials (user_id, name, provider, type, encrypted_value, key_id)
       values ('${ids.ana}', '${name}', 'x', 'SECRET', '${sealed()}', 'local:20260101-0000000a')`;
    for (const [name, who] of Object.entries({ ana, dbAdmin, tableOwner, superuser })) await s.try(who, insert(name));
    const rows = await s.rows(
      superuser,
      `select details ->> 'name' as name, action, user_id, session_role from public.activity_logs
       where details ->> 'provider' = 'x' order by id`,
    );
    const created = { action: "CREDENTIAL_CREATED", user_id: null };
    t.deepEqual(rows, [
      { name: "ana", ...created, user_id: ids.ana, session_role: "keyrow_authenticator" },
      { name: "dbAdmin", ...created, session_role: "postgres" },
      { name: "tableOwner", ...created, session_role: "keyrow_migrate" },
      { name: "superuser", ...created, session_role: "postgres" },
    ]);
  });
});

for (const [trigger, sql] of Object.entries({
  user_credentials_log_rotated: `update public.user_credentials set encrypted_value = '${sealed("B")}' where id = '${ids.USER}'`,
  user_credentials_log_revoked: `update public.user_credentials set is_active = false where id = '${ids.USER}'`,
  user_credentials_log_deleted: `delete from public.user_credentials where id = '${ids.USER}'`,
  user_credentials_log_renamed: `update public.user_credentials set name = 'new' where id = '${ids.USER}'`,
})) {
  test(`${trigger} writes the entry, and nothing else does`, withoutIt, {
    scenario: async (s) => {
      await s.try(ana, sql);
      return (await entries(s)).length;
    },
    holds: 1,
    withoutIt: `alter table public.user_credentials disable trigger ${trigger}`,
    broken: 0,
  });
}

test("a change of neither the value nor the place leaves no entry", async (t) => {
  await inWorld(pool, async (s) => {
    const sql = `update public.user_credentials set name = name, metadata = '{"a": 1}' where id = '${ids.USER}'`;
    t.is(await s.try(ana, sql), 1);
    t.deepEqual(await entries(s), []);
  });
});

const moves: Array<[what: string, who: Persona, set: string, moved: object]> = [
  ["another name", ana, "name = 'new'", { name: "new" }],
  ["another provider", ana, "provider = 'gitlab'", { provider: "gitlab" }],
  ["another workspace", superuser, "workspace_id = null", {}],
  ["another scope", superuser, `scope = 'SYSTEM', encrypted_value = '${sealed("B")}'`, { scope: "SYSTEM" }],
];
for (const [what, who, set, moved] of moves) {
  test(`${what} is on the record, with the old place`, async (t) => {
    await inWorld(pool, async (s) => {
      t.is(await s.try(who, `update public.user_credentials set ${set} where id = '${ids.USER}'`), 1);
      const [entry] = (await entries(s)).filter(({ action }) => action === "CREDENTIAL_CREATED");
      t.deepEqual(entry?.details, { ...about("USER"), ...moved, renamed: { ...about("USER"), workspace: ids.team } });
      t.false(JSON.stringify(entry).includes("BBBB"));
    });
  });
}

test("a rewrap by the worker is no rotation", withoutIt, {
  scenario: async (s) => {
    const rewrap = `update public.user_credentials set encrypted_value = '${sealed("B")}', key_id = 'local:20260101-0000000b' where id = '${ids.USER}'`;
    return [await s.try(worker, rewrap), (await entries(s)).length];
  },
  holds: [1, 0],
  withoutIt: `
    create or replace trigger user_credentials_log_rotated after update on public.user_credentials
      for each row when (old.encrypted_value is distinct from new.encrypted_value)
      execute function keyrow.user_credentials_log('CREDENTIAL_ROTATED')`,
  broken: [1, 1],
});

test("the request's id goes into the entry's details, and no value does", async (t) => {
  await inWorld(pool, async (s) => {
    await s.become(ana);
    await s.client.query("select set_config('keyrow.request_id', 'req-1', true)");
    await s.client.query(
      `update public.user_credentials set encrypted_value = '${sealed("B")}' where id = '${ids.USER}'`,
    );
    const [entry] = await entries(s);
    t.is(entry?.details.request, "req-1");
    t.false(JSON.stringify(entry).includes("BBBB"));
  });
});

test("nobody but the triggers and the reveal function calls the function that writes", async (t) => {
  const call = `select keyrow.log_credential_events('CREDENTIAL_ACCESSED', array['${ids.USER}']::uuid[], array[null]::uuid[], array['{}']::jsonb[])`;
  await inWorld(pool, async (s) => {
    for (const who of [ana, personas.anonymous, server, worker, dbAdmin, tableOwner]) {
      t.is(await s.try(who, call), "42501", who.role ?? who.login);
    }
  });
});

// ---------------------------------------------------------------------------------------------------------- partitions

const extend = (months: number) => `select keyrow.extend_activity_logs(${months})`;

test("there are a default partition and one for each month of the year to come", async (t) => {
  const tables = await inWorld(pool, logTables);
  const months = Array.from({ length: 13 }, (_, ahead) => {
    const now = new Date();
    const month = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + ahead));
    return `activity_logs_${month.toISOString().slice(0, 7).replace("-", "_")}`;
  });
  t.deepEqual(tables.toSorted(), ["activity_logs", ...months, "activity_logs_default"].toSorted());
});

test("extending the log again makes nothing; extending it further makes the months that are missing", async (t) => {
  await inWorld(pool, async (s) => {
    const before = await logTables(s);
    await s.try(tableOwner, extend(12));
    t.deepEqual(await logTables(s), before);
    await s.try(tableOwner, extend(14));
    t.is((await logTables(s)).length, before.length + 2);
  });
});

test("a partition made later is append-only and under row level security as well", async (t) => {
  await inWorld(pool, async (s) => {
    const before = await logTables(s);
    await s.try(tableOwner, extend(13));
    const [made] = (await logTables(s)).filter((name) => !before.includes(name));
    t.truthy(made);
    for (const sql of changes(made ?? "")) t.is(await s.try(superuser, sql), "42501");
    const [flags] = await s.rows(
      superuser,
      `select relrowsecurity, relforcerowsecurity from pg_class where oid = 'public.${made}'::regclass`,
    );
    t.deepEqual(flags, { relrowsecurity: true, relforcerowsecurity: true });
  });
});

test("an entry of a month without a partition goes to the default one, which then keeps that month", async (t) => {
  await inWorld(pool, async (s) => {
    const before = await logTables(s);
    await s.run(`insert into public.activity_logs (created_at, action, entity_type, entity_id)
      values (now() + interval '13 months', 'CREATED', 'USER', '${ids.ana}')`);
    t.is(await s.try(superuser, "select from public.activity_logs_default"), 1);
    t.is(await s.try(tableOwner, extend(14)), 1);
    t.is((await logTables(s)).length, before.length + 1, "the month after is made, that month is not");
    t.is(await s.try(superuser, "select from public.activity_logs where action = 'CREATED'"), 1);
  });
});

test("only the table's owner extends the log", async (t) => {
  await inWorld(pool, async (s) => {
    for (const who of [ana, personas.anonymous, server, worker, dbAdmin, reveal])
      t.is(await s.try(who, extend(12)), "42501");
  });
});
