import { randomUUID } from "node:crypto";
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

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");
const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const { owner: ana, stranger } = personas;
const server: Persona = { login: "keyrow_authenticator", user: null };

interface Revealed {
  id: string;
  refusal: string | null;
  recorded: boolean;
  encrypted_value: string | null;
  key_id: string | null;
  scope: string;
  user_id: string;
  workspace_id: string | null;
}

const call = "select * from keyrow.reveal_user_credentials($1::uuid[]) order by id";

/** What revealing gives somebody. */
function reveal(s: Sandbox, who: Persona, asked: Array<string | null>): Promise<Revealed[]> {
  return s.rows<Revealed>(who, call, [asked]);
}

/** How often each credential is on the record as revealed. */
async function accessed(s: Sandbox): Promise<Record<string, number>> {
  const rows = await s.rows<{ entity_id: string; times: number }>(
    superuser,
    `select entity_id, count(*)::int as times from public.activity_logs
     where action = 'CREDENTIAL_ACCESSED' group by entity_id`,
  );
  return Object.fromEntries(rows.map((row) => [row.entity_id, row.times]));
}

test("a reveal gives the ciphertext with its key and its context, and is on the record", async (t) => {
  await inWorld(pool, async (s) => {
    t.deepEqual(await reveal(s, ana, [ids.USER]), [
      {
        id: ids.USER,
        refusal: null,
        recorded: true,
        encrypted_value: sealed(),
        key_id: "local:20260101-0000000a",
        scope: "USER",
        user_id: ids.ana,
        workspace_id: ids.team,
      },
    ]);
    const [entry] = await s.rows(superuser, "select * from public.activity_logs where action = 'CREDENTIAL_ACCESSED'");
    t.like(entry, {
      user_id: ids.ana,
      // It is Ana's own, whatever workspace it notes: the workspace's admins don't read of it.
      workspace_id: null,
      entity_type: "CREDENTIAL",
      entity_id: ids.USER,
      session_role: "keyrow_authenticator",
      details: { provider: "github", name: "mine", scope: "USER" },
    });
  });
});

test("each revealed credential has exactly one entry; hidden, revoked, expired and missing ones have none", async (t) => {
  await inWorld(pool, async (s) => {
    const [second, revoked, expired] = [randomUUID(), randomUUID(), randomUUID()];
    for (const id of [second, revoked, expired]) {
      await s.run(`
        insert into public.user_credentials (id, user_id, name, provider, type, encrypted_value, key_id)
        values ('${id}', '${ids.ana}', '${id}', 'x', 'SECRET', '${sealed()}', 'local:20260101-0000000a')`);
    }
    await s.run(`
      update public.user_credentials set is_active = false where id = '${revoked}';
      update public.user_credentials set expires_at = now() where id = '${expired}'`);
    const asked = [ids.USER, ids.USER, second, revoked, expired, ids.WORKSPACE, ids.SYSTEM, randomUUID(), null];
    const rows = await reveal(s, ana, asked);
    const came = Object.fromEntries(rows.map((row) => [row.id, row.refusal ?? "revealed"]));
    t.deepEqual(came, {
      [ids.USER]: "revealed",
      [second]: "revealed",
      [revoked]: "CREDENTIAL_REVOKED",
      [expired]: "CREDENTIAL_EXPIRED",
    });
    for (const row of rows.filter(({ refusal }) => refusal)) {
      t.like(row, { recorded: false, encrypted_value: null, key_id: null });
    }
    t.deepEqual(await accessed(s), { [ids.USER]: 1, [second]: 1 });
  });
});

test("a reveal that finds nothing records nothing", async (t) => {
  await inWorld(pool, async (s) => {
    for (const asked of [[], [null], [randomUUID()], [ids.SYSTEM]]) t.deepEqual(await reveal(s, ana, asked), []);
    t.deepEqual(await s.rows(ana, "select * from keyrow.reveal_user_credentials(null)"), []);
    t.deepEqual(await accessed(s), {});
  });
});

test("1000 values at once are the limit, and beyond it nothing is recorded", async (t) => {
  const asked = (count: number) => [ids.USER, ...Array.from({ length: count - 1 }, () => randomUUID())];
  await inWorld(pool, async (s) => {
    t.is(await s.try(ana, call, [asked(1001)]), "54000");
    t.deepEqual(await accessed(s), {});
    t.is(await s.try(ana, call, [asked(1000)]), 1);
  });
});

test("ciphertexts of as many bytes as asked for are given; of one more, none, and nothing is recorded", async (t) => {
  await inWorld(pool, async (s) => {
    const [second, revoked] = [randomUUID(), randomUUID()];
    for (const id of [second, revoked]) {
      await s.run(`
        insert into public.user_credentials (id, user_id, name, provider, type, encrypted_value, key_id)
        values ('${id}', '${ids.ana}', '${id}', 'x', 'SECRET', '${sealed()}', 'local:20260101-0000000a')`);
    }
    await s.run(`update public.user_credentials set is_active = false where id = '${revoked}'`);
    const within = async (bytes: number | null) => {
      const rows = await s.rows<Revealed>(ana, "select * from keyrow.reveal_user_credentials($1::uuid[], $2)", [
        [ids.USER, second, revoked],
        bytes,
      ]);
      return Object.fromEntries(rows.map((row) => [row.id, row.refusal ?? row.encrypted_value]));
    };
    // What is revoked needs no room, and says why all the same.
    const bytes = 2 * sealed().length;
    const refused = { [ids.USER]: "LIMIT_EXCEEDED", [second]: "LIMIT_EXCEEDED", [revoked]: "CREDENTIAL_REVOKED" };
    t.deepEqual(await within(bytes - 1), refused);
    t.deepEqual(await within(0), refused);
    t.deepEqual(await accessed(s), {});
    t.deepEqual(await within(bytes), { [ids.USER]: sealed(), [second]: sealed(), [revoked]: "CREDENTIAL_REVOKED" });
    t.deepEqual(await accessed(s), { [ids.USER]: 1, [second]: 1 });
    t.like(await within(null), { [second]: sealed() });
  });
});

test("nobody but the API reveals, and not without claims", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(personas["no claims"], call, [[ids.USER]]), "28000");
    for (const who of [server, personas.anonymous, personas.worker, personas["DB admin"], personas["table owner"]]) {
      t.is(await s.try(who, call, [[ids.USER]]), "42501", who.role ?? who.login);
    }
  });
});

test("a superuser without claims reveals nothing either: the function asks for them", async (t) => {
  t.is(await inWorld(pool, (s) => s.try(superuser, call, [[ids.USER]])), "28000");
});

test("a policy to keyrow_user alone lets somebody list, and not reveal", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run(
      `create policy listing on public.user_credentials for select to keyrow_user using (scope = 'WORKSPACE')`,
    );
    t.is(await s.try(stranger, `select id from public.user_credentials where id = '${ids.WORKSPACE}'`), 1);
    t.deepEqual(await reveal(s, stranger, [ids.WORKSPACE]), []);
    t.deepEqual(await accessed(s), {});
  });
});

test("revealing is a policy decision of its own: without keyrow_reveal in it, it lists only", withoutIt, {
  scenario: async (s) => [
    await s.try(ana, "select id from public.user_credentials"),
    (await reveal(s, ana, [ids.USER])).length,
  ],
  holds: [1, 1],
  withoutIt: "alter policy user_credentials_user_access on public.user_credentials to keyrow_user",
  broken: [1, 0],
});

test("nothing is revealed when the record can't be written", withoutIt, {
  scenario: async (s) => s.try(ana, call, [[ids.USER]]),
  holds: 1,
  withoutIt: "revoke insert on public.activity_logs from keyrow_reveal",
  broken: "42501",
});

test("nothing is revealed in a read-only transaction, which can't record it", async (t) => {
  await inWorld(pool, async (s) => {
    await s.become(ana);
    await s.client.query("set transaction read only");
    const error = await t.throwsAsync(s.client.query(call, [[ids.USER]]));
    t.like(error, { code: "25006" });
  });
});

for (const answer of ["false", "null"]) {
  test(`nothing is revealed when an application's own log function answers ${answer}`, async (t) => {
    await inWorld(pool, async (s) => {
      await s.run(`
        create or replace function keyrow.log_credential_events(
          action public."ActivityAction", credential_ids uuid[], workspace_ids uuid[], details jsonb[]
        ) returns boolean language sql as $$ select ${answer}::boolean $$`);
      const [row] = await reveal(s, ana, [ids.USER]);
      t.like(row, { recorded: false, encrypted_value: null, key_id: null });
    });
  });
}

test("claims that change in the same statement don't change in whose name a reveal is recorded", async (t) => {
  await inWorld(pool, async (s) => {
    const forged = `
      select r.encrypted_value, set_config('jwt.claims.user_id', '${ids.stranger}', true)
      from keyrow.reveal_user_credentials(array['${ids.USER}']::uuid[]) r`;
    t.is((await s.rows(ana, forged)).length, 1);
    const [entry] = await s.rows(
      superuser,
      "select user_id from public.activity_logs where action = 'CREDENTIAL_ACCESSED'",
    );
    t.deepEqual(entry, { user_id: ids.ana });
  });
});

test("a limit on the rows does not leave a revealed value off the record", async (t) => {
  await inWorld(pool, async (s) => {
    const first = `select encrypted_value from keyrow.reveal_user_credentials(array['${ids.USER}']::uuid[]) limit 1`;
    t.is(await s.try(ana, first), 1);
    t.deepEqual(await accessed(s), { [ids.USER]: 1 });
  });
});

test("the census counts by key for the server's login, and shows no row", async (t) => {
  await inWorld(pool, async (s) => {
    t.deepEqual(await s.rows(server, "select * from keyrow.key_census()"), [
      { key_id: "local:20260101-0000000a", credentials: "3" },
    ]);
    for (const who of [ana, personas.anonymous]) t.is(await s.try(who, "select * from keyrow.key_census()"), "42501");
  });
});

test("requests touch nothing: last_used_at is the server's", async (t) => {
  const touch = `select keyrow.touch(array['${ids.USER}']::uuid[])`;
  await inWorld(pool, async (s) => {
    for (const who of [ana, personas.anonymous]) t.is(await s.try(who, touch), "42501");
    t.is(await s.try(server, touch), 1);
  });
});
