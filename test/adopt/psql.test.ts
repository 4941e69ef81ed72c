import { existsSync } from "node:fs";
import { join } from "node:path";
import ava from "ava";
import { execa } from "execa";
import { checkAdoption } from "../../src/adopt.ts";
import { renderAdoption } from "../../src/cli/adopt-report.ts";
import { isPrintable, printableJson } from "../../src/printable.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { hasPostgres15, postgres15Bin } from "../helpers/system-postgres.ts";
import { filledIn, makeApplication, run, type Server, setUp, sqlFile, startServer } from "./application.ts";

// What is printed is for psql, which runs programs where it finds a backslash outside of quotes. Here it is run.

// psql comes with the system's PostgreSQL. Without it the tests are skipped and counted; in CI its absence is a failure.
const test = hasPostgres15 || process.env.CI ? ava : ava.skip;

let server: Server;
ava.before(async () => {
  if (!hasPostgres15) return;
  server = await startServer();
  await makeApplication(server);
  await run(server, "app_owner", await sqlFile("specification.sql"));
  await setUp(server);
});
ava.after.always(() => server?.stop());

/** Names that end what they stand in, for whoever reads them in another way than the server. */
const hostile = [
  "a$function$\\! touch m #",
  "a$$\\! touch m #",
  "\\! touch m #",
  "\n\\! touch m\n",
  "\r\\! touch m\r",
  '"\\! touch m #',
  '"";\\! touch m #',
  "'\\! touch m #",
  "*/\\! touch m #",
  "`touch m`",
  ":x :'x' :\"x\" :{?x}",
  "\u202e\\! touch m #",
  "\u2028\\! touch m #",
  // Its last byte begins a character of two bytes in SJIS, which takes the quote after it.
  "a\u3041",
  "b\\! touch m #",
];
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

let copies = 0;

/** A copy of the application's database that a superuser changes, and what psql makes of a script there. */
async function place(t: { teardown(work: () => unknown): void }, change: string) {
  copies += 1;
  const copy = `copy_${copies}`;
  await run(server, "postgres", `create database ${copy} template app`, "postgres");
  await run(server, "postgres", change, copy);
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  return {
    check: () => checkAdoption(server.url("app_owner", copy), "app.user_id"),
    run: (text: string) => run(server, "postgres", text, copy),
    /** What psql says on standard error where it goes on after an error, and whether anything was executed. */
    async psql(login: string, script: string, encoding = "UTF8") {
      const { stderr } = await execa(join(postgres15Bin, "psql"), ["-X", "-q", server.url(login, copy)], {
        cwd: directory,
        env: { PATH: process.env.PATH ?? "", PGCLIENTENCODING: encoding },
        extendEnv: false,
        reject: false,
        input: script,
        timeout: 60_000,
      });
      return { stderr, executed: existsSync(join(directory, "m")) };
    },
  };
}

for (const encoding of ["UTF8", "SJIS"]) {
  test(`no name gets out of the SQL for the application's owner, nor into a terminal, with ${encoding} as psql's encoding`, async (t) => {
    const { check, psql } = await place(
      t,
      `${hostile.map((name) => `alter table activity_logs add ${quoted(name)} text not null;`).join("\n")}
       ${hostile.map((name) => `alter table workspace_members add ${quoted(name)} text;`).join("\n")}
       ${hostile.map((name) => `create index ${quoted(name)} on user_credentials (id);`).join("\n")}
       alter function is_workspace_admin security invoker;
       create schema ${quoted(hostile[0] as string)}; alter schema ${quoted(hostile[0] as string)} owner to app_owner;
       set role app_owner; create sequence ${quoted(hostile[0] as string)}.${quoted(hostile[3] as string)};
       alter table activity_logs add number bigint
         default nextval('${quoted(hostile[0] as string)}.${quoted(hostile[3] as string)}');
       create domain ${quoted(hostile[0] as string)}.${quoted(hostile[2] as string)} as text;
       create function ${quoted(hostile[0] as string)}.${quoted(hostile[1] as string)}
         (${quoted(hostile[0] as string)}.${quoted(hostile[2] as string)}) returns text language sql immutable return 'x';
       revoke execute on function ${quoted(hostile[0] as string)}.${quoted(hostile[1] as string)} from public;
       alter table activity_logs add made text default ${quoted(hostile[0] as string)}.${quoted(hostile[1] as string)}('a')`,
    );
    const adoption = await check();
    const { before } = adoption.sql;
    t.deepEqual(await psql("app_owner", before, encoding), { stderr: "", executed: false });
    const lines = renderAdoption(adoption).split("\n");
    t.true(lines.join("\n").includes(before), "a terminal shows it as it is");
    for (const line of [...lines, ...before.split("\n")]) t.true(isPrintable(line), JSON.stringify(line));
    t.deepEqual(
      (await check()).findings.filter(({ severity }) => severity === "to run"),
      [],
    );
  });
}

const domain = (name: string) => `create domain ${quoted(name)} as text;`;
const outOfPlace = [
  ...hostile
    .filter((name) => /[$\\'"`]/.test(name))
    .map((name) => ({ what: "a column", name, change: `alter table activity_logs add ${quoted(name)} text not null` })),
  ...["a$function$\\! touch m #", '"\\! touch m #', "'\\! touch m #", "\\! touch m", "\n", "\u202e"].map((name) => ({
    what: "a type",
    name,
    change: `${domain(name)} alter table activity_logs add kind ${quoted(name)} not null`,
  })),
];
for (const { what, name, change } of outOfPlace) {
  test(`no skeleton of the log's function is printed for ${what} ${printableJson(name)}, and the check says so`, async (t) => {
    const { check, psql } = await place(t, change);
    const { ready, findings, sql } = await check();
    t.false((await psql("keyrow_migrate", sql.after)).executed, "it ran");
    t.notRegex(sql.after, /function|touch/);
    t.regex(sql.after, /insert into public\.user_credentials/);
    t.false(ready);
    const found = findings.filter((one) => one.name.startsWith("log.") && one.severity === "in the way");
    t.deepEqual(
      found.map((one) => one.name),
      ["log.names"],
    );
    t.regex(found[0]?.remedy ?? "", /other names, or write keyrow\.log_credential_events yourself/);
    t.false(findings.some((one) => one.name === "log.form"));
  });
}

test("names that are odd and harmless stand in the skeleton, and psql runs it", async (t) => {
  const {
    check,
    psql,
    run: admin,
  } = await place(
    t,
    `create type "Log kind */ --" as enum ('A'); alter table activity_logs
       add "gr\u00f6\u00dfe" text not null, add "a\u3041" text not null, add "Two words" text not null, add "order" int not null,
       add "*/ -- ;" "Log kind */ --" not null`,
  );
  const { before, after } = (await check()).sql;
  t.is((await psql("app_owner", before)).stderr, "");
  const [skeleton = ""] = after.split("-- The application's own credentials");
  for (const encoding of ["UTF8", "SJIS"]) {
    t.deepEqual(await psql("keyrow_migrate", filledIn(skeleton), encoding), { stderr: "", executed: false });
  }
  const { rows } = await admin(
    `select prosrc from pg_proc where oid = 'keyrow.log_credential_events("ActivityAction", uuid[], uuid[], jsonb[])'::regprocedure`,
  );
  t.regex(rows[0]?.prosrc, /"gr\u00f6\u00dfe", "a\u3041", "Two words", "order", "\*\/ -- ;"/);
});

test("nothing that can't be adopted gets out of the messages about it", async (t) => {
  const { check, psql } = await place(
    t,
    `create domain ${quoted("\n\\! touch m\n")} as uuid; create role ${quoted("o\n\\! touch m\n")};
     create function current_user_id(one ${quoted("\n\\! touch m\n")}) returns uuid language sql as 'select null::uuid';
     alter table users owner to ${quoted("o\n\\! touch m\n")};
     alter table workspaces rename id to old; alter table workspaces add id ${quoted("\n\\! touch m\n")};
     create function ${quoted("f\n\\! touch m\n")}() returns int language sql security definer as 'select 1';
     create table ${quoted("t\n\\! touch m\n")} (); grant select on ${quoted("t\n\\! touch m\n")} to public;
     alter table activity_logs add ${quoted("c\n\\! touch m\n")} uuid references users (id)`,
  );
  const adoption = await check();
  const { before } = adoption.sql;
  t.regex(before, /^-- For the owner of the application's tables \(.*o\?\\! touch m\?/m);
  for (const line of renderAdoption(adoption).split("\n")) t.true(isPrintable(line), JSON.stringify(line));
  t.false((await psql("app_owner", before)).executed);
});
