import { chmodSync, existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { rowRules } from "../../src/adopt/credentials.ts";
import type { Finding } from "../../src/adopt/finding.ts";
import { objectFindings, versionFinding } from "../../src/adopt/objects.ts";
import { type Adoption, checkAdoption } from "../../src/adopt.ts";
import { asOwner } from "../../src/setup.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { makeApplication, run, type Server, setUp, sqlFile, startServer } from "./application.ts";

// Each thing that can stand in the way is caused in a copy of an application's database in which nothing does, and named.

const user = "00000000-0000-4000-8000-0000000000e1";
const team = "00000000-0000-4000-8000-0000000000e2";

let server: Server;
// What is copied has no sessions of its own: a server waits five seconds for them to end, and then refuses.
const originals: Partial<Record<"app" | "with_credentials", Adoption>> = {};
test.before(async () => {
  server = await startServer();
  await makeApplication(server);
  await setUp(server);
  const { sql } = await checkAdoption(server.url("app_owner", "app"), "app.user_id");
  await run(server, "app_owner", sql.before);
  await run(server, "postgres", "create database with_credentials template app", "postgres");
  await run(server, "app_owner", withoutEnums(await sqlFile("specification.sql")), "with_credentials");
  await run(server, "postgres", logins);
  for (const name of ["app", "with_credentials"] as const) {
    originals[name] = await checkAdoption(server.url("app_owner", name), "app.user_id");
  }
});
test.after.always(() => server?.stop());

/** Who sees every row without owning one, and who may do more on the server than in a database. */
const logins = `
  create role reader login bypassrls password 'reader'; grant pg_read_all_data to reader;
  create role programmer login password 'programmer'; grant pg_execute_server_program to programmer;
  create role filer login password 'filer'; grant pg_write_server_files to filer;
  create role deputy login noinherit password 'deputy'; grant postgres to deputy`;

/** The values are there already. */
const withoutEnums = (text: string) => text.replaceAll(/^ALTER TYPE.*$/gm, "");

interface Case {
  /** What is done to the copy, as a superuser. */
  readonly cause: string;
  /** The findings that were not there before, with their severities. */
  readonly found: Readonly<Record<string, Finding["severity"]>>;
  /** What the first of them says. */
  readonly says: RegExp;
  /** The database that is copied; `app` where it does not say. */
  readonly of?: "app" | "with_credentials";
  readonly userSetting?: string;
  readonly login?: string;
}

let copies = 0;

/** Causes it in a copy; gives what was found there and not in the original, and the way to check again. */
async function inCopy({ cause, of = "app", userSetting = "app.user_id", login = "app_owner" }: Case) {
  copies += 1;
  const copy = `copy_${copies}`;
  await run(server, "postgres", `create database ${copy} template ${of}`, "postgres");
  const original = originals[of]?.findings ?? [];
  await run(server, "postgres", cause, copy);
  const check = () => checkAdoption(server.url(login, copy), userSetting);
  const same = (one: Finding, other: Finding) => one.name === other.name && one.severity === other.severity;
  const added = ({ findings }: Adoption) => findings.filter((one) => !original.some((it) => same(it, one)));
  return { copy, added: async () => added(await check()) };
}

const define = (body: string) => `
  create or replace function public.current_user_id() returns uuid language plpgsql stable as $$ begin ${body} end $$`;
const credential = (columns: string, values: string) =>
  `insert into public.user_credentials (id, user_id, name, provider, type, encrypted_value${columns})
   values ('00000000-0000-4000-8000-0000000000f1', '${user}', 'n', 'p', 'API_KEY', 'vault:v1:base64data'${values})`;

const cases: Record<string, Case> = {
  "uuid-ossp in another schema": {
    cause: 'create schema extensions; alter extension "uuid-ossp" set schema extensions',
    found: { "extension.uuid-ossp": "in the way" },
    says: /in the schema extensions.*alter extension "uuid-ossp" set schema public/,
  },
  "no schema of Keyrow's": {
    cause: "drop schema keyrow cascade",
    found: { setup: "to run" },
    says: /`keyrow setup --print`/,
  },
  "an owner who creates in public because everybody may": {
    cause: "revoke create on schema public from app_owner; grant create on schema public to public",
    found: { "schema.public": "note" },
    says: /grant create on schema public to app_owner;/,
  },
  "a schema public that is not the database owner's, as in a database that was made before PostgreSQL 15": {
    cause: `
      do $$ begin execute format('alter database %I owner to app_owner', current_database()); end $$;
      alter schema public owner to postgres; grant create on schema public to public`,
    found: { "schema.public.owner": "in the way" },
    says: /belongs to postgres, .*alter schema public owner to pg_database_owner;/,
  },
  "no users": {
    cause: "alter table users rename to people",
    found: { "table.users": "in the way" },
    says: /no table public\.users\. .*--with-foundation/,
  },
  "users that are a view": {
    cause: "alter table users rename to people; create view users as select * from people",
    found: { "table.users": "in the way" },
    says: /public\.users is not a table/,
  },
  "no workspaces": {
    cause: "alter table workspaces rename to teams",
    found: { "table.workspaces": "in the way" },
    says: /no table public\.workspaces/,
  },
  "no members": {
    cause: "alter table workspace_members rename to members",
    found: { "table.workspace_members": "in the way", "function.is_workspace_admin": "in the way" },
    says: /no table public\.workspace_members/,
  },
  "no activity log": {
    cause: "alter table activity_logs rename to log",
    found: { "table.activity_logs": "in the way" },
    says: /no table public\.activity_logs/,
  },
  "an id of users that is text": {
    cause: "alter table users rename id to uuid; alter table users add id text",
    found: { "column.users.id": "in the way", "grant.users.references": "to run", "grant.users.select": "to run" },
    says: /has the type text, not uuid/,
  },
  "an id of workspaces that nothing can refer to": {
    cause: "alter table workspaces drop constraint pk_teams cascade",
    found: { "column.workspaces.id": "in the way" },
    says: /no primary key or unique index.*alter table public\.workspaces add unique \(id\)/,
  },
  "members without a user": {
    cause: "alter table workspace_members rename user_id to person_id",
    found: { "column.workspace_members.user_id": "in the way", "function.is_workspace_admin": "in the way" },
    says: /public\.workspace_members\.user_id is missing/,
  },
  "no current_user_id()": {
    cause: "drop function current_user_id cascade",
    found: { "function.current_user_id": "in the way" },
    says: /public\.current_user_id\(\) is missing/,
  },
  "a current_user_id() that gives text": {
    cause:
      "drop function current_user_id cascade; create function current_user_id() returns text stable language sql as 'select null::text'",
    found: { "function.current_user_id": "in the way" },
    says: /returns text, not uuid/,
  },
  "an is_workspace_admin of other parameters": {
    cause:
      "drop function is_workspace_admin; create function is_workspace_admin(t text, u text) returns boolean language sql as 'select true'",
    found: { "function.is_workspace_admin": "in the way" },
    says: /there is is_workspace_admin\(text, text\)/,
  },
  "an is_workspace_admin that takes the user first": {
    cause:
      "drop function is_workspace_admin; create function is_workspace_admin(user_uuid uuid, workspace_uuid uuid) returns boolean language sql as 'select true'",
    found: {
      "function.is_workspace_admin": "in the way",
      "grant.workspace_members.select": "to run",
    },
    says: /takes \(user_uuid, workspace_uuid\)/,
  },
  "an is_workspace_admin that gives a number": {
    cause:
      "drop function is_workspace_admin; create function is_workspace_admin(t uuid, u uuid) returns int language sql security definer set search_path = pg_catalog as 'select 1'",
    found: { "function.is_workspace_admin": "in the way" },
    says: /returns integer, not boolean/,
  },
  "an is_workspace_admin that raises": {
    cause: `create or replace function is_workspace_admin(workspace_uuid uuid, user_uuid uuid) returns boolean
      language plpgsql stable security definer set search_path = public as $$ begin raise 'no such workspace'; end $$`,
    found: { "function.is_workspace_admin": "in the way" },
    says: /raises when a user asks/,
  },
  "an is_workspace_admin that finds its tables by the caller's search path": {
    cause: "alter function is_workspace_admin reset search_path",
    found: { "function.is_workspace_admin": "to run" },
    says: /by its caller's search path/,
  },
  "an is_workspace_admin that any search path may fool": {
    cause: `create or replace function is_workspace_admin(workspace_uuid uuid, user_uuid uuid) returns boolean
      language sql stable security definer as 'select false'; alter function is_workspace_admin reset search_path`,
    found: { "function.is_workspace_admin": "note" },
    says: /its owner's rights and its caller's search path/,
  },
  "an action that is missing": {
    cause: `alter type "ActivityAction" rename value 'CREDENTIAL_ROTATED' to 'OTHER'`,
    found: { "enum.ActivityAction": "to run" },
    says: /lacks CREDENTIAL_ROTATED/,
  },
  "no EntityType": {
    cause: 'alter type "EntityType" rename to "Kind"',
    found: { "enum.EntityType": "to run" },
    says: /no enum EntityType/,
  },
  "a current_user_id() that reads another setting": {
    cause: "select",
    userSetting: "jwt.claims.user_id",
    found: { "identity.setting": "in the way" },
    says: /reads app\.user_id, not jwt\.claims\.user_id\. .*KEYROW_USER_SETTING=app\.user_id/,
  },
  "a current_user_id() that reads a setting of four words": {
    cause: define("return nullif(current_setting('request.jwt.claim.sub', true), '')::uuid;"),
    found: { "identity.setting": "in the way" },
    says: /reads request\.jwt\.claim\.sub, not app\.user_id\. .*KEYROW_USER_SETTING=request\.jwt\.claim\.sub/,
  },
  "a current_user_id() that writes its setting with capitals": {
    cause: define("return nullif(current_setting('app.currentUserId', true), '')::uuid;"),
    found: { "identity.setting": "in the way" },
    says: /reads app\.currentuserid, not app\.user_id\. .*KEYROW_USER_SETTING=app\.currentuserid/,
  },
  "a current_user_id() that does not say what it reads": {
    cause: define("return nullif(current_setting('app.' || 'user', true), '')::uuid;"),
    found: { "identity.setting": "in the way" },
    says: /nothing in it says what it reads/,
  },
  "a current_user_id() that raises without claims": {
    cause: define("return current_setting('app.user_id')::uuid;"),
    found: { "identity.unset": "in the way" },
    says: /raises where no claims are set.*nullif\(current_setting\('app\.user_id', true\), ''\)::uuid/,
  },
  "a current_user_id() that raises where its setting is empty": {
    cause: define("return current_setting('app.user_id', true)::uuid;"),
    found: { "identity.empty": "note" },
    says: /raises where its setting is empty/,
  },
  "a current_user_id() that takes malformed claims for none": {
    cause: define(
      "return nullif(current_setting('app.user_id', true), '')::uuid; exception when others then return null;",
    ),
    found: { "identity.malformed": "note" },
    says: /takes malformed claims for none/,
  },
  "a current_user_id() that takes nobody for somebody": {
    cause: define(`return '${user}'::uuid;`),
    found: { "identity.everybody": "in the way" },
    says: /gives a user although no claims are set/,
  },
  "functions that the roles may not execute": {
    cause: "revoke execute on function current_user_id, is_workspace_admin from public",
    found: { "grant.current_user_id": "to run", "grant.is_workspace_admin": "to run" },
    says: /keyrow_owner, keyrow_user, keyrow_reveal, keyrow_worker, keyrow_admin may not execute/,
  },
  "functions that call others in a schema which the roles may not name": {
    cause: `create schema auth authorization app_owner; create schema deep authorization app_owner;
      create function deep.setting() returns text language sql stable return current_setting('app.user_id', true);
      create function auth.uid() returns uuid language sql stable as $$ select nullif("deep" . "setting"(), '')::uuid $$;
      ${define("return AUTH.uid();")}`,
    found: { "grant.current_user_id.schema": "to run" },
    says: /public\.current_user_id calls what is in the schema auth, which keyrow_owner, keyrow_user, keyrow_reveal, keyrow_worker, keyrow_admin may not name\./,
  },
  "an is_workspace_admin that reads another table with the caller's rights": {
    cause: `set role app_owner; create table ranks (workspace_id uuid, user_id uuid);
      create or replace function is_workspace_admin(workspace_uuid uuid, user_uuid uuid) returns boolean
      language sql stable set search_path = public as
      'select exists (select from "ranks" where workspace_id = workspace_uuid and user_id = user_uuid)'`,
    found: { "function.is_workspace_admin.reads": "in the way", "grant.workspace_members.select": "to run" },
    says: /is_workspace_admin reads public\.ranks with its caller's rights, and keyrow_reveal may not read that\. .*security definer/,
  },
  "an is_workspace_admin that runs with the caller's rights": {
    cause: "alter function is_workspace_admin security invoker",
    found: { "grant.workspace_members.select": "to run" },
    says: /keyrow_reveal lacks the right select/,
  },
  "no right to refer to users": {
    cause: "revoke references (id) on users from keyrow_owner",
    found: { "grant.users.references": "to run" },
    says: /keyrow_owner lacks the right references on public\.users/,
  },
  "no right to refer to workspaces": {
    cause: "revoke references (id) on workspaces from keyrow_owner",
    found: { "grant.workspaces.references": "to run" },
    says: /on public\.workspaces/,
  },
  "no right to read workspaces": {
    cause: "revoke select (id) on workspaces from keyrow_reveal",
    found: { "grant.workspaces.select": "to run" },
    says: /keyrow_reveal lacks the right select on public\.workspaces/,
  },
  "no right to read members": {
    cause: "revoke select (user_id) on workspace_members from keyrow_reveal",
    found: { "grant.workspace_members.select": "to run" },
    says: /keyrow_reveal lacks the right select on public\.workspace_members/,
  },
  "no policy on workspaces": {
    cause: "drop policy workspaces_select_reveal on workspaces",
    found: { "policy.workspaces": "to run" },
    says: /no policy for keyrow_reveal/,
  },
  "no policy on members": {
    cause: "drop policy workspace_members_select_reveal on workspace_members",
    found: { "policy.workspace_members": "to run" },
    says: /no policy for keyrow_reveal/,
  },
  "no right to write to the log": {
    cause: "revoke insert (source) on activity_logs from keyrow_reveal",
    found: { "grant.activity_logs.insert": "to run" },
    says: /may not insert into public\.activity_logs/,
  },
  "no policy to write to the log": {
    cause: "drop policy activity_logs_insert_reveal on activity_logs",
    found: { "policy.activity_logs": "to run" },
    says: /no policy that lets keyrow_reveal insert/,
  },
  "no way to look up the users of the log": {
    cause: "drop policy users_select_reveal on users; revoke select (id) on users from keyrow_reveal",
    found: { "grant.users.select": "to run" },
    says: /can't look up the users/,
  },
  "a log that counts its entries": {
    cause: "alter table activity_logs add number bigserial",
    found: { "grant.activity_logs.sequence": "to run" },
    says: /may not draw from the sequences of public\.activity_logs: number\./,
  },
  "a log whose ids come from a sequence that everything shares": {
    cause: `create schema "Shared"; alter schema "Shared" owner to app_owner; set role app_owner;
      create sequence "Shared"."The ids"; alter table activity_logs add number bigint default nextval('"Shared"."The ids"')`,
    found: { "grant.activity_logs.sequence": "to run" },
    says: /may not draw from the sequences/,
  },
  "a log whose defaults call a function that is not everybody's": {
    cause: `set role app_owner; create function turn(text, int[]) returns text language sql immutable return 'x';
      revoke execute on function turn from public;
      alter table activity_logs add turn text default turn('a', '{1}'), add round text not null default turn('b', '{}')`,
    found: { "grant.activity_logs.default": "to run" },
    says: /may not execute the functions that columns of public\.activity_logs are filled by: round, turn\./,
  },
  "a log with a column that a function makes of others": {
    cause: `set role app_owner; create function "Shape"(text) returns text language sql immutable return 'x';
      revoke execute on function "Shape" from public;
      alter table activity_logs add shape text generated always as ("Shape"(source)) stored`,
    found: { "grant.activity_logs.default": "to run" },
    says: /are filled by: shape\./,
  },
  "a column of the log whose name is a keyword": {
    cause: 'alter table activity_logs add "order" int not null',
    found: { "grant.activity_logs.insert": "to run" },
    says: /may not insert into public\.activity_logs/,
  },
  "a restrictive policy on the log": {
    cause: "create policy weekdays on activity_logs as restrictive for insert with check (importance > 1)",
    found: { "policy.activity_logs.restrictive": "note" },
    says: /binds keyrow_reveal as well, which writes to it/,
  },
  "a log that checks what an entry gives": {
    cause: "alter table activity_logs add constraint \"Known sources\" check (source in ('web', 'mail'))",
    found: { "log.check": "note" },
    says: /checks what an entry gives: Known sources\. .*let it take CREDENTIAL_CREATED, /,
  },
  "tables that tokens with limits would read beyond them": {
    cause: "grant select (id) on users to keyrow_user",
    found: { "limits.users": "note" },
    says: /keyrow_user may read public\.users, where no restrictive policy holds a token to its limits/,
  },
  "a table that everybody with a token would read whole": {
    cause: "grant select (id) on users to keyrow_user; alter table users disable row level security",
    found: { "security.users": "in the way", "limits.users": "note" },
    says: /public\.users, which has no row level security: everybody with a token sees all its rows/,
  },
  "a table that everybody may read, whoever they are": {
    cause: "grant select on users to public; alter table users disable row level security",
    found: { "security.users": "in the way", "limits.users": "note" },
    says: /or revokes select on it from keyrow_user, and from public where everybody has it/,
  },
  "a restrictive policy on members": {
    cause: "create policy mine on workspace_members as restrictive using (user_id = current_user_id())",
    found: { "policy.workspace_members.restrictive": "note" },
    says: /binds keyrow_reveal as well, which reads it/,
  },
  "a log whose users can't be deleted": {
    cause:
      "alter table activity_logs drop constraint fk_log_person, add foreign key (user_id) references users (id) on delete restrict",
    found: { "log.undeletable.user_id": "note" },
    says: /can't be deleted, and every reveal is.*on delete set null/,
  },
  "a log that needs a user, who can't be deleted": {
    cause:
      "alter table activity_logs drop constraint fk_log_person, alter user_id set not null, add foreign key (user_id) references users (id)",
    found: { "log.undeletable.user_id": "note" },
    says: /let the column be null and make the key `on delete set null`/,
  },
  "a type of the name of Keyrow's": {
    cause: `create type "CredentialType" as enum ('API_KEY'); alter type "CredentialType" owner to app_owner`,
    found: { "credentials.place": "to run" },
    says: /its own of what the migrations make: the enum CredentialType\./,
  },
  "credentials without a provider": {
    of: "with_credentials",
    cause: "alter table user_credentials rename provider to service",
    found: { "credentials.columns": "in the way", "credentials.extra": "note" },
    says: /can't be loaded: it has no provider/,
  },
  "credentials whose id is no uuid": {
    of: "with_credentials",
    cause: "alter table user_credentials alter id drop default, alter id type text",
    found: { "credentials.columns": "in the way" },
    says: /id is no uuid/,
  },
  "credentials that say more": {
    of: "with_credentials",
    cause: "alter table user_credentials add colour text",
    found: { "credentials.extra": "note" },
    says: /columns that are not loaded: colour/,
  },
  "credentials that the login may not read": {
    of: "with_credentials",
    login: "dba",
    cause: "select",
    found: { "rows.unread": "in the way" },
    says: /may not read public\.user_credentials\. .*connect as its owner/,
  },
  "credentials whose rows can't be compared": {
    of: "with_credentials",
    cause: "alter table users owner to postgres",
    found: { "rows.user": "in the way" },
    says: /can't be checked/,
  },
  "a duplicate that plain NULLs let pass": {
    of: "with_credentials",
    cause: `${credential("", "")}; insert into user_credentials
      select uuid_generate_v4(), c.user_id, c.workspace_id, c.name, c.provider, c.type, c.scope, c.encrypted_value from user_credentials c`,
    found: { "rows.duplicate": "in the way" },
    says: /same user, workspace, provider and name.*rename or delete all but one/,
  },
  "one name of a workspace's, of two admins": {
    of: "with_credentials",
    cause: `${credential(", workspace_id, scope", `, '${team}', 'WORKSPACE'`)};
      insert into users (id, email, name) values ('00000000-0000-4000-8000-0000000000e3', 'e3', 'e3');
      insert into user_credentials
      select uuid_generate_v4(), '00000000-0000-4000-8000-0000000000e3', c.workspace_id, c.name, c.provider, c.type, c.scope, c.encrypted_value from user_credentials c`,
    found: { "rows.duplicate.workspace": "in the way" },
    says: /share provider and name/,
  },
  "a value that may be plaintext": {
    of: "with_credentials",
    cause: `${credential("", "")}; update user_credentials set encrypted_value = 'hunter2'`,
    found: { "rows.value": "in the way" },
    says: /may be plaintext/,
  },
  "a WORKSPACE credential without one": {
    of: "with_credentials",
    cause: credential(", scope", ", 'WORKSPACE'"),
    found: { "rows.workspace": "in the way" },
    says: /of the scope WORKSPACE and have none/,
  },
  "a type that the specification does not know": {
    of: "with_credentials",
    cause: `${credential("", "")}; alter type "CredentialType" rename value 'API_KEY' to 'CERTIFICATE'`,
    found: { "rows.type": "in the way" },
    says: /CUSTOM fits everything/,
  },
  "a scope that the specification does not know": {
    of: "with_credentials",
    cause: `${credential(", scope", ", 'SYSTEM'")}; alter type "CredentialScope" rename value 'SYSTEM' to 'GLOBAL'`,
    found: { "rows.scope": "in the way" },
    says: /USER, WORKSPACE or SYSTEM/,
  },
  "a name that is too long": {
    of: "with_credentials",
    cause: `alter table user_credentials alter name type text; ${credential("", "")}; update user_credentials set name = repeat('x', 256)`,
    found: { "rows.length": "in the way" },
    says: /beyond 255, 100 or 20 characters/,
  },
  "an expiry at infinity": {
    of: "with_credentials",
    cause: credential(", expires_at", ", 'infinity'"),
    found: { "rows.expiry": "in the way" },
    says: /set expires_at to null/,
  },
  "a credential of nobody": {
    of: "with_credentials",
    cause: `alter table user_credentials drop constraint user_credentials_user_id_fkey; ${credential("", "")};
      update user_credentials set user_id = uuid_generate_v4()`,
    found: { "rows.user": "in the way" },
    says: /belong to no user/,
  },
  "a credential of no workspace that there is": {
    of: "with_credentials",
    cause: `alter table user_credentials drop constraint user_credentials_workspace_id_fkey;
      ${credential(", workspace_id", ", uuid_generate_v4()")}`,
    found: { "rows.team": "in the way" },
    says: /name a workspace that there isn't/,
  },
  "a credential without a name, which loads": {
    of: "with_credentials",
    cause: `${credential("", "")}; update user_credentials set name = ''`,
    found: { "rows.unnamed": "note" },
    says: /have an empty name or provider.* name them/,
  },
  "a description beyond what the API takes, which loads": {
    of: "with_credentials",
    cause: credential(", description", ", repeat('x', 16385)"),
    found: { "rows.description": "note" },
    says: /description of more than 16384 bytes.* shorten it/,
  },
  "metadata beyond what the API takes, which load": {
    of: "with_credentials",
    cause: credential(", metadata", `, jsonb_build_object('k', repeat('x', 16384))`),
    found: { "rows.metadata": "note" },
    says: /metadata of more than 16384 bytes.* keep less/,
  },
};

for (const [title, it] of Object.entries(cases)) {
  test(`it names, with the remedy: ${title}`, async (t) => {
    const { copy, added } = await inCopy(it);
    const found = await added();
    t.deepEqual(Object.fromEntries(found.map(({ name, severity }) => [name, severity])), it.found);
    t.regex(`${found[0]?.what} ${found[0]?.remedy}`, it.says);
    t.notRegex(JSON.stringify(found), /hunter2|base64data/);
    // What is printed for the owner is what is needed.
    const sql = found.flatMap((one) => one.sql ?? []);
    if (sql.length === 0) return;
    await run(server, "app_owner", sql.join("\n"), copy);
    const left = (await added()).map(({ name }) => name);
    t.deepEqual(
      left,
      found.filter((one) => one.sql === undefined).map(({ name }) => name),
    );
  });
}

test("a value is malformed exactly where the migrated table refuses it under a legacy key", async (t) => {
  const committed = new URL("../../migrations/committed/000002-user-credentials.sql", import.meta.url);
  const [, legacy = ""] = /when key_id = 'legacy' then(.*?)else false/s.exec(await readFile(committed, "utf8")) ?? [];
  const forms = [...legacy.matchAll(/encrypted_value ~ '([^']*)'/g)].map(([, form = ""]) => form);
  const rule = rowRules.find(({ name }) => name === "rows.value");
  t.is(forms.length, 2);
  t.deepEqual(
    [...(rule?.wrong ?? "").matchAll(/~ '([^']*)'/g)].map(([, form]) => form),
    forms,
  );
});

test("no more than twenty rows are named, and all are counted", async (t) => {
  const cause = `alter table user_credentials alter id set default uuid_generate_v4();
    insert into user_credentials (user_id, name, provider, type, encrypted_value)
    select '${user}', n::text, 'p', 'API_KEY', 'hunter2' from generate_series(1, 25) n`;
  const { added } = await inCopy({ of: "with_credentials", cause, found: {}, says: /./ });
  const [found] = await added();
  t.deepEqual([found?.name, found?.rows?.count, found?.rows?.ids.length], ["rows.value", 25, 20]);
});

test("what can't be caused here is named as well: an older server, and one without uuid-ossp", async (t) => {
  t.like(versionFinding(140_012), { name: "postgres.version", severity: "in the way" });
  t.regex(versionFinding(140_012)?.what ?? "", /PostgreSQL 14/);
  t.is(versionFinding(150_000), undefined);
  const empty = {
    login: "x",
    migrated: false,
    withoutUsage: [],
    setUp: true,
    publicOwner: null,
    createdByEverybody: [],
    tables: [],
    routines: [],
    enums: [],
    sequences: [],
    defaults: [],
    reach: [],
    reads: [],
  };
  const open = { rights: new Set<string>(), openTables: [], openRoutines: [] };
  const uuidOssp = { schema: null, available: false };
  const found = objectFindings({ ...empty, ...open, version: 180_000, uuidOssp });
  t.like(found[0], {
    name: "extension.uuid-ossp",
    severity: "in the way",
    remedy: "install the server's contrib package",
  });
});

test("a check that row level security may keep rows from says so", async (t) => {
  const { copy } = await inCopy({ of: "with_credentials", cause: "select", found: {}, says: /./ });
  const names = async (login: string) => {
    const { findings } = await checkAdoption(server.url(login, copy), "app.user_id");
    return findings.map(({ name }) => name).filter((name) => name.startsWith("rows."));
  };
  t.deepEqual(await names("app_owner"), ["rows.hidden"]);
  t.deepEqual(await names("reader"), []);
});

test("a log without a column for what has to be in it is never finished by itself", async (t) => {
  const cause = "alter table activity_logs rename user_id to by; alter table activity_logs alter by drop not null";
  const { copy } = await inCopy({ cause, found: {}, says: /./ });
  const { sql } = await checkAdoption(server.url("app_owner", copy), "app.user_id");
  t.regex(sql.after, /\/\* fill in: a column for user_id: public\.current_user_id\(\) \*\//);
});

test("what a column of the log does not hold is left to fill in: no cast that raises or cuts off stands in the skeleton", async (t) => {
  const cause = `
    alter table activity_logs drop column entity_id; alter table activity_logs add entity_id bigint;
    create type kind as enum ('LOGIN'); alter table activity_logs drop column entity_type; alter table activity_logs add entity_type kind;
    alter table activity_logs alter action type varchar(18), alter details drop default, alter details type text;
    alter table activity_logs drop column workspace_id cascade; alter table activity_logs add workspace_id varchar(36)`;
  const { copy } = await inCopy({ cause, found: {}, says: /./ });
  const { sql } = await checkAdoption(server.url("app_owner", copy), "app.user_id");
  for (const left of [
    "entity_id, bigint, which does not hold a uuid",
    "entity_type, public.kind, which does not hold CREDENTIAL",
    "action, character varying(18), which does not hold CREDENTIAL_ACCESSED",
  ])
    t.true(sql.after.includes(`/* fill in: ${left} */ null`), sql.after);
  t.true(sql.after.includes("(entry.workspace_id)::character varying(36)"));
  t.regex(sql.after, /\(entry\.details [^;]*\)::text/);
});

test("an enum of the application's own is filled by itself once it holds what an entry gives, and what it lacks is named", async (t) => {
  const cause = `
    create type kind as enum ('LOGIN', 'CREDENTIAL');
    create type deed as enum ('CREDENTIAL_CREATED', 'CREDENTIAL_ACCESSED', 'CREDENTIAL_ROTATED');
    alter table activity_logs drop column entity_type; alter table activity_logs add entity_type kind;
    alter table activity_logs drop column action; alter table activity_logs add action deed`;
  const { copy } = await inCopy({ cause, found: {}, says: /./ });
  const skeleton = async () => (await checkAdoption(server.url("app_owner", copy), "app.user_id")).sql.after;
  const before = await skeleton();
  t.true(before.includes("('CREDENTIAL')::text::public.kind"), before);
  t.true(before.includes("/* fill in: action, public.deed, which does not hold CREDENTIAL_REVOKED */ null"), before);
  await run(server, "postgres", "alter type deed add value 'CREDENTIAL_REVOKED'", copy);
  t.true((await skeleton()).includes("(log_credential_events.action)::text::public.deed"));
});

test("a log that does not say whose login made an entry is named, and says it once its owner has run the remedy", async (t) => {
  const { copy, added } = await inCopy({ cause: "select", found: {}, says: /./ });
  t.deepEqual(await added(), []);
  const { findings } = await checkAdoption(server.url("app_owner", copy), "app.user_id");
  const found = findings.find(({ name }) => name === "log.login");
  t.is(found?.severity, "note");
  await run(server, "app_owner", found?.remedy.replace(/^.*?runs: /, "") ?? "", copy);
  const left = (await checkAdoption(server.url("app_owner", copy), "app.user_id")).findings;
  t.false(left.some(({ name }) => name === "log.login"));
  await run(
    server,
    "postgres",
    `set role keyrow_reveal; insert into activity_logs (workspace_id, user_id, action, entity_type, entity_id, source, importance)
     values ('${team}', '${user}', 'CREDENTIAL_CREATED', 'CREDENTIAL', '${user}', 'keyrow', 1)`,
    copy,
  );
  const { rows } = await run(
    server,
    "postgres",
    "select session_role from activity_logs where source = 'keyrow'",
    copy,
  );
  t.deepEqual(rows, [{ session_role: "postgres" }]);
});

test("an entry can be written where the check finds no right missing: with a serial and an identity", async (t) => {
  const cause = `alter table activity_logs drop column id; alter table activity_logs add id bigserial primary key;
    alter table activity_logs add turn int generated always as identity`;
  const { copy, added } = await inCopy({ cause, found: {}, says: /./ });
  const write = `set role keyrow_reveal; insert into activity_logs
    (workspace_id, user_id, action, entity_type, entity_id, source, importance)
    values ('${team}', '${user}', 'CREDENTIAL_CREATED', 'CREDENTIAL', '${user}', 'keyrow', 1)`;
  await t.throwsAsync(run(server, "postgres", write, copy), { message: /permission denied for sequence/ });
  const found = await added();
  t.deepEqual(
    found.map(({ name, sql }) => [name, sql]),
    [["grant.activity_logs.sequence", ["grant usage on sequence public.activity_logs_id_seq to keyrow_reveal;"]]],
  );
  await run(server, "app_owner", found.flatMap(({ sql = [] }) => sql).join("\n"), copy);
  await t.notThrowsAsync(run(server, "postgres", write, copy));
  t.deepEqual(await added(), []);
});

test("the check changes nothing, and can't", async (t) => {
  const { copy } = await inCopy({
    cause: `create table tried (); grant insert on tried to public;
      create or replace function current_user_id() returns uuid language plpgsql volatile security definer
        set search_path = public as $$ begin create table by_check (); return null; end $$;
      alter function current_user_id owner to app_owner`,
    found: {},
    says: /./,
  });
  const { findings } = await checkAdoption(server.url("app_owner", copy), "app.user_id");
  t.true(findings.some(({ name }) => name === "identity.setting"));
  const { rows } = await run(server, "postgres", "select to_regclass('public.by_check') as made", copy);
  t.deepEqual(rows, [{ made: null }]);
});

for (const [login, reason] of [
  ["postgres", "is a superuser"],
  ["deputy", "may become postgres"],
  ["programmer", "may become pg_execute_server_program"],
  ["filer", "may become pg_write_server_files"],
] as const) {
  test(`a login that ${reason} checks nothing, for the application's functions would run with its rights`, async (t) => {
    const directory = makeTemporaryDirectory();
    chmodSync(directory, 0o777);
    t.teardown(() => removeWithServers(directory));
    const marker = join(directory, "marker");
    const { copy } = await inCopy({
      // What the check asks of the database is not the application's, either.
      cause: `${define(`copy (select 1) to program 'touch ${marker}'; return null;`)};
        alter function current_user_id() volatile;
        create schema fools; grant usage on schema fools to public;
        create function fools.equals(name, name) returns boolean language plpgsql as
          $$ begin copy (select 1) to program 'touch ${marker}'; return true; end $$;
        create operator fools.= (leftarg = name, rightarg = name, function = fools.equals);
        alter role ${login} in database copy_${copies + 1} set search_path = fools, pg_catalog`,
      found: {},
      says: /./,
    });
    const error = await checkAdoption(server.url(login, copy), "app.user_id").catch((refusal) => refusal);
    t.false(existsSync(marker), "it ran");
    t.like(error, {
      code: "DATABASE_RIGHTS",
      message: `The login ${login} ${reason}: the application's functions, which run here, could do the same.`,
    });
  });
}

for (const [title, body] of [
  ["that sleeps", "perform pg_sleep(600); return null;"],
  [
    "that sleeps on when it is woken",
    "begin perform pg_sleep(600); exception when query_canceled then perform pg_sleep(600); end; return null;",
  ],
] as const) {
  test(`a current_user_id() ${title} does not hold the check up`, async (t) => {
    const { copy } = await inCopy({ cause: define(body), found: {}, says: /./ });
    const { ready, findings } = await checkAdoption(server.url("app_owner", copy), "app.user_id", 1_000);
    t.false(ready);
    t.like(findings.at(-1), { name: "function.current_user_id", severity: "in the way" });
    t.regex(findings.at(-1)?.what ?? "", /gives no answer in a minute/);
  });
}

test("a policy that sleeps does not hold the check of the rows up", async (t) => {
  const { copy } = await inCopy({
    of: "with_credentials",
    cause: `${credential("", "")}; alter table user_credentials force row level security;
      create policy slow on user_credentials as restrictive using (pg_sleep(600) is not null)`,
    found: {},
    says: /./,
  });
  const { findings } = await checkAdoption(server.url("app_owner", copy), "app.user_id", 2_000);
  t.like(findings.at(-1), { name: "rows.duplicate", severity: "in the way" });
  t.regex(
    findings.at(-1)?.what ?? "",
    /^In a minute it could not be told whether rows of public\.user_credentials have/,
  );
});

test("in a database with Keyrow's own foundation nothing stands in the way", async (t) => {
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  const adoption = await checkAdoption(asOwner(database.url("keyrow_migrate")), "jwt.claims.user_id");
  t.deepEqual(adoption, { ready: true, findings: [], sql: { before: "", after: "" } });
});
