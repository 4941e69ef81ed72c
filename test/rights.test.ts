import { randomBytes } from "node:crypto";
import test from "ava";
import type pg from "pg";
import { createPool } from "../src/database.ts";
import type { KeyrowError } from "../src/errors.ts";
import { checkRights } from "../src/rights.ts";
import { asRole, withConnection } from "../src/setup.ts";
import { createTestDatabase, type TestDatabase, testUrl } from "./helpers/database.ts";

// Logins belong to the whole server: their names are this file's own, and they are dropped at the end.
const mark = randomBytes(4).toString("hex");
const loginOf = (name: string) => `rights_${mark}_${name}`;
const password = `p${mark}`;

let database: TestDatabase;
const made: string[] = [];
test.before(async () => {
  database = await createTestDatabase();
});
test.after.always(async () => {
  await database?.drop();
  for (const login of made) await run(testUrl("postgres", "postgres"), `drop owned by ${login}; drop role ${login}`);
});

function run(url: string, text: string): Promise<pg.QueryResult> {
  return withConnection(url, (client) => client.query(text));
}

function url(login: string): string {
  const address = new URL(testUrl("postgres", database.name));
  Object.assign(address, { username: login, password });
  return address.href;
}

/** Makes a login that may do what `attributes` and `more` say, and checks it; the message and hint, or undefined. */
async function check(
  name: string,
  attributes: string,
  more: (login: string) => string,
  on = url,
): Promise<KeyrowError | undefined> {
  const login = loginOf(name);
  made.push(login);
  await run(testUrl("postgres", database.name), `create role ${login} login ${attributes} password '${password}'`);
  await run(testUrl("postgres", database.name), more(login));
  const pool = createPool(on(login), { max: 1 });
  try {
    await checkRights(pool);
    return undefined;
  } catch (error) {
    return error as KeyrowError;
  } finally {
    await pool.end();
  }
}

const member = (login: string) => `grant keyrow_user to ${login}`;

test("the authenticator may serve", async (t) => {
  const pool = createPool(database.url("keyrow_authenticator"), { max: 1 });
  t.teardown(() => pool.end());
  await t.notThrowsAsync(checkRights(pool));
});

test("a login with the authenticator's rights alone may serve", async (t) => {
  t.is(await check("good", "noinherit", member), undefined);
});

test("neither what everybody may nor what the authenticator is granted is too much", async (t) => {
  const granted = (login: string) => `${member(login)};
    grant usage on schema keyrow, graphile_migrate to ${login};
    grant select on graphile_migrate.migrations to ${login};
    grant execute on routine keyrow.key_census(), keyrow.key_rows(text), keyrow.touch(uuid[]),
      keyrow.identified_user(text, text), keyrow.provision_identity(text, text, jsonb),
      keyrow.identified_machines(text, jsonb), keyrow.is_machine(uuid) to ${login};
    grant connect on database ${database.name} to ${login}`;
  t.is(await check("granted", "noinherit", granted), undefined);
});

test("default privileges and large objects of its own stop no start: anybody with its password can make them", async (t) => {
  const defaults = (login: string) =>
    `${member(login)}; set role ${login}; alter default privileges grant select on tables to public;
     select lo_create(0); reset role`;
  t.is(await check("defaults", "noinherit", defaults), undefined);
});

const wrong: Array<[name: string, attributes: string, more: (login: string) => string, reason: RegExp]> = [
  ["superuser", "noinherit superuser", member, /it is a superuser/],
  ["bypass", "noinherit bypassrls", member, /it bypasses row level security/],
  [
    "owner",
    "noinherit",
    (login) =>
      `${member(login)}; create table public.owned_${mark} (id int); alter table public.owned_${mark} owner to ${login}`,
    /it owns things in the database/,
  ],
  [
    "owns_schema",
    "noinherit",
    (login) => `${member(login)}; create schema owned_${mark} authorization ${login}`,
    /it owns things in the database/,
  ],
  [
    "owns_function",
    "noinherit",
    (login) =>
      `${member(login)}; create function public.owned_${mark}() returns int language sql return 1; alter function public.owned_${mark}() owner to ${login}`,
    /it owns things in the database/,
  ],
  [
    "owns_the_database",
    "noinherit",
    (login) => `${member(login)}; alter database ${database.name} owner to ${login}`,
    /as the login \w+: it owns the database keyrow_test_\w+\.$/,
  ],
  [
    "gives_away",
    "noinherit",
    (login) => `grant keyrow_user, keyrow_anonymous to ${login} with admin option`,
    /: it may let others be keyrow_anonymous, keyrow_user\.$/,
  ],
  ["stranger", "noinherit", () => "", /it may not become keyrow_user/],
  ["inheriting", "inherit", member, /it inherits the rights of keyrow_user/],
  [
    "becomes_owner",
    "noinherit",
    (login) => `${member(login)}; grant keyrow_owner to ${login}`,
    /it may become keyrow_owner/,
  ],
  [
    "becomes_reveal",
    "noinherit",
    (login) => `${member(login)}; grant keyrow_reveal to ${login}`,
    /it may become keyrow_reveal/,
  ],
  [
    "becomes_worker",
    "noinherit",
    (login) => `${member(login)}; grant keyrow_worker to ${login}`,
    /it may become keyrow_worker/,
  ],
  [
    "becomes_admin",
    "noinherit",
    (login) => `${member(login)}; grant keyrow_admin to ${login}`,
    /it may become keyrow_admin/,
  ],
  [
    "reads_all",
    "noinherit",
    (login) => `${member(login)}; grant pg_read_all_data to ${login}`,
    /it may become pg_read_all_data/,
  ],
  ["by_way_of", "noinherit", (login) => `grant keyrow_authenticator to ${login}`, /it may become keyrow_authenticator/],
  ["makes_roles", "noinherit createrole", member, /it may make roles and let itself into others/],
  ["makes_databases", "noinherit createdb", member, /it may make databases/],
  ["replicates", "noinherit replication", member, /it may replicate the whole server/],
  [
    "reads_a_table",
    "noinherit",
    (login) => `${member(login)}; grant select, delete on public.user_credentials to ${login}`,
    /it has rights of its own: delete, select on table public\.user_credentials\.$/,
  ],
  [
    "reads_a_column",
    "noinherit",
    (login) => `${member(login)}; grant select (encrypted_value) on public.user_credentials to ${login}`,
    /rights of its own: select \(encrypted_value\) on table public\.user_credentials\.$/,
  ],
  [
    "reads_the_whole_schema",
    "noinherit",
    (login) => `${member(login)}; grant select on all tables in schema public to ${login}`,
    /rights of its own: select on table public\.\w+, .*, and \d+ more\.$/,
  ],
  [
    "calls_a_function",
    "noinherit",
    (login) => `${member(login)}; grant execute on routine keyrow.reveal_user_credentials(uuid[], bigint) to ${login}`,
    /rights of its own: execute on routine keyrow\.reveal_user_credentials\(/,
  ],
  [
    "makes_functions",
    "noinherit",
    (login) => `${member(login)}; grant create on schema keyrow to ${login}`,
    /rights of its own: create on schema keyrow/,
  ],
  [
    "makes_temporary_tables",
    "noinherit",
    (login) => `${member(login)}; grant temporary on database ${database.name} to ${login}`,
    /rights of its own: temporary on database keyrow_test_/,
  ],
  [
    "turns_triggers_off",
    "noinherit",
    (login) => `${member(login)}; grant set on parameter session_replication_role to ${login}`,
    /rights of its own: set on parameter session_replication_role/,
  ],
  [
    "several",
    "inherit bypassrls",
    (login) => `${member(login)}; grant keyrow_admin, keyrow_worker to ${login}`,
    /it bypasses row level security; it may become keyrow_admin, keyrow_worker; it inherits/,
  ],
];
for (const [name, attributes, more, reason] of wrong) {
  test(`a login is refused, with the reason and the remedy: ${name.replaceAll("_", " ")}`, async (t) => {
    const error = await check(name, attributes, more);
    t.is(error?.code, "DATABASE_RIGHTS");
    t.regex(error?.message ?? "", reason);
    t.true(error?.message.includes(loginOf(name)));
    t.is(error?.hint, "Connect as keyrow_authenticator, or as a login with its rights alone.");
  });
}

test("it is the login that counts, not the role that its sessions begin in", async (t) => {
  const error = await check("disguised", "noinherit superuser", member, (login) => asRole(url(login), "keyrow_user"));
  t.regex(error?.message ?? "", /it is a superuser/);
});
