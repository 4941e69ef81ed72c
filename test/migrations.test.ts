import { randomBytes } from "node:crypto";
import { appendFile, readdir, readFile, writeFile } from "node:fs/promises";
import test from "ava";
import { layFoundation, migrate, migrationsFolder, withConnection } from "../src/setup.ts";
import { testUrl } from "./helpers/database.ts";
import { type BareDatabase, createBareDatabase, openWorkshop, snapshot } from "./helpers/migrations.ts";
import { world } from "./policies/world.ts";

/** The fixtures, as paths below `migrations/fixtures`. */
async function fixtures(): Promise<string[]> {
  const entries = await readdir(`${migrationsFolder}/fixtures`, { recursive: true });
  return entries.filter((name) => name.endsWith(".sql")).toSorted();
}

/** Runs every fixture as `keyrow db run` would: as the owner, each in a transaction. */
async function runFixtures(database: BareDatabase): Promise<void> {
  await withConnection(database.owner, async (client) => {
    for (const name of await fixtures()) {
      await client.query(`begin; ${await readFile(`${migrationsFolder}/fixtures/${name}`, "utf8")}; commit`);
    }
  });
}

/** Runs `work` on a database of its own, and drops it. */
async function withDatabase<T>(work: (database: BareDatabase) => Promise<T>): Promise<T> {
  const database = await createBareDatabase();
  try {
    return await work(database);
  } finally {
    await database.drop();
  }
}

const migrated = <T>(work: (database: BareDatabase) => Promise<T>) =>
  withDatabase(async (database) => {
    await layFoundation(database.owner);
    await migrate(database.owner);
    return work(database);
  });

test("the fixtures say what the committed migrations did", async (t) => {
  await migrated(async (database) => {
    const before = await snapshot(database.owner);
    await runFixtures(database);
    t.deepEqual(await snapshot(database.owner), before);
    t.true(before.functions.length > 15 && before.policies.length > 15 && before.triggers.length > 8);
  });
});

test("every fixture is part of a committed migration", async (t) => {
  let committed = "";
  for (const name of await readdir(`${migrationsFolder}/committed`)) {
    committed += await readFile(`${migrationsFolder}/committed/${name}`, "utf8");
  }
  for (const name of await fixtures()) t.true(committed.includes(`--! Included ${name}\n`), name);
});

test("running the fixtures takes back what was changed in psql", async (t) => {
  await migrated(async (database) => {
    const before = await snapshot(database.owner);
    await withConnection(database.superuser, (client) =>
      client.query(`
        alter policy user_credentials_user_access on public.user_credentials using (true);
        drop policy user_credentials_insert_own on public.user_credentials;
        alter table public.user_credentials no force row level security;
        grant select on public.user_credentials to keyrow_user, keyrow_anonymous;
        comment on policy user_credentials_owner_bypass on public.user_credentials is 'x';
        create or replace function keyrow.key_census() returns table (key_id text, credentials bigint)
          language sql stable as $$ select '', 1 $$`),
    );
    t.notDeepEqual(await snapshot(database.owner), before);
    await runFixtures(database);
    t.deepEqual(await snapshot(database.owner), before);
  });
});

test("migrating again does nothing", async (t) => {
  await migrated(async (database) => {
    const before = await snapshot(database.owner);
    const lines: string[] = [];
    await migrate(database.owner, (line) => lines.push(line));
    t.deepEqual(await snapshot(database.owner), before);
    t.false(
      lines.some((line) => line.includes("Running migration")),
      lines.join("\n"),
    );
  });
});

test("no keyrow_reveal, keyrow_upkeep or keyrow_worker may make anything once the migrations are done", async (t) => {
  await migrated(async (database) => {
    const { rows } = await withConnection(database.superuser, (client) =>
      client.query(`select has_schema_privilege(r, s, 'create') as may
        from unnest(array['keyrow_reveal', 'keyrow_upkeep', 'keyrow_worker']) r, unnest(array['public', 'keyrow']) s`),
    );
    t.deepEqual(rows, Array(6).fill({ may: false }));
  });
});

// ---------------------------------------------------------------------------------------------------------- foundation

test("foundation.sql run twice changes nothing, before the migrations and after them", async (t) => {
  await withDatabase(async (database) => {
    await layFoundation(database.owner);
    const bare = await snapshot(database.owner);
    await layFoundation(database.owner);
    t.deepEqual(await snapshot(database.owner), bare);
    await migrate(database.owner);
    const full = await snapshot(database.owner);
    await layFoundation(database.owner);
    t.deepEqual(await snapshot(database.owner), full);
  });
});

test("what foundation.sql makes after the migrations is closed to limited tokens as well", async (t) => {
  await migrated(async (database) => {
    const before = await snapshot(database.owner);
    await withConnection(database.owner, (client) => client.query("drop table public.workspace_members cascade"));
    await layFoundation(database.owner);
    const after = await snapshot(database.owner);
    const limited = ({ policies }: typeof before) => policies.filter(({ name }) => name.endsWith("_limited"));
    t.deepEqual(limited(after), limited(before));
    t.is(limited(after).filter(({ table }) => table === "workspace_members").length, 4);
  });
});

test("foundation.sql leaves rows alone", async (t) => {
  await migrated(async (database) => {
    await withConnection(database.superuser, (client) => client.query(world));
    const count = () =>
      withConnection(database.superuser, async (client) => {
        const { rows } = await client.query(`
          select (select count(*) from public.users) as users, (select count(*) from public.workspace_members) as members,
            (select count(*) from public.activity_logs) as logs, (select count(*) from public.user_credentials) as credentials`);
        return rows;
      });
    const before = await count();
    t.deepEqual(before, [{ users: "7", members: "6", logs: "3", credentials: "3" }]);
    await layFoundation(database.owner);
    t.deepEqual(await count(), before);
  });
});

/** An application's role, and tables that it owns. */
async function withApplication<T>(
  tables: string,
  work: (database: BareDatabase, application: string) => Promise<T>,
): Promise<T> {
  const application = `application_${randomBytes(6).toString("hex")}`;
  try {
    return await withDatabase(async (database) => {
      await withConnection(database.superuser, (client) =>
        client.query(`
          create role ${application} nologin;
          grant create, usage on schema public to ${application};
          set role ${application};
          ${tables}`),
      );
      return work(database, application);
    });
  } finally {
    await withConnection(testUrl("postgres", "postgres"), (client) =>
      client.query(`drop role if exists ${application}`),
    );
  }
}

const ownUsers = `
  create table public.users (id uuid primary key, login varchar(40) not null unique, password_hash text);
  alter table public.users enable row level security;
  create policy own on public.users using (login = current_user);
  create function public.current_user_id() returns uuid language sql stable
    as $$ select nullif(current_setting('app.user_id', true), '')::uuid $$;
  grant references (id) on public.users to keyrow_owner;`;

test("foundation.sql does not touch an application's own users table or current_user_id()", async (t) => {
  await withApplication(ownUsers, async (database, application) => {
    const before = await snapshot(database.superuser);
    await layFoundation(database.owner);
    const after = await snapshot(database.superuser);
    const users = (taken: typeof before) => ({
      table: taken.tables.filter(({ name }) => name === "users"),
      columns: taken.columns.filter(({ table }) => table === "users"),
      policies: taken.policies.filter(({ table }) => table === "users"),
      indexes: taken.indexes.filter(({ name }) => name.startsWith("users_")),
      triggers: taken.triggers.filter(({ table }) => table === "users"),
      function: taken.functions.filter(({ name }) => name === "current_user_id()"),
    });
    t.deepEqual(users(after), users(before));
    t.like(users(after).table[0], { owner: application, relforcerowsecurity: false });
    t.deepEqual(
      after.tables.map(({ name }) => name).filter((name) => !name.startsWith("activity_logs")),
      ["users", "workspace_members", "workspaces"],
      "what was missing is there",
    );
  });
});

const everythingOwn = `
  ${ownUsers}
  grant execute on function public.current_user_id() to public;
  create type public."EntityType" as enum ('USER', 'CREDENTIAL');
  create type public."ActivityAction" as enum (
    'LOGIN', 'CREDENTIAL_CREATED', 'CREDENTIAL_ACCESSED', 'CREDENTIAL_ROTATED', 'CREDENTIAL_REVOKED');
  create table public.workspaces (id uuid primary key, title text);
  create table public.workspace_members (workspace_id uuid, user_id uuid, level int);
  create function public.is_workspace_admin(workspace uuid, person uuid) returns boolean
    language sql stable security definer set search_path = pg_catalog, pg_temp
    as $$ select exists (select from public.workspace_members m where m.workspace_id = workspace and m.user_id = person and m.level > 5) $$;
  grant references (id) on public.workspaces to keyrow_owner;
  -- What the defaults of the two seams read, as keyrow_reveal.
  grant select on public.workspaces, public.workspace_members to keyrow_reveal;`;

test("the migrations assume no more of an application's own tables than the specification's did", async (t) => {
  await withApplication(everythingOwn, async (database, application) => {
    const own = (taken: Awaited<ReturnType<typeof snapshot>>) =>
      taken.tables
        .filter(({ owner }) => owner === application)
        .map(({ name, acl, relforcerowsecurity }) => ({ name, acl, relforcerowsecurity }));
    const before = own(await snapshot(database.superuser));
    await migrate(database.owner);
    const after = await snapshot(database.superuser);
    t.deepEqual(own(after), before);

    const rows = await withConnection(database.superuser, async (client) => {
      await client.query(`
        insert into public.users (id, login) values ('00000000-0000-4000-8000-0000000000a1', 'ana');
        insert into public.workspaces (id) values ('00000000-0000-4000-8000-0000000000b1');
        insert into public.workspace_members values
          ('00000000-0000-4000-8000-0000000000b1', '00000000-0000-4000-8000-0000000000a1', 9);
        set session_replication_role = replica; -- The application has no log yet: its seam is log_credential_events.
        insert into public.user_credentials (user_id, workspace_id, name, provider, type, scope, encrypted_value) values
          ('00000000-0000-4000-8000-0000000000a1', null, 'mine', 'x', 'SECRET', 'USER', 'vault:v1:base64data'),
          ('00000000-0000-4000-8000-0000000000a1', '00000000-0000-4000-8000-0000000000b1', 'team', 'x', 'SECRET', 'WORKSPACE', 'vault:v1:base64data'),
          ('00000000-0000-4000-8000-0000000000a1', null, 'system', 'x', 'SECRET', 'SYSTEM', 'vault:v1:base64data');
        set role keyrow_user;
        set app.user_id = '00000000-0000-4000-8000-0000000000a1';
        set keyrow.limits = 'none'`);
      return (await client.query("select name from public.user_credentials order by 1")).rows;
    });
    t.deepEqual(rows, [{ name: "mine" }, { name: "team" }]);
  });
});

test("an application's own function that wrote one entry of the log goes on writing, entry by entry", async (t) => {
  const upgrade = await readFile(`${migrationsFolder}/committed/000009-many-entries-at-once.sql`, "utf8");
  await migrated(async (database) => {
    const rows = await withConnection(database.superuser, async (client) => {
      await client.query(`
        drop function keyrow.log_credential_events(public."ActivityAction", uuid[], uuid[], jsonb[]);
        create table public.own_log (entry text);
        grant insert on public.own_log to keyrow_reveal;
        grant create on schema keyrow to keyrow_reveal;
        set role keyrow_reveal;
        create function keyrow.log_credential_event(
          action public."ActivityAction", credential_id uuid, workspace_id uuid, details jsonb
        ) returns boolean language sql as $$
          insert into public.own_log values (action || ' ' || (details ->> 'name')) returning true $$;
        reset role`);
      await client.query(`begin; set local role keyrow_owner; ${upgrade}; commit`);
      await client.query(`
        insert into public.users (id, name, email) values ('00000000-0000-4000-8000-0000000000a1', 'Ana', 'ana@example.com');
        insert into public.user_credentials (user_id, name, provider, type, scope, encrypted_value)
          select '00000000-0000-4000-8000-0000000000a1', name, 'x', 'SECRET', 'USER', 'vault:v1:base64data'
          from unnest(array['one', 'two']) name;
        set jwt.claims.user_id = '00000000-0000-4000-8000-0000000000a1'; set keyrow.limits = 'none';
        set role keyrow_user;
        select keyrow.reveal_user_credentials(array(select id from public.user_credentials order by name));
        reset role`);
      return (await client.query("select entry from public.own_log")).rows.map(({ entry }) => entry);
    });
    t.deepEqual(rows, [
      "CREDENTIAL_CREATED one",
      "CREDENTIAL_CREATED two",
      "CREDENTIAL_ACCESSED one",
      "CREDENTIAL_ACCESSED two",
    ]);
  });
});

test("no function of the migrations is executable by everybody, with an application's own foundation as well", async (t) => {
  await withApplication(everythingOwn, async (database) => {
    await migrate(database.owner);
    const { functions } = await snapshot(database.superuser);
    const open = functions.filter(
      ({ owner, acl }) => owner.startsWith("keyrow_") && JSON.stringify(acl).includes("public "),
    );
    t.deepEqual(
      open.map(({ name }) => name),
      [],
    );
  });
});

// ------------------------------------------------------------------------------------------- watch, commit and uncommit

const included = "policies/user_credentials.sql";

test("watch, commit and uncommit work from a clean state, and uncommit gives the include lines back", async (t) => {
  const workshop = await openWorkshop();
  try {
    const { folder, database } = workshop;
    const current = `${folder}/migrations/current/1-current.sql`;
    const committed = () => readdir(`${folder}/migrations/committed`).then((names) => names.toSorted());
    const text = () => readFile(current, "utf8");
    const seen = async (name: string) =>
      (await snapshot(database.owner)).policies.some((policy) => policy.name === name);

    const [before, blank] = [await committed(), await text()];
    await workshop.run(["watch", "--once"]);
    t.deepEqual(await committed(), before);
    t.true(await seen("user_credentials_user_access"));

    await appendFile(
      `${folder}/migrations/fixtures/${included}`,
      `
        drop policy if exists user_credentials_select_probe on public.user_credentials;
        create policy user_credentials_select_probe on public.user_credentials
          for select to keyrow_user using (false);`,
    );
    await writeFile(current, `-- A probe.\n--! include ${included}\n`);
    await workshop.run(["watch", "--once"]);
    await workshop.run(["watch", "--once"]);
    t.true(await seen("user_credentials_select_probe"));

    await workshop.run(["commit", "-m", "a probe"]);
    const [added] = (await committed()).filter((name) => !before.includes(name));
    t.is(added, `${String(before.length + 1).padStart(6, "0")}-a-probe.sql`);
    const first = await readFile(`${folder}/migrations/committed/${added}`, "utf8");
    t.true(first.includes(`--! Included ${included}\n`) && first.includes("user_credentials_select_probe"));
    t.is((await text()).trim(), blank.trim(), "what is current is blank again");

    await workshop.run(["uncommit"]);
    t.deepEqual(await committed(), before);
    t.regex(await text(), new RegExp(`^--! ?include ${included}$`, "m"));
    t.notRegex(await text(), /create policy/);

    await workshop.run(["watch", "--once"]);
    await workshop.run(["commit", "-m", "a probe"]);
    t.is(await readFile(`${folder}/migrations/committed/${added}`, "utf8").then(normal), normal(first));
  } finally {
    await workshop.close();
  }
});

/** A migration without what depends on how its include line was spelt. */
function normal(migration: string): string {
  return migration.replace(/^--! Hash:.*$/m, "");
}

test("a migration that fails leaves nothing of itself, and nothing committed", async (t) => {
  const workshop = await openWorkshop();
  try {
    const { folder, database } = workshop;
    await workshop.run(["watch", "--once"]);
    const before = await snapshot(database.owner);
    const names = await readdir(`${folder}/migrations/committed`);
    await writeFile(
      `${folder}/migrations/current/1-current.sql`,
      "alter policy user_credentials_user_access on public.user_credentials using (true);\nselect 1 / 0;\n",
    );
    await t.throwsAsync(workshop.run(["watch", "--once"]));
    await t.throwsAsync(workshop.run(["commit", "-m", "broken"]));
    t.deepEqual(await snapshot(database.owner), before);
    t.deepEqual(await readdir(`${folder}/migrations/committed`), names);
  } finally {
    await workshop.close();
  }
});
