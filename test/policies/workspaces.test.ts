import test from "ava";
import { createTestDatabase } from "../helpers/database.ts";
import { type Claim, holdsBecauseOfIt, ids, inWorld, type Outcome, type Persona, personas } from "./world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");
const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const read = "select id, name from public.workspaces";
const add = "insert into public.workspaces (name) values ('New')";
const rename = `update public.workspaces set name = 'Changed' where id = '${ids.team}'`;
const remove = `delete from public.workspaces where id = '${ids.team}'`;

// who, does what: rows touched, or the SQLSTATE that stopped them
const matrix: Array<[title: string, who: Persona, sql: string, expected: Outcome]> = [
  ["the workspace's owner sees it", personas["workspace owner"], read, 1],
  ["a member sees it", personas.member, read, 1],
  ["a guest sees it", personas.guest, read, 1],
  ["a stranger sees their own alone", personas.stranger, `${read} where id = '${ids.team}'`, 0],
  ["a machine sees the one whose credentials it has", personas.machine, read, 1],
  ["a machine of another team does not", personas["machine, of another team"], `${read} where id = '${ids.team}'`, 0],
  ["a machine whose token is limited to another sees none", personas["machine, in another team"], read, 0],
  ["a removed machine sees none", personas["machine, removed"], read, 0],
  ["a machine changes none", personas.machine, rename, "42501"],
  ["a removed admin sees none", personas["removed admin"], read, 0],
  ["the API makes none", personas["workspace owner"], add, "42501"],
  ["the API changes none", personas["workspace owner"], rename, "42501"],
  ["the API deletes none", personas["workspace owner"], remove, "42501"],
  ["no token reads nothing", personas.anonymous, read, "42501"],
  ["no claims raise", personas["no claims"], read, "28000"],
  ["malformed claims raise", personas["malformed claims"], read, "22P02"],
  ["the worker reads none", personas.worker, read, "42501"],
  ["a DB admin sees all", personas["DB admin"], read, 2],
  ["a DB admin makes one", personas["DB admin"], add, 1],
  ["a DB admin changes one", personas["DB admin"], rename, 1],
  ["a DB admin deletes one", personas["DB admin"], remove, 1],
  ["the table's owner sees all", personas["table owner"], read, 2],
];
for (const [title, who, sql, expected] of matrix) {
  test(title, async (t) => t.is(await inWorld(pool, (s) => s.try(who, sql)), expected));
}

test("a workspace is seen by its members alone", withoutIt, {
  scenario: (s) => s.try(personas.stranger, read),
  holds: 1,
  withoutIt: "alter policy workspaces_select_member on public.workspaces using (true)",
  broken: 2,
});
