import { readFile, writeFile } from "node:fs/promises";
import test from "ava";
import pg from "pg";
import { layFoundation, migrationsFolder } from "../src/setup.ts";
import { type BareDatabase, createBareDatabase, openWorkshop, type Workshop } from "./helpers/migrations.ts";
import { type Command, commands, type Scope, scopes, statement } from "./policies/matrix.ts";
import { ids, inWorld, type Outcome, type Persona, type Sandbox } from "./policies/world.ts";

// Does what migrations/README.md says: its blocks are what is run here.

const readme = await readFile(`${migrationsFolder}/README.md`, "utf8");

interface Step {
  readonly kind: "write" | "append" | "take out" | "run";
  readonly path: string;
  readonly text: string;
}

/** The part of the page under a heading that begins so. */
function section(heading: string): string {
  const part = readme.split(/^#{2,3} /m).find((text) => text.startsWith(heading));
  if (part === undefined) throw new Error(`README.md has no section ${heading}`);
  return part;
}

const pattern = new RegExp(
  [
    /(?<verb>Into|To the end of) `(?<path>[^`]+)`:\n+```sql\n(?<sql>[\s\S]*?)```/,
    /take the lines of step 2 out of `(?<from>[^`]+)`/,
    /```sh\n(?<sh>[\s\S]*?)```/,
  ]
    .map(({ source }) => source)
    .join("|"),
  "gi",
);

/** What a section says to do, in its order. */
function steps(heading: string): Step[] {
  return [...section(heading).matchAll(pattern)].flatMap(({ groups = {} }): Step[] => {
    const { verb, path = "", sql = "", from, sh = "" } = groups;
    if (verb) return [{ kind: verb === "Into" ? "write" : "append", path, text: sql }];
    if (from) return [{ kind: "take out", path: from, text: "" }];
    return sh
      .trim()
      .split("\n")
      .map((text) => ({ kind: "run", path: "", text }));
  });
}

const policy = steps("2. ").find(({ kind }) => kind === "append")?.text ?? "";

/** The arguments of a `npx keyrow db` command; `watch` runs once. */
function args(command: string): string[] {
  const words = [...command.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, bare]) => quoted ?? bare ?? "");
  const [npx, keyrow, db, ...rest] = words;
  if (npx !== "npx" || keyrow !== "keyrow" || db !== "db") throw new Error(`not a command of keyrow db: ${command}`);
  return rest[0] === "watch" ? ["watch", "--once"] : rest;
}

/** Does what a section says, in a workshop. */
function follow(workshop: Workshop, heading: string): Promise<void> {
  return followSteps(workshop, steps(heading));
}

async function followSteps({ folder, run }: Workshop, all: Step[]): Promise<void> {
  for (const { kind, path, text } of all) {
    const file = `${folder}/${path}`;
    if (kind === "write") await writeFile(file, text);
    else if (kind === "append") await writeFile(file, (await readFile(file, "utf8")) + text);
    else if (kind === "take out") await writeFile(file, (await readFile(file, "utf8")).replace(policy, ""));
    else await run(args(text));
  }
}

const auditor: Persona = {
  login: "keyrow_authenticator",
  role: "keyrow_user",
  user: "00000000-0000-4000-8000-0000000000a8",
};

/** Runs `work` in the world of the policy tests with an auditor in it, in a database that knows the role. */
async function withAuditor<T>(database: BareDatabase, work: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  const pool = new pg.Pool({ connectionString: database.superuser, max: 1 });
  pool.on("error", () => undefined);
  try {
    return await inWorld(pool, async (sandbox) => {
      await sandbox.run(`
        insert into public.users (id, name) values ('${auditor.user}', 'Auditor');
        insert into public.workspace_members (workspace_id, user_id, role) values ('${ids.team}', '${auditor.user}', 'AUDITOR')`);
      return work(sandbox);
    });
  } finally {
    await pool.end();
  }
}

/** What an auditor lists, and reveals, of everything there is. */
function auditorSees(database: BareDatabase): Promise<{ listed: Outcome; revealed: Outcome }> {
  return withAuditor(database, async (sandbox) => ({
    listed: await sandbox.try(auditor, "select id from public.user_credentials"),
    revealed: await sandbox.try(
      auditor,
      `select id from keyrow.reveal_user_credentials('{${ids.USER}, ${ids.WORKSPACE}, ${ids.SYSTEM}}')`,
    ),
  }));
}

/** The auditor's row of the matrix, as the page has it. */
function row(): Record<Scope, Outcome[]> {
  const [, text = ""] = /```ts\nauditor: (.*),\n```/.exec(section("3. ")) ?? [];
  return JSON.parse(text.replaceAll(/(\w+):/g, '"$1":'));
}

/** Runs what the page shows in `psql`, and gives how many rows each select has. */
function inPsql(database: BareDatabase): Promise<Array<number | null>> {
  const [, text = ""] = /```psql\n([\s\S]*?)```/.exec(section("2. ")) ?? [];
  const [begin, ...statements] = text.split(";\n").filter((line) => line.trim() !== "");
  if (begin !== "begin" || statements.pop() !== "rollback") throw new Error("it must roll back");
  return withAuditor(database, async ({ client }) => {
    const counts: Array<number | null> = [];
    for (const sql of statements) counts.push((await client.query(sql)).rowCount);
    return counts;
  });
}

const nothing = { listed: 0, revealed: 0 };
const lists = { listed: 1, revealed: 0 };

/** Applies a workshop's committed migrations to another database, as another server would get them. */
async function deploy({ run }: Workshop, database: BareDatabase): Promise<void> {
  const [command = ""] = steps("4. ").flatMap(({ text }) => (text.includes("migrate") ? [text] : []));
  await run(args(command), database);
}

test("auditors may list but not reveal: from an idea to deployed, and back once it is deployed", async (t) => {
  const workshop = await openWorkshop();
  const other = await createBareDatabase();
  try {
    const { database } = workshop;
    await layFoundation(other.owner);

    await follow(workshop, "1. ");
    t.deepEqual(await auditorSees(database), nothing, "before: an auditor sees nothing");

    await follow(workshop, "2. ");
    t.deepEqual(await auditorSees(database), lists, "watched: an auditor lists");
    t.deepEqual(await inPsql(database), [null, 1, 1, 0], "and sees the same in psql");

    await withAuditor(database, async (sandbox) => {
      const expected = row();
      for (const scope of scopes) {
        for (const [index, command] of commands.entries()) {
          const sql = auditorStatement(scope, command);
          t.deepEqual(
            await sandbox.try(auditor, sql),
            expected[scope][index] ?? "missing",
            `${command} of a ${scope} credential`,
          );
          await sandbox.run(`delete from public.user_credentials where name = 'new'`);
        }
      }
    });

    for (const { text } of steps("4. ").filter((step) => step.text.includes("commit"))) await workshop.run(args(text));
    await deploy(workshop, other);
    t.deepEqual(await auditorSees(database), lists, "committed");
    t.deepEqual(await auditorSees(other), lists, "deployed elsewhere");

    await follow(workshop, "6. ");
    t.deepEqual(await auditorSees(database), nothing, "taken back");
    t.deepEqual(await auditorSees(other), lists, "and not yet elsewhere");
    await deploy(workshop, other);
    t.deepEqual(await auditorSees(other), nothing, "taken back elsewhere");
  } finally {
    await workshop.close();
    await other.drop();
  }
});

/** What an auditor runs for a cell; the insert is in the auditor's name. */
function auditorStatement(scope: Scope, command: Command): string {
  return statement({ who: "stranger", scope, command }).replace(ids.stranger, auditor.user ?? "");
}

test("auditors may list but not reveal: committed, and back while no other database has run it", async (t) => {
  const workshop = await openWorkshop();
  try {
    const { database, folder } = workshop;
    const current = `${folder}/migrations/current/1-current.sql`;
    const fixture = `${folder}/migrations/fixtures/policies/user_credentials.sql`;
    const before = await readFile(fixture, "utf8");
    await follow(workshop, "1. ");
    await follow(workshop, "2. ");
    for (const { text } of steps("4. ").filter((step) => step.text.includes("commit"))) await workshop.run(args(text));
    t.deepEqual(await auditorSees(database), lists);

    const [uncommit, ...rest] = steps("5. ");
    t.is(uncommit?.text, "npx keyrow db uncommit");
    await workshop.run(args(uncommit?.text ?? ""));
    t.regex(await readFile(current, "utf8"), /^--! ?include policies\/user_credentials.sql$/m);
    t.deepEqual(await auditorSees(database), lists, "what it did is still in the database");
    t.deepEqual(
      rest.map(({ kind }) => kind),
      ["take out", "write", "run"],
    );
    await followSteps(workshop, rest);
    t.deepEqual(await auditorSees(database), nothing);
    t.is(await readFile(fixture, "utf8"), before);
  } finally {
    await workshop.close();
  }
});

test("the page names every file and command that there is", async (t) => {
  for (const name of [
    "roles.sql",
    "database.sql",
    "foundation.sql",
    "committed/",
    "current/",
    "fixtures/policies/",
    "fixtures/functions/",
  ]) {
    t.true(section("What is what").includes(`\`${name}`), name);
  }
  for (const name of ["watch", "commit", "uncommit", "migrate", "url"]) {
    t.true(section("The commands").includes(`\`npx keyrow db ${name}`), name);
  }
});
