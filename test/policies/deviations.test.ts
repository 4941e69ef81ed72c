import test from "ava";
import { createTestDatabase } from "../helpers/database.ts";
import {
  type Claim,
  holdsBecauseOfIt,
  ids,
  inWorld,
  type Persona,
  personas,
  type Sandbox,
  sealed,
  superuser,
} from "./world.ts";

// design.md, section 5: each deviation from the specification, and what happens without it.

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");

const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const { owner: ana, stranger, worker } = personas;
const workspaceAdmin = personas["workspace admin"];
const workspaceOwner = personas["workspace owner"];
const dbAdmin = personas["DB admin"];
const tableOwner = personas["table owner"];

const withoutGuard = "alter table public.user_credentials disable trigger user_credentials_guard";

/** An insert; what is not given is a USER credential of Ana's. Null leaves a column out. */
function insert(columns: Record<string, string | null> = {}): string {
  const row: Record<string, string | null> = {
    user_id: ids.ana,
    name: "new",
    provider: "github",
    type: "API_KEY",
    encrypted_value: sealed(),
    key_id: "local:20260101-0000000a",
    ...columns,
  };
  const given = Object.entries(row).filter(([, value]) => value !== null);
  const values = given.map(([, value]) => `'${value?.replaceAll("'", "''")}'`);
  return `insert into public.user_credentials (${given.map(([name]) => name).join(", ")}) values (${values.join(", ")})`;
}

/** An update of one of the world's rows. */
function update(scope: "USER" | "WORKSPACE" | "SYSTEM", assignments: string): string {
  return `update public.user_credentials set ${assignments} where id = '${ids[scope]}'`;
}

/** One column of one of the world's rows, as text. */
async function read(sandbox: Sandbox, scope: "USER" | "WORKSPACE" | "SYSTEM", column: string): Promise<unknown> {
  const query = `select (${column})::text as value from public.user_credentials where id = '${ids[scope]}'`;
  const [row] = await sandbox.rows<{ value: string }>(superuser, query);
  return row?.value;
}

// ---------------------------------------------------------------------------------------------------- unique, and check

test("two USER credentials of one provider and name don't both pass", withoutIt, {
  scenario: async (s) => [await s.try(ana, insert()), await s.try(ana, insert())],
  holds: [1, "23505"],
  withoutIt: `
    drop index public.user_credentials_user_id_workspace_id_provider_name_key;
    create unique index user_credentials_user_id_workspace_id_provider_name_key
      on public.user_credentials (user_id, workspace_id, provider, name)`,
  broken: [1, 1],
});

const deploy = { workspace_id: ids.team, scope: "WORKSPACE", name: "deploy" };

test("two admins don't both have github/deploy in one workspace", withoutIt, {
  scenario: (s) => s.try(workspaceAdmin, insert({ ...deploy, user_id: ids.workspaceAdmin })),
  holds: "23505",
  withoutIt: "drop index public.user_credentials_workspace_id_provider_name_key",
  broken: 1,
});

test("a USER credential may have the name that the workspace's has", async (t) => {
  const came = await inWorld(pool, (s) => s.try(ana, insert({ ...deploy, scope: "USER" })));
  t.is(came, 1);
});

test("what an application brought that the API would not make is renewed, renamed and revoked, and grows no further", async (t) => {
  const large = (bytes: number) => "x".repeat(bytes);
  for (const column of ["name", "provider", "description", "metadata"]) {
    const named = column === "name" || column === "provider";
    const json = (text: string) => (column === "metadata" ? JSON.stringify({ text }) : text);
    const brought = { name: "brought", [column]: named ? "" : json(large(20_000)) };
    const change = (assignment: string) => `update public.user_credentials set ${assignment} where type = 'CUSTOM'`;
    await inWorld(pool, async (s) => {
      t.is(await s.try(ana, insert({ ...brought, type: "CUSTOM" })), named ? "23514" : "54000", column);
      t.is(await s.try(superuser, insert({ ...brought, type: "CUSTOM" })), 1);
      t.is(await s.try(ana, change(`encrypted_value = '${sealed("B")}'`)), 1, column);
      t.is(await s.try(ana, change("is_active = false")), 1, column);
      t.is(await s.try(ana, change(`${column} = '${json("shorter")}'`)), 1, column);
      t.is(await s.try(ana, change(`${column} = '${brought[column]}'`)), named ? "23514" : "54000", column);
    });
  }
});

test("a WORKSPACE credential has a workspace", withoutIt, {
  scenario: (s) => s.try(tableOwner, insert({ scope: "WORKSPACE" })),
  holds: "23514",
  withoutIt: "alter table public.user_credentials drop constraint user_credentials_workspace_scope",
  broken: 1,
});

const plaintexts = [
  "",
  "hunter2",
  "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
  "sk-proj-abcdef",
  "a:b:c",
  "user:password:host",
  "::",
  "00:11:22",
  "vault:hunter2",
  "vault:v0:aHVudGVyMg==",
  "vault:v1:",
  "vault:v1:not base64!",
  "vault:v1:hunter2\nhunter2",
  '{"password":"hunter2"}',
  "-----BEGIN PRIVATE KEY-----",
  "https://user:password@example.org/",
  ` ${sealed()}`,
  `${sealed()}\n`,
  `${sealed()} hunter2`,
  sealed().slice(1),
  sealed().replaceAll("A", "ä"),
];

test("plaintext is stored by nobody, not even by the table's owner or a superuser", async (t) => {
  await inWorld(pool, async (s) => {
    for (const text of plaintexts) {
      for (const key_id of [
        "legacy",
        "local:20260101-0000000a",
        "transit:keyrow:1",
        "none",
        "local:",
        "transit:",
        "",
        "LEGACY",
      ]) {
        for (const who of [ana, dbAdmin, tableOwner, superuser]) {
          const came = await s.try(who, insert({ encrypted_value: text, key_id }));
          t.true(
            came === "23514" || (who === ana && came === "42501"),
            `${JSON.stringify(text)} under ${key_id}: ${came}`,
          );
        }
      }
    }
    for (const who of [ana, dbAdmin, tableOwner, superuser, worker]) {
      t.is(await s.try(who, update("USER", "encrypted_value = 'hunter2'")), "23514");
    }
  });
});

test("plaintext is refused by the check alone", withoutIt, {
  scenario: (s) => s.try(tableOwner, insert({ encrypted_value: "hunter2" })),
  holds: "23514",
  withoutIt: "alter table public.user_credentials drop constraint user_credentials_encrypted_value_form",
  broken: 1,
});

const vault = `vault:v1:${"A".repeat(40)}`;

test("key_id fits the form: a local key has no vault value, a transit key no local one, an unknown key none", async (t) => {
  await inWorld(pool, async (s) => {
    const forms = {
      "local:20260101-0000000a": [1, "23514"],
      "transit:keyrow:1": ["23514", 1],
      legacy: [1, 1],
      other: ["23514", "23514"],
    };
    for (const [key_id, expected] of Object.entries(forms)) {
      const came = [
        await s.try(tableOwner, insert({ key_id, name: `${key_id} 1` })),
        await s.try(tableOwner, insert({ key_id, name: `${key_id} 2`, encrypted_value: vault })),
      ];
      t.deepEqual(came, expected, key_id);
    }
  });
});

test("a row that names no key is of the legacy key", withoutIt, {
  scenario: (s) => s.try(tableOwner, `${insert({ key_id: null })} returning (key_id = 'legacy')::text`),
  holds: 1,
  withoutIt: "alter table public.user_credentials alter column key_id drop default",
  broken: "23502",
});

test("through the API nothing comes in under the legacy key, whose form plaintext could have", withoutIt, {
  scenario: async (s) => [
    await s.try(ana, insert({ key_id: "legacy", encrypted_value: "vault:v1:hunter2" })),
    await s.try(ana, insert({ key_id: null, encrypted_value: "vault:v1:hunter2" })),
  ],
  holds: ["42501", "42501"],
  withoutIt: "drop policy user_credentials_insert_sealed on public.user_credentials",
  broken: [1, "23505"],
});

test("through the API no value is replaced by one under the legacy key either", withoutIt, {
  scenario: async (s) => {
    await s.run(insert({ key_id: null, name: "old" }));
    return [
      await s.try(ana, update("USER", "encrypted_value = 'vault:v1:hunter2', key_id = 'legacy'")),
      await s.try(ana, "update public.user_credentials set encrypted_value = 'vault:v1:hunter2' where name = 'old'"),
      // What is there under it can still be renamed, revoked, and sealed anew.
      await s.try(ana, "update public.user_credentials set name = 'older' where name = 'old'"),
      await s.try(
        ana,
        `update public.user_credentials set encrypted_value = '${vault}', key_id = 'transit:k' where name = 'older'`,
      ),
    ];
  },
  holds: ["42501", "42501", 1, 1],
  withoutIt: withoutGuard,
  broken: [1, 1, 1, 1],
});

// --------------------------------------------------------------------------------------- in whose name, and with what

test("an admin creates no workspace credential in a stranger's name", withoutIt, {
  scenario: (s) => s.try(workspaceAdmin, insert({ ...deploy, name: "new", user_id: ids.stranger })),
  holds: "42501",
  withoutIt: "drop policy user_credentials_insert_own on public.user_credentials",
  broken: 1,
});

test("an admin may still change what another admin made", async (t) => {
  const came = await inWorld(pool, (s) => s.try(workspaceAdmin, update("WORKSPACE", "description = 'mine now'")));
  t.is(came, 1);
});

test("the owner of a new credential is the asking user where none is named", async (t) => {
  await inWorld(pool, async (s) => {
    await s.become(stranger);
    const { rows } = await s.client.query(`${insert({ user_id: null })} returning user_id`);
    t.deepEqual(rows, [{ user_id: ids.stranger }]);
  });
});

test("a credential names no workspace that its creator does not belong to", withoutIt, {
  scenario: async (s) => [
    await s.try(ana, insert({ workspace_id: ids.otherTeam })),
    await s.try(ana, insert({ workspace_id: ids.team, name: "noted" })),
  ],
  holds: ["42501", 1],
  withoutIt: "drop policy user_credentials_insert_own_workspace on public.user_credentials",
  broken: [1, 1],
});

const fixed = {
  id: `'${ids.stranger}'`,
  user_id: `'${ids.stranger}'`,
  workspace_id: `'${ids.otherTeam}'`,
  scope: "'WORKSPACE'",
  last_used_at: "now()",
  rotated_at: "now()",
  created_at: "now()",
  updated_at: "now()",
};

for (const [column, value] of Object.entries(fixed)) {
  test(`the API does not update ${column}`, withoutIt, {
    scenario: (s) => s.try(ana, update("USER", `${column} = ${value}`)),
    holds: "42501",
    withoutIt: `grant update (${column}) on public.user_credentials to keyrow_user; ${withoutGuard}`,
    // Who is granted the owner or the scope still meets the policy.
    broken: column === "user_id" || column === "scope" ? "42501" : 1,
  });
}

const columnsOfInsert = {
  is_active: "false",
  last_used_at: "now",
  rotated_at: "now",
  created_at: "now",
  updated_at: "now",
};

for (const [column, value] of Object.entries(columnsOfInsert)) {
  test(`the API does not set ${column} of a new credential`, withoutIt, {
    scenario: (s) => s.try(ana, insert({ [column]: value })),
    holds: "42501",
    withoutIt: `grant insert (${column}) on public.user_credentials to keyrow_user`,
    broken: 1,
  });
}

test("a DB admin can hand a WORKSPACE credential over, and not a USER credential", withoutIt, {
  scenario: async (s) => [
    await s.try(dbAdmin, update("WORKSPACE", `user_id = '${ids.workspaceOwner}'`)),
    await s.try(dbAdmin, update("SYSTEM", `user_id = '${ids.workspaceOwner}'`)),
    await s.try(dbAdmin, update("USER", `user_id = '${ids.workspaceOwner}'`)),
  ],
  holds: [1, 1, "23001"],
  withoutIt: withoutGuard,
  broken: [1, 1, 1],
});

for (const [what, assignment] of Object.entries({
  id: `id = '${ids.stranger}'`,
  "key id": "key_id = 'local:20260101-0000000c'",
  scope: "scope = 'SYSTEM'",
})) {
  test(`the ${what} doesn't change under a value that is bound to it, not even for the table's owner`, withoutIt, {
    scenario: async (s) => [
      await s.try(tableOwner, update("WORKSPACE", assignment)),
      await s.try(tableOwner, update("WORKSPACE", `${assignment}, encrypted_value = '${sealed("B")}'`)),
    ],
    holds: ["23001", 1],
    withoutIt: withoutGuard,
    broken: [1, what === "id" ? 0 : 1],
  });
}

test(
  "the workspace of a WORKSPACE credential doesn't change under its value, that of a USER credential may",
  withoutIt,
  {
    scenario: async (s) => [
      await s.try(tableOwner, update("WORKSPACE", `workspace_id = '${ids.otherTeam}'`)),
      await s.try(tableOwner, update("USER", `workspace_id = '${ids.otherTeam}'`)),
    ],
    holds: ["23001", 1],
    withoutIt: withoutGuard,
    broken: [1, 1],
  },
);

test("the API changes no key id without a new value", withoutIt, {
  scenario: (s) => s.try(ana, update("USER", "key_id = 'local:20260101-0000000c'")),
  holds: "23001",
  withoutIt: withoutGuard,
  broken: 1,
});

// ----------------------------------------------------------------------------------------------------- revoked, renewed

test("a revoked value never opens again: un-revoking is refused to everybody", withoutIt, {
  scenario: async (s) => {
    const came = [await s.try(ana, update("USER", "is_active = false"))];
    for (const who of [ana, dbAdmin, tableOwner, superuser]) {
      came.push(await s.try(who, update("USER", "is_active = true")));
    }
    return came;
  },
  holds: [1, "23514", "23514", "23514", "23514"],
  withoutIt: withoutGuard,
  broken: [1, 1, 1, 1, 1],
});

test("a new value makes a revoked credential active again", withoutIt, {
  scenario: async (s) => {
    await s.try(ana, update("USER", "is_active = false"));
    await s.try(ana, update("USER", `encrypted_value = '${sealed("B")}'`));
    return [await read(s, "USER", "is_active"), await read(s, "USER", "rotated_at is not null")];
  },
  holds: ["true", "true"],
  withoutIt: withoutGuard,
  broken: ["false", "false"],
});

test("revoking and giving a new value in one statement raises", withoutIt, {
  scenario: (s) => s.try(ana, update("USER", `is_active = false, encrypted_value = '${sealed("B")}'`)),
  holds: "23514",
  withoutIt: withoutGuard,
  broken: 1,
});

test("a new value outlives the date at which the old one expired", withoutIt, {
  scenario: async (s) => {
    await s.run(update("USER", "expires_at = now() - interval '1 day'"));
    await s.try(ana, update("USER", `encrypted_value = '${sealed("B")}'`));
    return read(s, "USER", "expires_at is null");
  },
  holds: "true",
  withoutIt: withoutGuard,
  broken: "false",
});

test("the date given along with a new value stays", async (t) => {
  const came = await inWorld(pool, async (s) => {
    await s.run(update("USER", "expires_at = now() - interval '1 day'"));
    await s.try(ana, update("USER", `encrypted_value = '${sealed("B")}', expires_at = '2099-01-01T00:00Z'`));
    return read(s, "USER", "expires_at at time zone 'UTC'");
  });
  t.is(came, "2099-01-01 00:00:00");
});

// --------------------------------------------------------------------------------------------- users and workspaces go

const remove = (user: string) => `delete from public.users where id = '${user}'`;

test("deleting a user whose id WORKSPACE credentials carry is refused", withoutIt, {
  scenario: (s) => s.try(dbAdmin, remove(ids.removedAdmin)),
  holds: "23001",
  withoutIt: "alter table public.user_credentials disable trigger user_credentials_refuse_orphaning",
  broken: 1,
});

test(
  "deleting a user whose id SYSTEM credentials carry is refused, to the table's owner and superuser too",
  withoutIt,
  {
    scenario: async (s) => [
      await s.try(dbAdmin, remove(ids.ana)),
      await s.try(tableOwner, remove(ids.ana)),
      await s.try(superuser, remove(ids.ana)),
    ],
    holds: ["23001", "23001", "23001"],
    withoutIt: "alter table public.user_credentials disable trigger user_credentials_refuse_orphaning",
    broken: [1, 0, 0],
  },
);

test("the refusal names the remedy, and neither the credential nor the user", async (t) => {
  const error = await inWorld(pool, (s) => s.error(dbAdmin, remove(ids.ana)));
  t.is(error.constraint, "user_credentials_handover_first");
  t.regex(error.hint ?? "", /keyrow handover/);
  t.notRegex(`${error.message} ${error.detail} ${error.hint}`, /mail|smtp|0000a1/);
});

test("after a handover the user can go", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(dbAdmin, update("WORKSPACE", `user_id = '${ids.workspaceOwner}'`)), 1);
    t.is(await s.try(dbAdmin, remove(ids.removedAdmin)), 1);
    t.is(await read(s, "WORKSPACE", "name"), "deploy");
  });
});

test("a user with USER credentials alone can be deleted, and these are on the record as revoked and deleted", async (t) => {
  await inWorld(pool, async (s) => {
    await s.try(dbAdmin, `delete from public.user_credentials where id = '${ids.SYSTEM}'`);
    t.is(await s.try(dbAdmin, remove(ids.ana)), 1);
    t.is(await read(s, "USER", "name"), undefined);
    const log = await s.rows(
      superuser,
      `select action, details, user_id, session_role from public.activity_logs
       where entity_id = '${ids.USER}' and action <> 'CREDENTIAL_CREATED'`,
    );
    t.deepEqual(log, [
      {
        action: "CREDENTIAL_REVOKED",
        details: { provider: "github", name: "mine", scope: "USER", deleted: true },
        user_id: null,
        session_role: "postgres",
      },
    ]);
  });
});

test("a workspace can be deleted along with its credentials, and they are on the record", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(dbAdmin, `delete from public.workspaces where id = '${ids.team}'`), 1);
    t.is(await read(s, "WORKSPACE", "name"), undefined);
    const log = await s.rows(
      superuser,
      `select details from public.activity_logs
       where workspace_id = '${ids.team}' and action = 'CREDENTIAL_REVOKED'`,
    );
    t.deepEqual(log, [{ details: { provider: "github", name: "deploy", scope: "WORKSPACE", deleted: true } }]);
  });
});

test("a WORKSPACE or SYSTEM credential can be deleted by itself, and leaves no probe behind", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(workspaceAdmin, `delete from public.user_credentials where id = '${ids.WORKSPACE}'`), 1);
    t.is(await s.try(dbAdmin, `delete from public.user_credentials where id = '${ids.SYSTEM}'`), 1);
    t.deepEqual(await s.rows(superuser, "select user_id from keyrow.user_probe"), []);
  });
});

test("a user's id does not change under a USER credential", withoutIt, {
  scenario: (s) => s.try(dbAdmin, `update public.users set id = '${ids.SYSTEM}' where id = '${ids.ana}'`),
  holds: "23001",
  withoutIt: withoutGuard,
  broken: 1,
});

test("a user's id may change under a WORKSPACE credential, whose value is not bound to it", async (t) => {
  await inWorld(pool, async (s) => {
    const change = `update public.users set id = '${ids.SYSTEM}' where id = '${ids.removedAdmin}'`;
    t.is(await s.try(dbAdmin, change), 1);
    t.is(await read(s, "WORKSPACE", "user_id"), ids.SYSTEM);
  });
});

// ----------------------------------------------------------------------------------------------------------- updated_at

/** What a statement makes of an old `updated_at`. */
const moved = (who: Persona, statement: string) => async (s: Sandbox) => {
  await s.run(`
    insert into public.user_credentials (id, user_id, name, provider, type, encrypted_value, key_id, updated_at)
    values ('${ids.stranger}', '${ids.ana}', 'old', 'github', 'API_KEY', '${sealed()}', 'local:20260101-0000000a', '2020-01-01')`);
  const came = await s.try(who, statement.replace("$id", `'${ids.stranger}'`));
  const [row] = await s.rows<{ moved: boolean; touched: boolean }>(
    superuser,
    `select updated_at = now() as moved, last_used_at is not null as touched from public.user_credentials
     where id = '${ids.stranger}'`,
  );
  return [came, row?.moved ? "moved" : "kept", row?.touched ? "touched" : "untouched"];
};

const rewrap = `update public.user_credentials set encrypted_value = '${sealed("B")}', key_id = 'local:20260101-0000000b' where id = $id`;
const withoutKeep = "drop trigger user_credentials_updated_at_keep on public.user_credentials";

test("updated_at moves when somebody changes a credential", withoutIt, {
  scenario: moved(ana, "update public.user_credentials set description = 'x' where id = $id"),
  holds: [1, "moved", "untouched"],
  withoutIt: "drop trigger user_credentials_updated_at on public.user_credentials",
  broken: [1, "kept", "untouched"],
});

test("updated_at stays when the worker reseals a value", withoutIt, {
  scenario: moved(worker, rewrap),
  holds: [1, "kept", "untouched"],
  withoutIt: withoutKeep,
  broken: [1, "moved", "untouched"],
});

test("updated_at stays when the server touches a credential", withoutIt, {
  scenario: moved({ login: "keyrow_authenticator", user: null }, "select keyrow.touch(array[$id]::uuid[])"),
  holds: [1, "kept", "touched"],
  withoutIt: withoutKeep,
  broken: [1, "moved", "touched"],
});

test("a second touch in the same minute writes nothing", async (t) => {
  await inWorld(pool, async (s) => {
    const touch = `select keyrow.touch(array['${ids.USER}']::uuid[])`;
    const server: Persona = { login: "keyrow_authenticator", user: null };
    await s.try(server, touch);
    const first = await read(s, "USER", "ctid");
    await s.try(server, touch);
    t.is(await read(s, "USER", "ctid"), first);
  });
});

// -------------------------------------------------------------------------------------------------------- column grants

const readers: ReadonlyArray<[name: string, who: Persona, expected: number | string]> = [
  ["keyrow_authenticator", { login: "keyrow_authenticator", user: null }, "42501"],
  ["keyrow_user", ana, "42501"],
  ["keyrow_anonymous", personas.anonymous, "42501"],
  ["keyrow_admin", dbAdmin, "42501"],
  ["keyrow_migrate", { login: "keyrow_migrate", user: null }, "42501"],
  ["keyrow_reveal", { login: "keyrow_migrate", role: "keyrow_reveal", user: ids.ana }, 1],
  ["keyrow_worker", worker, 3],
  ["keyrow_owner", tableOwner, 3],
];

for (const [name, who, expected] of readers) {
  test(`${name} selects the ciphertext: ${expected}`, async (t) => {
    const came = await inWorld(pool, (s) => s.try(who, "select encrypted_value from public.user_credentials"));
    t.is(came, expected);
  });
}

test("only column grants hide the ciphertext", withoutIt, {
  scenario: (s) => s.try(ana, "select encrypted_value from public.user_credentials"),
  holds: "42501",
  withoutIt: "grant select on public.user_credentials to keyrow_user",
  broken: 1,
});

test("no wording gets an API role or a DB admin the ciphertext of a row they see", async (t) => {
  const id = `where id = '${ids.USER}'`;
  const wordings = [
    `select * from public.user_credentials ${id}`,
    `select c from public.user_credentials c ${id}`,
    `select to_jsonb(c) from public.user_credentials c ${id}`,
    `select (c).encrypted_value from public.user_credentials c ${id}`,
    `select count(c.*) from public.user_credentials c ${id}`,
    `select md5(encrypted_value) from public.user_credentials ${id}`,
    `select id from public.user_credentials where encrypted_value like 'A%'`,
    `select id from public.user_credentials order by encrypted_value`,
    `update public.user_credentials set description = encrypted_value ${id}`,
    `update public.user_credentials set description = 'x' ${id} returning encrypted_value`,
    `update public.user_credentials set description = 'x' where encrypted_value like 'A%'`,
    `delete from public.user_credentials ${id} returning *`,
    `insert into public.user_credentials (user_id, name, provider, type, encrypted_value, key_id)
       select user_id, 'copy', provider, type, encrypted_value, key_id from public.user_credentials ${id}`,
    `${insert()} on conflict (id) do update set description = excluded.encrypted_value`,
    `${insert()} returning encrypted_value`,
    `copy public.user_credentials to stdout`,
    `copy (select encrypted_value from public.user_credentials) to stdout`,
    `table public.user_credentials`,
    `select json_agg(c) from public.user_credentials c`,
    `merge into public.user_credentials c using (values (1)) v on c.id = '${ids.USER}'
       when matched then update set description = c.encrypted_value`,
  ];
  await inWorld(pool, async (s) => {
    for (const who of [ana, dbAdmin]) {
      for (const wording of wordings) t.is(await s.try(who, wording), "42501", wording);
    }
  });
});

// ------------------------------------------------------------------------------------------------- the bypass, and temp

test("with claims the table's owner and DB admins see nothing: the bypass is for sessions without", withoutIt, {
  scenario: async (s) => [
    await s.try({ ...dbAdmin, user: ids.ana }, "select id from public.user_credentials"),
    await s.try({ ...tableOwner, user: ids.ana }, "select id from public.user_credentials"),
    await s.try(dbAdmin, "select id from public.user_credentials"),
  ],
  holds: [0, 0, 3],
  withoutIt: "alter policy user_credentials_owner_bypass on public.user_credentials using (true)",
  broken: [3, 3, 3],
});

test("a malformed claim opens no bypass: it is an error to the owner and to DB admins", async (t) => {
  await inWorld(pool, async (s) => {
    for (const who of [dbAdmin, tableOwner]) {
      t.is(await s.try({ ...who, user: "not-a-uuid" }, "select id from public.user_credentials"), "22P02");
    }
  });
});

test("the bypass is for the owner and DB admins alone: an API session without claims has none", withoutIt, {
  scenario: async (s) => s.try(personas["no claims"], `select id from public.user_credentials where scope = 'SYSTEM'`),
  holds: 0,
  withoutIt: "alter policy user_credentials_owner_bypass on public.user_credentials to public",
  broken: 1,
});

test("FORCE binds the table's owner: without it claims don't count for it", withoutIt, {
  scenario: (s) => s.try({ ...tableOwner, user: ids.ana }, "select id from public.user_credentials"),
  holds: 0,
  withoutIt: "alter table public.user_credentials no force row level security",
  broken: 3,
});

const temporary = "create temporary table workspace_members (workspace_id uuid, user_id uuid, role text)";

for (const who of ["owner", "anonymous", "worker", "DB admin"] as const) {
  test(`${who} can't make temporary tables`, withoutIt, {
    scenario: (s) => s.try(personas[who], temporary),
    holds: "42501",
    withoutIt: `grant temporary on database ${database.name} to public`,
    broken: 0,
  });
}

test("a temporary workspace_members, however made, does not fool is_workspace_admin", withoutIt, {
  scenario: async (s) => {
    await s.run(`
      ${temporary};
      insert into workspace_members values ('${ids.team}', '${ids.stranger}', 'OWNER');
      grant select on workspace_members to public`);
    const query = `select public.is_workspace_admin('${ids.team}', '${ids.stranger}') as fooled`;
    return s.rows({ ...stranger, login: "keyrow_authenticator" }, query);
  },
  holds: [{ fooled: false }],
  withoutIt: `
    create or replace function public.is_workspace_admin(workspace_id uuid, user_id uuid) returns boolean
    language sql stable security definer as $$
      select exists (select from workspace_members m
        where m.workspace_id = $1 and m.user_id = $2 and m.role::text in ('OWNER', 'ADMIN'))
    $$`,
  broken: [{ fooled: true }],
});

test("a workspace owner's rights are those of an admin", async (t) => {
  const came = await inWorld(pool, (s) => s.try(workspaceOwner, update("WORKSPACE", "description = 'x'")));
  t.is(came, 1);
});
