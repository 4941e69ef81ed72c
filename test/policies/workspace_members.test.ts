import { readFile } from "node:fs/promises";
import test from "ava";
import { migrationsFolder } from "../../src/setup.ts";
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
} from "./world.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");
const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const { owner: ana, stranger } = personas;
const workspaceAdmin = personas["workspace admin"];
const workspaceOwner = personas["workspace owner"];
const read = "select user_id from public.workspace_members";
const join = `insert into public.workspace_members (workspace_id, user_id, role) values ('${ids.team}', '${ids.stranger}', 'OWNER')`;
const promote = `update public.workspace_members set role = 'OWNER' where user_id = '${ids.ana}'`;
const leave = `delete from public.workspace_members where user_id = '${ids.ana}'`;

// who, does what: rows touched, or the SQLSTATE that stopped them
const matrix: Array<[title: string, who: Persona, sql: string, expected: Outcome]> = [
  ["a member sees the workspace's members", ana, read, 5],
  ["a guest sees them", personas.guest, read, 5],
  ["a stranger sees those of their own workspace", stranger, read, 1],
  ["a removed admin sees none", personas["removed admin"], read, 0],
  ["nobody joins by themselves", stranger, join, "42501"],
  ["nobody promotes themselves", ana, promote, "42501"],
  ["the workspace's owner changes no role through the API", workspaceOwner, promote, "42501"],
  ["nobody leaves through the API", ana, leave, "42501"],
  ["no token reads nothing", personas.anonymous, read, "42501"],
  ["no claims raise", personas["no claims"], read, "28000"],
  ["malformed claims raise", personas["malformed claims"], read, "22P02"],
  ["the worker reads none", personas.worker, read, "42501"],
  ["a DB admin sees all", personas["DB admin"], read, 6],
  ["a DB admin lets somebody join", personas["DB admin"], join, 1],
  ["a DB admin changes a role", personas["DB admin"], promote, 1],
  ["a DB admin removes a member", personas["DB admin"], leave, 1],
  ["the table's owner sees all", personas["table owner"], read, 6],
];
for (const [title, who, sql, expected] of matrix) {
  test(title, async (t) => t.is(await inWorld(pool, (s) => s.try(who, sql)), expected));
}

test("members are seen by members alone", withoutIt, {
  scenario: (s) => s.try(stranger, read),
  holds: 1,
  withoutIt: "alter policy workspace_members_select_co_member on public.workspace_members using (true)",
  broken: 6,
});

test("a policy on workspace_members that looks into it again would recurse endlessly", withoutIt, {
  scenario: (s) => s.try(ana, read),
  holds: 5,
  withoutIt: `alter policy workspace_members_select_co_member on public.workspace_members
    using (workspace_id in (select m.workspace_id from public.workspace_members m))`,
  broken: "42P17",
});

// ------------------------------------------------------------------------------------------ membership is in the table

const team = `select id from public.user_credentials where id = '${ids.WORKSPACE}'`;
const reveal = `select id from keyrow.reveal_user_credentials(array['${ids.WORKSPACE}']::uuid[])`;

for (const [what, change] of Object.entries({
  removed: `delete from public.workspace_members where user_id = '${ids.workspaceAdmin}'`,
  demoted: `update public.workspace_members set role = 'MEMBER' where user_id = '${ids.workspaceAdmin}'`,
})) {
  test(`an admin who is ${what} loses access at the next statement, in a transaction that is under way as well`, async (t) => {
    await inWorld(pool, async (s) => {
      t.deepEqual([await s.try(workspaceAdmin, team), await s.try(workspaceAdmin, reveal)], [1, 1]);
      await s.run(change);
      t.deepEqual([await s.try(workspaceAdmin, team), await s.try(workspaceAdmin, reveal)], [0, 0]);
    });
  });
}

test("a prepared statement that has run as an admin shows nothing once the admin is gone", async (t) => {
  await inWorld(pool, async (s) => {
    await s.become(workspaceAdmin);
    await s.client.query(`prepare listing as ${team}`);
    t.is((await s.client.query("execute listing")).rowCount, 1);
    await s.superuser();
    await s.run(`delete from public.workspace_members where user_id = '${ids.workspaceAdmin}'`);
    await s.become(workspaceAdmin);
    t.is((await s.client.query("execute listing")).rowCount, 0);
    await s.become(stranger);
    t.is((await s.client.query("execute listing")).rowCount, 0, "nor to the next user of the connection");
    await s.client.query("deallocate listing");
  });
});

test("a claim of a role is no membership", async (t) => {
  await inWorld(pool, async (s) => {
    await s.become(stranger);
    await s.client.query(`set local request.jwt.claims =
      '{"sub": "${ids.stranger}", "role": "OWNER", "workspace_id": "${ids.team}", "workspaces": {"${ids.team}": "OWNER"}}'`);
    t.is((await s.client.query(team)).rowCount, 0);
  });
});

// ----------------------------------------------------------------------------------------------------------- the seams

type Pair = { workspace_id: string };
const people = ["owner", "stranger", "workspace owner", "workspace admin", "member", "guest", "removed admin"] as const;

/** The workspaces that a query answers to each persona, by name. */
async function answers(sandbox: Sandbox, query: string): Promise<Record<string, string[]>> {
  const all: Record<string, string[]> = {};
  for (const name of people) {
    const rows = await sandbox.rows<Pair>(personas[name], query);
    all[name] = rows.map((row) => row.workspace_id).toSorted();
  }
  return all;
}

const adminIds = "select keyrow.admin_workspace_ids() as workspace_id";
const memberIds = "select keyrow.member_workspace_ids() as workspace_id";
// Of every workspace, not only of those that the persona sees.
const specified = `
  select w.id as workspace_id from (values ('${ids.team}'::uuid), ('${ids.otherTeam}')) as w (id)
  where public.is_workspace_admin(w.id, public.current_user_id())`;

test("admin_workspace_ids is is_workspace_admin, the specification's words, for all people and workspaces", async (t) => {
  await inWorld(pool, async (s) => {
    const came = await answers(s, adminIds);
    t.deepEqual(came, await answers(s, specified));
    t.deepEqual(came["workspace admin"], [ids.team]);
    t.deepEqual(came.stranger, [ids.otherTeam]);
    t.deepEqual(came["removed admin"], []);
  });
});

/** What the default asks of an application's own tables, where they have row level security. */
const adopterGrants = `
  grant select on public.workspaces, public.workspace_members to keyrow_reveal;
  create policy workspaces_select_reveal on public.workspaces for select to keyrow_reveal using (true)`;

/** Puts the seam's default in place of foundation's function, as an application with tables of its own gets it. */
async function seamDefault(sandbox: Sandbox, name: string): Promise<void> {
  // What needs the function goes along with it, so that the fixture finds it missing.
  await sandbox.run(`drop function keyrow.${name}() cascade`);
  await sandbox.run(adopterGrants);
  await sandbox.become({ login: "keyrow_migrate", role: "keyrow_owner", user: null });
  await sandbox.run(await readFile(`${migrationsFolder}/fixtures/functions/${name}.sql`, "utf8"));
  await sandbox.superuser();
}

for (const [name, query] of [
  ["admin_workspace_ids", adminIds],
  ["member_workspace_ids", memberIds],
] as const) {
  test(`the default ${name}, for an application that brings no faster one, answers as foundation's`, async (t) => {
    await inWorld(pool, async (s) => {
      const foundation = await answers(s, query);
      await seamDefault(s, name);
      t.deepEqual(await answers(s, query), foundation);
      t.is(await s.try(personas["no claims"], query), "28000");
    });
  });
}

test("is_workspace_admin answers only what the asking user may know", async (t) => {
  const ask = (who: Persona, user: string, workspace: string = ids.team) =>
    inWorld(pool, async (s) => {
      const [row] = await s.rows<{ is: boolean }>(who, "select public.is_workspace_admin($1, $2) as is", [
        workspace,
        user,
      ]);
      return row?.is;
    });
  t.true(await ask(ana, ids.workspaceOwner), "a member asks about the owner");
  t.false(await ask(ana, ids.member));
  t.false(await ask(stranger, ids.workspaceOwner), "a stranger asks about the owner");
  t.false(await ask(ana, ids.stranger, ids.otherTeam), "a member asks about another team's owner");
});

test("the functions that tell who belongs where raise without claims", async (t) => {
  await inWorld(pool, async (s) => {
    for (const call of [
      `public.is_workspace_admin('${ids.team}', '${ids.ana}')`,
      "keyrow.admin_workspace_ids()",
      "keyrow.member_workspace_ids()",
      "keyrow.co_member_ids()",
    ]) {
      t.is(await s.try(personas["no claims"], `select ${call}`), "28000", call);
    }
  });
});
