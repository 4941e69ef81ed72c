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

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");
const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const read = "select id, name from public.users";
const email = "select email from public.users";
const add = `insert into public.users (id, name) values ('${ids.SYSTEM}', 'New')`;
const rename = `update public.users set name = 'Changed' where id = '${ids.ana}'`;
const remove = `delete from public.users where id = '${ids.guest}'`;
const { owner: ana, stranger } = personas;

// who, does what: rows touched, or the SQLSTATE that stopped them
const matrix: Array<[title: string, who: Persona, sql: string, expected: Outcome]> = [
  ["a member sees themselves and those they share a workspace with", ana, read, 5],
  ["a guest sees the same", personas.guest, read, 5],
  ["a stranger sees themselves alone", stranger, read, 1],
  ["a removed admin sees themselves alone", personas["removed admin"], read, 1],
  ["nobody sees an e-mail address", ana, email, "42501"],
  ["nobody asks for a row by its e-mail address", ana, `${read} where email = 'ana@example.org'`, "42501"],
  ["nobody sees when a user was made", ana, "select created_at from public.users", "42501"],
  ["the API makes no user", ana, add, "42501"],
  ["the API changes no user, not even oneself", ana, rename, "42501"],
  ["the API deletes no user", ana, remove, "42501"],
  ["no token reads nothing", personas.anonymous, read, "42501"],
  ["no claims raise", personas["no claims"], read, "28000"],
  ["malformed claims raise", personas["malformed claims"], read, "22P02"],
  ["the worker reads no user", personas.worker, read, "42501"],
  ["a DB admin sees everybody", personas["DB admin"], email, 7],
  ["a DB admin makes users", personas["DB admin"], add, 1],
  ["a DB admin changes users", personas["DB admin"], rename, 1],
  ["a DB admin deletes users", personas["DB admin"], remove, 1],
  ["the table's owner sees everybody", personas["table owner"], email, 7],
];
for (const [title, who, sql, expected] of matrix) {
  test(title, async (t) => t.is(await inWorld(pool, (s) => s.try(who, sql)), expected));
}

test("a stranger sees no co-member of somebody else's", withoutIt, {
  scenario: (s) => s.try(stranger, read),
  holds: 1,
  withoutIt: "alter policy users_select_co_member on public.users using (true)",
  broken: 7,
});

const newcomer: Persona = { ...ana, user: ids.SYSTEM };
const provision = "select keyrow.provision_user($1, $2) as made";

/** The row that provisioning left of a newcomer. */
const provisioned = (address: string | null, name: string | null = "New", who: Persona = newcomer) =>
  inWorld(pool, async (s) => {
    const [answer] = await s.rows<{ made: boolean }>(who, provision, [address, name]);
    const users = await s.rows(superuser, `select email, name from public.users where id = '${who.user}'`);
    return { made: answer?.made, users };
  });

test("the first valid token makes the user's row", async (t) => {
  t.deepEqual(await provisioned("new@example.org"), {
    made: true,
    users: [{ email: "new@example.org", name: "New" }],
  });
});

test("an e-mail address that somebody has stays theirs, whatever its case: the new row is made without", async (t) => {
  for (const address of ["ana@example.org", "ANA@Example.ORG"]) {
    t.deepEqual(await provisioned(address), { made: true, users: [{ email: null, name: "New" }] });
  }
});

test("what is no e-mail address, or missing, makes a row without one", async (t) => {
  for (const address of [null, "", "nobody", "@", "@example.org"]) {
    t.deepEqual(await provisioned(address, null), { made: true, users: [{ email: null, name: null }] });
  }
});

test("a second token changes nothing", async (t) => {
  t.deepEqual(await provisioned("other@example.org", "Other", ana), {
    made: false,
    users: [{ email: "ana@example.org", name: "Ana" }],
  });
});

test("provisioning tells nobody whether an address is taken", async (t) => {
  const taken = await provisioned("ana@example.org");
  const free = await provisioned("free@example.org");
  t.is(taken.made, free.made);
});

test("provisioning is refused without claims, and to everybody but the API", async (t) => {
  await inWorld(pool, async (s) => {
    t.is(await s.try(personas["no claims"], provision, ["x@example.org", "x"]), "28000");
    for (const who of ["anonymous", "worker", "DB admin"] as const) {
      t.is(await s.try(personas[who], provision, ["x@example.org", "x"]), "42501", who);
    }
  });
});

test("provisioning makes the row of the asking user alone", withoutIt, {
  scenario: (s) =>
    s.try({ login: "keyrow_migrate", role: "keyrow_reveal", user: ids.ana }, add.replace("name", "email")),
  holds: "42501",
  withoutIt: "alter policy users_insert_provision on public.users with check (true)",
  // It then gets as far as the form of the address.
  broken: "23514",
});
