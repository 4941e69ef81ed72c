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
  superuser,
} from "./world.ts";

// The record of tokens that Keyrow makes. What such a token may do with credentials is in the matrix.

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");
const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const { owner: ana, stranger, worker } = personas;
const admin = personas["workspace admin"];
const dbAdmin = personas["DB admin"];
const reveal: Persona = { login: "keyrow_migrate", role: "keyrow_reveal", user: ids.workspaceAdmin };
const by = (token: string): Persona => ({ ...admin, limits: { token } });

const read = "select id from keyrow.tokens";
const list = "select id from keyrow.visible_tokens()";
const create = (name = "x", limits = "{}", ends = "1 hour") =>
  `select id from keyrow.create_token('${name}', '${limits}', now() + interval '${ends}')`;
const revoke = (id: string) => `select from keyrow.revoke_token('${id}')`;
const unrevoke = `update keyrow.tokens set revoked_at = null where id = '${ids.revokedToken}'`;

// who, does what: rows touched, or the SQLSTATE that stopped them
const matrix: Array<[title: string, who: Persona, sql: string, expected: Outcome]> = [
  ["the API does not read the record", admin, read, "42501"],
  ["the API does not write it", admin, `delete from keyrow.tokens`, "42501"],
  ["the worker does not read it", worker, read, "42501"],
  ["the functions' role reads the asking user's alone", reveal, read, 5],
  ["the functions' role reads nothing of a stranger's", { ...reveal, user: ids.stranger }, read, 0],
  ["a DB admin lists every token", dbAdmin, read, 5],
  ["a DB admin revokes any", dbAdmin, `update keyrow.tokens set revoked_at = now() where id = '${ids.token}'`, 1],
  ["a DB admin gives no token more", dbAdmin, `update keyrow.tokens set limits = '[{}]'`, "42501"],
  ["a DB admin clears away those that have ended", dbAdmin, "delete from keyrow.tokens where expires_at < now()", 1],
  ["what was revoked stays so, for a DB admin", dbAdmin, unrevoke, "23001"],
  ["what was revoked stays so, for the functions' role", reveal, unrevoke, "23001"],
  ["a user lists their own that have not ended", admin, list, 4],
  ["a user without any lists none", ana, list, 0],
  ["a token lists itself and what was made of it", by(ids.token), list, 2],
  ["a token does not list what it was made of", by(ids.childToken), list, 1],
  ["an issuer's token with limits lists none", { ...admin, limits: {} }, list, 0],
  ["a revoked token lists none", by(ids.revokedToken), list, "28000"],
  ["a user revokes their own", admin, revoke(ids.token), 1],
  ["revoking twice is done as well", admin, revoke(ids.revokedToken), 1],
  ["nobody revokes another's", stranger, revoke(ids.token), 0],
  ["a token revokes what was made of it", by(ids.token), revoke(ids.childToken), 1],
  ["a token revokes itself", by(ids.token), revoke(ids.token), 1],
  ["a token does not revoke what it was made of", by(ids.childToken), revoke(ids.token), 0],
  ["an issuer's token with limits revokes none", { ...admin, limits: {} }, revoke(ids.token), 0],
  ["a user makes one", admin, create(), 1],
  ["a token makes one", by(ids.token), create(), 1],
  ["an issuer's token with limits makes one", { ...admin, limits: {} }, create(), 1],
  ["a revoked token makes none", by(ids.revokedToken), create(), "28000"],
  ["without claims nobody makes one", personas["no claims"], create(), "28000"],
  ["a limit that can't be understood makes none", admin, create("x", '{"action": []}'), "22023"],
  ["a token's id is no limit to give", admin, create("x", `{"token": "${ids.token}"}`), "22023"],
  ["null is no limit", admin, "select id from keyrow.create_token('x', null, now() + interval '1 hour')", "22023"],
  ["a name is not empty", admin, create(""), "23514"],
  ["a name has 100 characters at most", admin, create("x".repeat(101)), "23514"],
  ["no token has ended when it is made", admin, create("x", "{}", "0 hours"), "23514"],
  ["no token is good for more than a year", admin, create("x", "{}", "367 days"), "23514"],
];
for (const [title, who, sql, expected] of matrix) {
  test(title, async (t) => t.is(await inWorld(pool, (s) => s.try(who, sql)), expected));
}

test("a token is revoked by the user's own functions alone", withoutIt, {
  scenario: (s) => s.try(reveal, `update keyrow.tokens set revoked_at = now() where id = '${ids.token}'`),
  holds: 1,
  withoutIt: "alter policy tokens_update_own on keyrow.tokens using (false)",
  broken: 0,
});

test("a stranger's function sees no token", withoutIt, {
  scenario: (s) => s.try(stranger, list),
  holds: 0,
  withoutIt: "alter policy tokens_select_own on keyrow.tokens using (true)",
  broken: 4,
});

test("what was revoked stays so", withoutIt, {
  scenario: (s) => s.try(dbAdmin, unrevoke),
  holds: "23001",
  withoutIt: "drop trigger tokens_stay_revoked on keyrow.tokens",
  broken: 1,
});

test("a token that is made with limits carries them: its parent's by the parent, an issuer's by itself", async (t) => {
  await inWorld(pool, async (s) => {
    const made = async (who: Persona) => {
      const [row] = await s.rows<{ id: string }>(who, create("made", '{"credentials": ["github/*"]}'));
      const [stored] = await s.rows(superuser, `select parent_id, limits from keyrow.tokens where id = '${row?.id}'`);
      return stored;
    };
    const own = { credentials: ["github/*"] };
    t.deepEqual(await made(admin), { parent_id: null, limits: [own] });
    t.deepEqual(await made(by(ids.childToken)), { parent_id: ids.childToken, limits: [own] });
    t.deepEqual(await made({ ...admin, limits: [{ actions: ["read"] }, { workspace: ids.team }] }), {
      parent_id: null,
      limits: [own, { actions: ["read"] }, { workspace: ids.team }],
    });
    t.deepEqual(await made({ ...admin, limits: [{ token: ids.token, actions: ["read"] }] }), {
      parent_id: ids.token,
      limits: [own, { actions: ["read"] }],
    });
  });
});

test("no token ends after the one it is made with, nor after the asking token", async (t) => {
  await inWorld(pool, async (s) => {
    const ends = async (who: Persona, setting: string, value: string) => {
      await s.become(who);
      await s.client.query("select set_config($1, $2, true)", [setting, value]);
      const { rows } = await s.client.query(
        `select extract(epoch from expires_at - now())::int as seconds
         from keyrow.create_token('x', '{}', now() + interval '9 hours')`,
      );
      await s.client.query("select set_config($1, '', true)", [setting]);
      return rows[0].seconds;
    };
    const in30 = Math.floor(Date.now() / 1000) + 1800;
    t.true(Math.abs((await ends(admin, "keyrow.expires_at", `${in30}`)) - 1800) < 60);
    t.is(await ends(by(ids.token), "keyrow.expires_at", ""), 3600);
    const claims = JSON.stringify({ sub: ids.workspaceAdmin, exp: in30 });
    t.true(Math.abs((await ends(admin, "request.jwt.claims", claims)) - 1800) < 60);
  });
});

test("a user has 100 tokens at once; those that were revoked or have ended don't count", async (t) => {
  await inWorld(pool, async (s) => {
    // Three of the world's are live, and one of them was made of a revoked one.
    await s.run(`insert into keyrow.tokens (id, user_id, name, limits, expires_at)
      select gen_random_uuid(), '${ids.workspaceAdmin}', 'x', '[{}]', now() + interval '1 hour' from generate_series(1, 96)`);
    t.is(await s.try(admin, create()), 1);
    t.is((await s.error(admin, create())).constraint, "tokens_live");
    t.is(await s.try(ana, create()), 1);
    t.is(await s.try(admin, revoke(ids.token)), 1);
    t.is(await s.try(admin, create()), 1);
  });
});

test("a token with limits makes none beyond 50 of its user's, and leaves the others to a full one", async (t) => {
  for (const limited of [by(ids.token), { ...admin, limits: {} }]) {
    await inWorld(pool, async (s) => {
      await s.run(`insert into keyrow.tokens (id, user_id, name, limits, expires_at)
        select gen_random_uuid(), '${ids.workspaceAdmin}', 'x', '[{}]', now() + interval '1 hour' from generate_series(1, 46)`);
      t.is(await s.try(limited, create()), 1);
      t.is((await s.error(limited, create())).constraint, "tokens_live");
      t.is(await s.try(admin, create()), 1);
    });
  }
});

test("however many were made and revoked, a list has those that are good first, and any is revoked at once", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run(`insert into keyrow.tokens (id, user_id, parent_id, name, limits, created_at, expires_at, revoked_at)
      select gen_random_uuid(), '${ids.workspaceAdmin}', '${ids.token}', 'noise', '[{}]', now() + interval '1 minute',
        now() + interval '1 hour', now() from generate_series(1, 20000)`);
    for (const [who, good] of [
      [admin, [ids.orphanedToken, ids.childToken, ids.token]],
      [by(ids.token), [ids.token]],
    ] as const) {
      const rows = await s.rows<{ id: string }>(who, list);
      t.is(rows.length, 200);
      t.deepEqual(
        rows.slice(0, good.length).map(({ id }) => id),
        [...good],
      );
      await s.run("set local statement_timeout = '100ms'");
      t.is(await s.try(who, revoke(ids.childToken)), 1);
      await s.run("set local statement_timeout = 0");
    }
  });
});

test("what was made with a revoked token is revoked with it, and counts no more, whoever revokes", async (t) => {
  const alive = "select id from keyrow.visible_tokens() where revoked_at is null";
  for (const [who, sql] of [
    [admin, revoke(ids.token)],
    [dbAdmin, `update keyrow.tokens set revoked_at = now() where id = '${ids.token}'`],
  ] as const) {
    await inWorld(pool, async (s) => {
      const [grandchild] = await s.rows<{ id: string }>(by(ids.childToken), create());
      const before = (await s.rows(admin, alive)).length;
      t.is(await s.try(who, sql), 1);
      t.is((await s.rows(admin, alive)).length, before - 3);
      const line = [ids.token, ids.childToken, grandchild?.id].map((id) => `'${id}'`).join(", ");
      const times = await s.rows(superuser, `select distinct revoked_at from keyrow.tokens where id in (${line})`);
      t.is(times.length, 1);
    });
  }
});

test("with an identity go all tokens of its user, however it is taken away, and nobody else's", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run(`insert into keyrow.identities (issuer, subject, user_id)
      values ('urn:x', 'a', '${ids.workspaceAdmin}'), ('urn:x', 'b', '${ids.ana}')`);
    const [hers] = await s.rows<{ id: string }>(ana, create());
    t.is(await s.try(dbAdmin, "delete from keyrow.identities where issuer = 'urn:x' and subject = 'a'"), 1);
    const left = await s.rows(superuser, "select id from keyrow.tokens where revoked_at is null");
    t.deepEqual(left, [{ id: hers?.id }]);
    t.is(await s.try(by(ids.token), list), "28000");
  });
});

test("what holds a token is no longer than a list of a hundred has room for", async (t) => {
  const patterns = (count: number) =>
    JSON.stringify({ credentials: Array.from({ length: count }, () => `${"p".repeat(100)}/${"n".repeat(255)}`) });
  await inWorld(pool, async (s) => {
    const [row] = await s.rows<{ id: string }>(admin, create("x", patterns(100)));
    t.is((await s.error(by(row?.id as string), create("x", patterns(100)))).constraint, "tokens_limits_size");
    t.is(await s.try(by(row?.id as string), create("x", patterns(50))), 1);
  });
});

test("tokens are made of tokens eight times at most", async (t) => {
  await inWorld(pool, async (s) => {
    let who = admin;
    for (let times = 0; times < 8; times++) {
      const [row] = await s.rows<{ id: string }>(who, create());
      who = by(row?.id as string);
    }
    t.is((await s.error(who, create())).constraint, "tokens_line");
  });
});

test("making and revoking a token is on the record, under its id, and never the token", async (t) => {
  await inWorld(pool, async (s) => {
    const [row] = await s.rows<{ id: string }>(by(ids.token), create("for ci"));
    await s.try(admin, revoke(row?.id as string));
    await s.try(admin, revoke(row?.id as string));
    const log = await s.rows<{ action: string; details: Record<string, unknown> }>(
      admin,
      `select action, details from public.activity_logs where entity_id = '${row?.id}' order by id`,
    );
    t.deepEqual(
      log.map(({ action }) => action),
      ["CREDENTIAL_CREATED", "CREDENTIAL_REVOKED"],
    );
    t.like(log[0]?.details, { token: true, name: "for ci", parent: ids.token });
  });
});

test("a revocation is on the record whoever makes it, once for each token that goes, and so is a delete of a good one", async (t) => {
  const log = `select entity_id as id, details from public.activity_logs
    where action = 'CREDENTIAL_REVOKED' and details ? 'token' order by id`;
  const entries = async (sql: string) =>
    inWorld(pool, async (s) => {
      await s.run(
        `insert into keyrow.identities (issuer, subject, user_id) values ('urn:x', 'a', '${ids.workspaceAdmin}')`,
      );
      t.is(typeof (await s.try(dbAdmin, sql)), "number", sql);
      const rows = await s.rows<{ id: string; details: { deleted?: true } }>(superuser, log);
      return rows.map(({ id, details }) => [id, details.deleted ?? false] as const);
    });
  const one = (name: "token" | "childToken" | "endedToken" | "revokedToken") => `where id = '${ids[name]}'`;
  t.deepEqual(await entries(`update keyrow.tokens set revoked_at = now() ${one("token")}`), [
    [ids.token, false],
    [ids.childToken, false],
  ]);
  t.deepEqual(await entries(`delete from keyrow.tokens ${one("childToken")}`), [[ids.childToken, true]]);
  for (const over of ["endedToken", "revokedToken"] as const) {
    const deleted = await entries(`delete from keyrow.tokens ${one(over)}`);
    t.false(deleted.some(([id]) => id === ids[over]));
  }
  const taken = await entries("delete from keyrow.identities");
  t.deepEqual(
    taken.map(([id]) => id).filter((id) => id === ids.token || id === ids.childToken),
    [ids.token, ids.childToken],
  );
  t.is(new Set(taken.map(([id]) => id)).size, taken.length);
});

test("with a user go their tokens", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(dbAdmin, `delete from public.users where id = '${ids.workspaceAdmin}'`), 1);
    t.deepEqual(await s.rows(superuser, read), []);
  });
});
