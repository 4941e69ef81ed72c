import { randomBytes, randomUUID } from "node:crypto";
import test from "ava";
import { createTestDatabase, type Login } from "../helpers/database.ts";
import { systemRevealers } from "./matrix.ts";
import {
  holdsBecauseOfIt,
  ids,
  inWorld,
  type Outcome,
  type Persona,
  type PersonaName,
  personas,
  type Sandbox,
  sealed,
  superuser,
} from "./world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");

const call = "select * from keyrow.reveal_system_credentials($1::uuid[]) order by id";
const all = [ids.USER, ids.WORKSPACE, ids.SYSTEM];

/** A DB admin as there are in production: a login of their own, which may become keyrow_admin and is no superuser. */
async function dbAdmin(s: Sandbox, user: string | null = null): Promise<Persona> {
  // Gone with the transaction.
  const login = `admin_${randomBytes(6).toString("hex")}`;
  await s.run(`create role ${login} login noinherit; grant keyrow_admin to ${login}`);
  return { login: login as Login, role: "keyrow_admin", user };
}

/** The entries of reveals. */
function accessed(s: Sandbox) {
  return s.rows(
    superuser,
    `select user_id, workspace_id, entity_id, session_role, details
     from public.activity_logs where action = 'CREDENTIAL_ACCESSED'`,
  );
}

test("a DB admin reveals SYSTEM credentials and no others, on the record under their own login", async (t) => {
  await inWorld(pool, async (s) => {
    const alice = await dbAdmin(s);
    t.deepEqual(await s.rows(alice, call, [all]), [
      {
        id: ids.SYSTEM,
        refusal: null,
        recorded: true,
        encrypted_value: sealed(),
        key_id: "local:20260101-0000000a",
        scope: "SYSTEM",
        user_id: ids.ana,
        workspace_id: null,
      },
    ]);
    t.deepEqual(await accessed(s), [
      {
        user_id: null,
        workspace_id: null,
        entity_id: ids.SYSTEM,
        session_role: alice.login,
        details: { provider: "smtp", name: "mail", scope: "SYSTEM" },
      },
    ]);
  });
});

for (const name of Object.keys(personas) as PersonaName[]) {
  const expected = systemRevealers[name] ?? "42501";
  test(`${name} reveals a SYSTEM credential: ${expected === 1 ? "done" : expected}`, async (t) => {
    await inWorld(pool, async (s) => t.is(await s.try(personas[name], call, [[ids.SYSTEM]]), expected));
  });
}

for (const [title, user, expected] of [
  ["claims", ids.ana, "28000"],
  ["malformed claims", "not-a-uuid", "22P02"],
] as const) {
  test(`with ${title}, a DB admin reveals nothing`, async (t) => {
    await inWorld(pool, async (s) => {
      t.is(await s.try(await dbAdmin(s, user), call, [all]), expected);
      t.deepEqual(await accessed(s), []);
    });
  });
}

test("the role keyrow_admin is not enough: the login must be one that may become it", async (t) => {
  await inWorld(pool, async (s) => {
    // A grant by mistake, and to the server's login, which must not gain by it.
    await s.run("grant execute on function keyrow.reveal_system_credentials(uuid[]) to keyrow_user");
    t.is(await s.try(personas["no claims"], call, [all]), "42501");
    t.is(await s.try(personas.owner, call, [all]), "28000");
    t.deepEqual(await accessed(s), []);
  });
});

test("a revoked or expired one comes with its refusal alone, and is not on the record", async (t) => {
  await inWorld(pool, async (s) => {
    const alice = await dbAdmin(s);
    const set = (assignment: string) =>
      s.run(`update public.user_credentials set ${assignment} where id = '${ids.SYSTEM}'`);
    for (const [assignment, refusal] of [
      ["expires_at = now()", "CREDENTIAL_EXPIRED"],
      ["is_active = false", "CREDENTIAL_REVOKED"],
    ] as const) {
      await set(assignment);
      t.like((await s.rows(alice, call, [all]))[0], { refusal, recorded: false, encrypted_value: null, key_id: null });
    }
    t.deepEqual(await accessed(s), []);
  });
});

test("1000 values at once are the limit", async (t) => {
  await inWorld(pool, async (s) => {
    const asked = Array.from({ length: 1001 }, () => randomUUID());
    t.is(await s.try(await dbAdmin(s), call, [asked]), "54000");
  });
});

test("nothing is revealed when the record can't be written", async (t) => {
  await holdsBecauseOfIt(t, pool, {
    scenario: async (s) => s.try(await dbAdmin(s), call, [all]),
    holds: 1,
    withoutIt: "revoke insert on public.activity_logs from keyrow_reveal",
    broken: "42501",
  });
});

// ------------------------------------------------------------- the policy by itself, behind a function that asks nothing

const naive = `
  grant create on schema keyrow to keyrow_reveal;
  set local role keyrow_reveal;
  create function keyrow.naive() returns setof uuid language sql security definer
    set search_path = pg_catalog, pg_temp as $$ select id from public.user_credentials where scope = 'SYSTEM' $$;
  grant execute on function keyrow.naive() to public;
  reset role`;

const senseless: readonly PersonaName[] = [
  "machine, an unknown limit",
  "admin, an unknown limit",
  "admin, no limits in the list",
  "admin, a revoked token",
  "admin, a token made of a revoked one",
  "admin, a token that has ended",
  "admin, an unknown token",
  "stranger, somebody else's token",
];

test("the policy holds by itself: a function of keyrow_reveal that asks nothing shows SYSTEM rows to DB admins alone", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run(naive);
    const look = "select keyrow.naive()";
    // Who can't use the schema, and whose claims or limits can't be read.
    const others: Partial<Record<PersonaName, Outcome>> = {
      "DB admin": 1,
      anonymous: "42501",
      "malformed claims": "22P02",
      ...Object.fromEntries(senseless.map((name) => [name, "28000"])),
    };
    for (const name of Object.keys(personas) as PersonaName[]) {
      const came = await s.try(personas[name], look);
      t.is(came, others[name] ?? 0, name);
    }
    t.is(await s.try(await dbAdmin(s), look), 1);
    t.is(await s.try(await dbAdmin(s, ids.ana), look), 0);
  });
});

for (const [title, using, who] of [
  [
    "without claims",
    "scope = 'SYSTEM' and (select pg_catalog.pg_has_role(session_user, 'keyrow_admin', 'MEMBER'))",
    (s: Sandbox) => dbAdmin(s, ids.ana),
  ],
  [
    "for a DB admin's login",
    "scope = 'SYSTEM' and (select public.current_user_id()) is null",
    async (): Promise<Persona> => ({ login: "keyrow_authenticator", user: null }),
  ],
] as const) {
  test(`the policy needs its condition "${title}"`, async (t) => {
    await holdsBecauseOfIt(t, pool, {
      scenario: async (s) => {
        await s.run(naive);
        return s.try(await who(s), "select keyrow.naive()");
      },
      holds: 0,
      withoutIt: `alter policy user_credentials_select_system_reveal on public.user_credentials using (${using})`,
      broken: 1,
    });
  });
}

test("users' own reveals see no SYSTEM row, whoever's login it is", async (t) => {
  await inWorld(pool, async (s) => {
    const alice = await dbAdmin(s, ids.ana);
    await s.run(`grant keyrow_user to ${alice.login}`);
    const rows = await s.rows({ ...alice, role: "keyrow_user" }, "select id from keyrow.reveal_user_credentials($1)", [
      all,
    ]);
    t.deepEqual(rows, [{ id: ids.USER }]);
    const reveal = "select from keyrow.reveal_user_credentials($1)";
    t.is(await s.try({ ...alice, role: "keyrow_user", user: null }, reveal, [all]), "28000");
  });
});

test("a DB admin notes the use, and reads no ciphertext but through the function", async (t) => {
  await inWorld(pool, async (s) => {
    const alice = await dbAdmin(s);
    t.is(await s.try(alice, "select keyrow.touch($1)", [[ids.SYSTEM]]), 1);
    t.is(await s.try(alice, "select encrypted_value from public.user_credentials"), "42501");
    await t.throwsAsync(s.become({ ...alice, role: "keyrow_reveal" }), { code: "42501" });
  });
});

test("whatever plan Postgres takes, what a DB admin may not see is left out and raises nothing", async (t) => {
  await inWorld(pool, async (s) => {
    const alice = await dbAdmin(s);
    await s.run("analyze public.user_credentials");
    for (const off of [["seqscan"], ["indexscan", "bitmapscan"], ["seqscan", "indexscan"]]) {
      for (const way of ["seqscan", "indexscan", "bitmapscan"]) {
        await s.run(`set local enable_${way} = ${off.includes(way) ? "off" : "on"}`);
      }
      t.is(await s.try(alice, call, [all]), 1, `without ${off}`);
    }
  });
});
