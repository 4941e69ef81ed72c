import test from "ava";
import { createTestDatabase } from "../helpers/database.ts";
import { ids, inWorld, type Outcome, type PersonaName, personas, type Sandbox } from "./world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");

const given = `insert into keyrow.identities (issuer, subject, user_id) values ('https://id.example', 'ana', '${ids.ana}')`;
const attempts = {
  select: "select subject from keyrow.identities",
  insert: `insert into keyrow.identities (issuer, subject, user_id) values ('https://id.example', 'eve', '${ids.ana}')`,
  update: `update keyrow.identities set user_id = '${ids.stranger}'`,
  delete: "delete from keyrow.identities",
  ask: "select keyrow.identified_user('https://id.example', 'ana')",
  provision: "select keyrow.provision_identity('https://id.example', 'eve', '{}')",
} as const;

const no = "42501";
const never = { select: no, insert: no, update: no, delete: no, ask: no, provision: no };
const who: Partial<Record<PersonaName, Record<keyof typeof attempts, Outcome>>> = {
  "DB admin": { ...never, select: 1, insert: 1, delete: 1 },
  "table owner": { ...never, select: 1, insert: 1, update: 1, delete: 1 },
};
const server = { login: "keyrow_authenticator", user: null } as const;

async function everything(s: Sandbox, persona: Parameters<Sandbox["try"]>[0]) {
  await s.run(given);
  const came: Record<string, Outcome> = {};
  // What it does is taken back each time.
  for (const [name, text] of Object.entries(attempts)) {
    await s.run("savepoint before");
    came[name] = await s.try(persona, text);
    await s.run("rollback to savepoint before");
  }
  return came;
}

for (const [name, persona] of Object.entries(personas)) {
  const expected = who[name as PersonaName] ?? never;
  test(`${name}: ${JSON.stringify(expected)} of identities`, async (t) => {
    t.deepEqual(await inWorld(pool, (s) => everything(s, persona)), expected);
  });
}

test("the server's login asks who somebody is and makes new ones, and sees and changes none", async (t) => {
  t.deepEqual(await inWorld(pool, (s) => everything(s, server)), { ...never, ask: 1, provision: 1 });
});

test("an identity says which login made it, whoever says otherwise", async (t) => {
  await inWorld(pool, async (s) => {
    const lie = given.replace("user_id) values", "user_id, created_by) values").replace(/\)$/, ", 'somebody')");
    t.is(await s.try(personas["DB admin"], lie), no);
  });
});

test("the server's own question is answered by the index, and once", async (t) => {
  await inWorld(pool, async (s) => {
    await s.run("set local enable_seqscan = off");
    const rows = await s.rows<{ "QUERY PLAN": string }>(
      { login: "postgres", user: null },
      "explain select user_id from keyrow.identities where issuer = 'a' and subject = 'b'",
    );
    t.regex(rows.map((row) => row["QUERY PLAN"]).join("\n"), /Index Scan using identities_issuer_subject_key/);
  });
});
