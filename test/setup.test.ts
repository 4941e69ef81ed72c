import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Logger } from "@graphile/logger";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { migrate as migrateCommitted } from "graphile-migrate";
import { createPool } from "../src/database.ts";
import { startEmbedded } from "../src/embedded/server.ts";
import type { KeyrowError } from "../src/errors.ts";
import { secretKey } from "../src/jwt-key.ts";
import { migrationStatus } from "../src/migrate.ts";
import { checkRights } from "../src/rights.ts";
import { asOwner, migrationsFolder, setUpRoles, withConnection } from "../src/setup.ts";
import { createSigner } from "../src/token.ts";
import { openWorkerDatabase } from "../src/worker-database.ts";
import { keyrow as asAdmin } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { cli, surroundings } from "./helpers/command.ts";
import { post } from "./helpers/server.ts";
import { hasPostgres15, startPostgres15 } from "./helpers/system-postgres.ts";
import { addressOf } from "./helpers/until.ts";

const user = "00000000-0000-4000-8000-00000000000a";
const JWT_SECRET = "a-secret-of-forty-eight-bytes-for-this-test-only";

/** A PostgreSQL server: addresses of logins on it, by role and database. */
interface Server {
  url(login: string, database: string): string;
}

async function embedded(t: ExecutionContext): Promise<Server> {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const server = await startEmbedded({
    directory: join(directory, "pg"),
    password: "super",
    settings: { fsync: "off" },
  });
  t.teardown(() => server.stop());
  return {
    url: (login, database) => server.url({ user: login, password: login === "postgres" ? "super" : login }, database),
  };
}

async function system(t: ExecutionContext): Promise<Server> {
  const server = await startPostgres15();
  t.teardown(() => server.stop());
  return server;
}

function keyrow(args: string[], env: Record<string, string> = {}) {
  return execa(process.execPath, [cli, ...args], {
    env: { ...surroundings, NO_COLOR: "1", ...env },
    extendEnv: false,
    reject: false,
    timeout: 60_000,
    forceKillAfterDelay: 5_000,
  });
}

/** An application's database, prepared by a login that may make roles and databases, and nothing else. */
async function prepared(t: ExecutionContext, server: Server, script: string): Promise<Record<string, string>> {
  await withConnection(server.url("postgres", "postgres"), (client) =>
    client.query("create role dba login createrole createdb password 'dba'"),
  );
  await withConnection(server.url("dba", "postgres"), (client) => client.query("create database app"));
  await withConnection(server.url("dba", "app"), async (client) => {
    await client.query(script);
    for (const login of ["keyrow_authenticator", "keyrow_worker", "keyrow_migrate"]) {
      await client.query(`alter role ${login} password '${login}'`);
    }
  });
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const keys = join(directory, "keys.json");
  t.is((await keyrow(["keys", "create"], { KEYROW_KEY_FILE: keys })).exitCode, 0);
  return {
    DATABASE_URL: server.url("keyrow_authenticator", "app"),
    MIGRATE_DATABASE_URL: server.url("keyrow_migrate", "app"),
    KEYROW_KEY_FILE: keys,
    JWT_SECRET,
    PORT: "0",
  };
}

async function goesAllTheWay(t: ExecutionContext, server: Server): Promise<void> {
  const { stdout: script, exitCode } = await keyrow(["setup", "--print", "--with-foundation"]);
  t.is(exitCode, 0);
  const env = await prepared(t, server, script);

  const behind = await keyrow(["serve"], env);
  t.is(behind.exitCode, 1);
  t.regex(
    behind.stderr,
    /^error: the database lacks migrations: 000001\S+, 000002\S+, 000003\S+ and \d+ more\nhint: run `keyrow migrate` first/,
  );

  const pending = await keyrow(["migrate", "--status"], env);
  t.deepEqual([pending.exitCode, pending.stdout.split("\n")[0]], [1, "pending  000001-credential-types.sql"]);
  const dry = await keyrow(["migrate", "--dry-run", "--json"], env);
  t.like(JSON.parse(dry.stdout), { applied: [], unknown: [] });
  t.is((await keyrow(["migrate"], env)).exitCode, 0);
  t.is((await keyrow(["migrate"], env)).stdout, "nothing to apply");
  t.like(await keyrow(["migrate", "--status"], env), { exitCode: 0, stderr: "" });

  await withConnection(server.url("postgres", "app"), (client) =>
    client.query("insert into public.users (id, name) values ($1, 'Ana')", [user]),
  );
  const serving = keyrow(["serve"], env);
  const url = await addressOf(serving);
  const token = createSigner({ key: secretKey(JWT_SECRET), audience: "keyrow", issuer: undefined, userClaim: "sub" })({
    userId: user,
    expiresIn: 60,
  });
  const query =
    'mutation { setUserCredential(input: {provider: "p", name: "n", value: "v"}) { userCredential { value } } }';
  t.deepEqual((await post(url, token, { query })).data, { setUserCredential: { userCredential: { value: "v" } } });
  t.is((await fetch(`${url}/graphiql`)).status, 404);
  serving.kill("SIGTERM");
  t.is((await serving).exitCode, 0);

  await servesAdmins(t, server, env);
  await refusesLogins(t, server, env);
  await refusesMigrators(t, server);
  await mendsLogin(t, server);
  await mendsMigratorAndWorker(t, server);
  await takesBackByRoles(t, server, script);
}

/** A DB admin's commands, with a login that the database's owner lets become keyrow_admin. */
async function servesAdmins(t: ExecutionContext, server: Server, env: Record<string, string>): Promise<void> {
  await withConnection(server.url("dba", "app"), (client) =>
    client.query("create role alice login password 'alice'; grant keyrow_admin to alice"),
  );
  const { KEYROW_KEY_FILE = "" } = env;
  const admin = { ADMIN_DATABASE_URL: server.url("alice", "app"), KEYROW_KEY_FILE };
  const heir = "00000000-0000-4000-8000-00000000000b";
  t.like(await asAdmin(["system", "set", "p/system", "--user", user], admin, "s\n"), { stdout: "created  p/system\n" });
  t.deepEqual(await asAdmin(["system", "get", "p/system"], admin), { stdout: "s", stderr: "", exitCode: 0 });
  await withConnection(server.url("postgres", "app"), async (client) => {
    const { rows } = await client.query(
      "select session_role from public.activity_logs where action = 'CREDENTIAL_ACCESSED' order by id desc limit 1",
    );
    t.deepEqual(rows, [{ session_role: "alice" }]);
    await client.query("insert into public.users (id, name) values ($1, 'Bo')", [heir]);
  });
  t.is((await asAdmin(["handover", "--from", user, "--to", heir], admin)).stdout, "1 credential handed over\n");
  t.is((await asAdmin(["system", "get", "p/system"], admin)).stdout, "s");
  // Who makes roles could give themselves what runs programs, and so could a function of the application's in their name.
  const { stderr } = await asAdmin(["system", "list"], { ...admin, ADMIN_DATABASE_URL: server.url("dba", "app") });
  t.regex(stderr, /^error: the login dba (may make roles, and before PostgreSQL 16|may not become keyrow_admin)/);
}

async function refusesLogins(t: ExecutionContext, server: Server, env: Record<string, string>): Promise<void> {
  const refusals: Array<[what: string, env: Record<string, string>, error: RegExp]> = [
    ["a superuser", { DATABASE_URL: server.url("postgres", "app") }, /it is a superuser/],
    ["the migrating login", { DATABASE_URL: server.url("keyrow_migrate", "app") }, /it may become keyrow_owner/],
    ["a database that is not there", { DATABASE_URL: server.url("keyrow_authenticator", "gone") }, /no such database/],
    [
      "a server that is not there",
      { DATABASE_URL: "postgres://keyrow_authenticator@127.0.0.1:1/app" },
      /nothing listens/,
    ],
    ["no key file", { KEYROW_KEY_FILE: "/nonexistent/keys.json" }, /key file \/nonexistent\/keys\.json/],
  ];
  for (const [what, wrong, error] of refusals) {
    const { exitCode, stderr } = await keyrow(["serve"], { ...env, ...wrong });
    t.is(exitCode, what.endsWith("that is not there") ? 5 : 1, what);
    t.regex(stderr, error, what);
    t.regex(stderr, /^error: .*\nhint: .*$/, `${what}: one line and its remedy`);
  }
}

async function refusesMigrators(t: ExecutionContext, server: Server): Promise<void> {
  const refusals: Array<[login: string, database: string, error: RegExp, hint: RegExp]> = [
    ["postgres", "app", /as the login postgres: it is a superuser$/, /^hint: connect as keyrow_migrate, /],
    ["keyrow_authenticator", "app", /it may not become keyrow_owner$/, /^hint: connect as keyrow_migrate, /],
    ["keyrow_migrate", "gone", /no such database$/, /A new one needs `keyrow setup --print`/],
  ];
  for (const [login, database, expected, remedy] of refusals) {
    for (const options of [[], ["--status"]]) {
      const env = { MIGRATE_DATABASE_URL: server.url(login, database) };
      const { exitCode, stderr } = await keyrow(["migrate", ...options], env);
      t.is(exitCode, database === "gone" ? 5 : 1, login);
      const [error = "", hint = "", ...rest] = stderr.split("\n");
      t.regex(error, expected, login);
      t.regex(hint, remedy, login);
      t.deepEqual(rest, [], login);
    }
  }
}

/** What somebody gave the server's login too much is taken back by the hint's own words, run by who may. */
async function mendsLogin(t: ExecutionContext, server: Server): Promise<void> {
  const authenticator = server.url("keyrow_authenticator", "app");
  const run = (login: string, text: string) => withConnection(server.url(login, "app"), (client) => client.query(text));
  const refusal = async () => {
    const pool = createPool(authenticator, { max: 1 });
    try {
      await checkRights(pool);
      return undefined;
    } catch (error) {
      return error as KeyrowError;
    } finally {
      await pool.end();
    }
  };
  const spoils: Array<[who: string, sql: string, error: RegExp, hint: RegExp]> = [
    [
      "dba",
      "grant keyrow_reveal to keyrow_authenticator",
      /become keyrow_reveal/,
      /revoke keyrow_reveal from keyrow_auth/,
    ],
    [
      "postgres",
      "grant keyrow_admin, keyrow_worker to keyrow_authenticator",
      /keyrow_admin, keyrow_worker/,
      /run: revoke/,
    ],
    ["dba", "grant keyrow_admin to keyrow_user", /become keyrow_admin/, /revoke keyrow_admin from keyrow_user/],
    [
      "dba",
      "alter role keyrow_authenticator createrole createdb",
      /make roles.*make databases/,
      /nocreaterole nocreatedb/,
    ],
    [
      "postgres",
      "alter role keyrow_authenticator replication bypassrls",
      /bypasses.*replicate/,
      /nobypassrls noreplication/,
    ],
    ["postgres", "alter role keyrow_authenticator superuser", /superuser/, /nosuperuser/],
    [
      "postgres",
      "alter role keyrow_user bypassrls",
      /as the login keyrow_authenticator: keyrow_user, which it may become, bypasses row level security\.$/,
      /run: alter role keyrow_user nobypassrls\.$/,
    ],
    [
      "postgres",
      "alter role keyrow_user superuser; alter role keyrow_reveal bypassrls",
      /: keyrow_reveal, whose functions it calls, bypasses row level security; keyrow_user, which it may become, is a superuser\.$/,
      /alter role keyrow_reveal nobypassrls; alter role keyrow_user nosuperuser\.$/,
    ],
    [
      "dba",
      "alter role keyrow_anonymous createrole",
      /keyrow_anonymous, which it may become, may make roles/,
      /run: alter role keyrow_anonymous nocreaterole\.$/,
    ],
    [
      "postgres",
      "grant select, delete on public.users to keyrow_authenticator; grant select (id) on public.workspaces to keyrow_authenticator",
      /rights of its own/,
      /revoke delete, select on table public\.users from.*revoke select \(id\) on table public\.workspaces from/,
    ],
    [
      "dba",
      "grant keyrow_user to keyrow_authenticator with admin option",
      /it may let others be keyrow_user\.$/,
      /run: revoke admin option for keyrow_user from keyrow_authenticator/,
    ],
    [
      "dba",
      "revoke keyrow_user from keyrow_authenticator; alter role keyrow_authenticator inherit; grant keyrow_user to keyrow_authenticator",
      /inherits the rights/,
      /alter role keyrow_authenticator noinherit/,
    ],
  ];
  for (const [who, sql, error, hint] of spoils) {
    await run(who, sql);
    const refused = await refusal();
    t.regex(refused?.message ?? "", error, sql);
    t.regex(refused?.hint ?? "", hint, sql);
    await run(who, /^Let an admin of the database run: (.*)\.$/.exec(refused?.hint ?? "")?.[1] ?? "");
    t.is(await refusal(), undefined, sql);
  }
  await run("postgres", "alter database app owner to keyrow_authenticator");
  const owning = await refusal();
  t.regex(owning?.message ?? "", /: it owns the database app\.$/);
  const whose = "whoever should own it";
  t.is(owning?.hint, `Let an admin of the database run: alter database app owner to ${whose}.`);
  await run("postgres", "alter database app owner to dba");
  t.is(await refusal(), undefined);
}

/** The same for the logins that migrate and move values. */
async function mendsMigratorAndWorker(t: ExecutionContext, server: Server): Promise<void> {
  const run = (login: string, text: string) => withConnection(server.url(login, "app"), (client) => client.query(text));
  const uses: Record<string, () => Promise<unknown>> = {
    keyrow_migrate: () => migrationStatus(server.url("keyrow_migrate", "app")),
    keyrow_worker: async () => (await openWorkerDatabase(server.url("keyrow_worker", "app"))).pool.end(),
  };
  const refusal = async (login: string) => {
    try {
      await uses[login]?.();
      return undefined;
    } catch (error) {
      return error as KeyrowError;
    }
  };
  const spoils: Array<[login: string, who: string, sql: string, error: RegExp]> = [
    ["keyrow_migrate", "postgres", "alter role keyrow_migrate bypassrls", /: it bypasses row level security\.$/],
    ["keyrow_migrate", "postgres", "alter role keyrow_migrate superuser", /: it is a superuser\.$/],
    ["keyrow_migrate", "dba", "grant keyrow_admin to keyrow_migrate", /: it may become keyrow_admin\.$/],
    ["keyrow_migrate", "dba", "grant keyrow_admin to keyrow_owner", /: it may become keyrow_admin\.$/],
    [
      "keyrow_migrate",
      "postgres",
      "alter role keyrow_owner bypassrls",
      /: keyrow_owner, which it may become, bypasses row level security\.$/,
    ],
    ["keyrow_worker", "postgres", "alter role keyrow_worker bypassrls", /: it bypasses row level security\.$/],
    ["keyrow_worker", "postgres", "alter role keyrow_worker superuser createdb", /: it is a superuser\.$/],
    ["keyrow_worker", "dba", "grant keyrow_user to keyrow_worker", /: it may become keyrow_user\.$/],
  ];
  for (const [login, who, sql, error] of spoils) {
    t.is(await refusal(login), undefined, login);
    await run(who, sql);
    const refused = await refusal(login);
    t.is(refused?.code, "DATABASE_RIGHTS", sql);
    t.regex(refused?.message ?? "", error, sql);
    await run(who, /^Let an admin of the database run: (.*)\.$/.exec(refused?.hint ?? "")?.[1] ?? "");
    t.is(await refusal(login), undefined, sql);
  }
}

/** What is set up again takes from the roles what they may not have, or stops where its login may not take it. */
async function takesBackByRoles(t: ExecutionContext, server: Server, script: string): Promise<void> {
  const run = (login: string, text: string) => withConnection(server.url(login, "app"), (client) => client.query(text));
  await run("postgres", "alter role keyrow_user createdb; alter role keyrow_reveal createrole");
  await run("dba", script);
  await run("postgres", "alter role keyrow_user bypassrls");
  await t.throwsAsync(run("dba", script), { code: "42501", message: /^the role keyrow_user may do more/ });
  await run("postgres", script);
  const { rows } = await run(
    "postgres",
    `select rolname from pg_roles
     where rolname like 'keyrow%' and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)`,
  );
  t.deepEqual(rows, []);
}

test("a login with CREATEROLE and CREATEDB alone sets up, migrates and serves on PostgreSQL 18", async (t) => {
  await goesAllTheWay(t, await embedded(t));
});

// On a machine without it the test is skipped and counted; in CI its absence is a failure.
const on15 = hasPostgres15 || process.env.CI ? test : test.skip;
on15("a login with CREATEROLE and CREATEDB alone sets up, migrates and serves on PostgreSQL 15", async (t) => {
  await goesAllTheWay(t, await system(t));
});

test("what is set up can be set up again, and leaves the admin in none of the roles", async (t) => {
  const server = await embedded(t);
  const { stdout: script } = await keyrow(["setup", "--print", "--with-foundation"]);
  await prepared(t, server, script);
  await withConnection(server.url("dba", "app"), (client) => client.query(script));
  const { rows } = await withConnection(server.url("dba", "app"), (client) =>
    client.query(`select rolname from pg_roles
                  where rolname like 'keyrow%' and pg_has_role('dba', oid, 'USAGE') order by 1`),
  );
  t.deepEqual(rows, []);
});

/** A database that the version before keyrow_upkeep has set up and migrated, brought to this one. */
async function comesFromBefore(t: ExecutionContext, server: Server): Promise<void> {
  const { stdout: script } = await keyrow(["setup", "--print", "--with-foundation"]);
  const env = await prepared(t, server, script);
  await withConnection(server.url("postgres", "app"), (client) =>
    client.query("drop owned by keyrow_upkeep; drop role keyrow_upkeep"),
  );
  const folder = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(folder));
  await cp(migrationsFolder, folder, { recursive: true });
  const names = (await readdir(`${folder}/committed`)).toSorted();
  const since = names.indexOf("000010-owned-by-nobody-who-logs-in.sql");
  for (const name of names.slice(since)) await rm(`${folder}/committed/${name}`);
  const connectionString = asOwner(server.url("keyrow_migrate", "app"));
  await migrateCommitted({ connectionString, migrationsFolder: folder, logger: new Logger(() => () => undefined) });
  const owners = () =>
    withConnection(server.url("dba", "app"), async (client) => {
      const { rows } = await client.query<{ owner: string }>(`
        select distinct pg_get_userbyid(proowner) as owner from pg_proc
        where pronamespace = 'keyrow'::regnamespace and proname in ('key_census', 'key_rows', 'touch')`);
      return rows.map(({ owner }) => owner);
    });
  t.deepEqual(await owners(), ["keyrow_worker"]);

  for (const options of [[], ["--status"], ["--dry-run"]]) {
    const { exitCode, stdout, stderr } = await keyrow(["migrate", ...options], env);
    t.deepEqual([exitCode, stdout], [1, ""]);
    t.regex(
      stderr,
      /^error: .* not set up for this version of Keyrow: it lacks keyrow_upkeep, or .*\nhint: .*setup --print/,
    );
    t.is(stderr.split("\n").length, 2);
  }
  // Another database of the same server brings the role, but not its rights in this one.
  await withConnection(server.url("dba", "app"), (client) =>
    client.query(script.replace(/create schema[\s\S]*$/, "commit")),
  );
  t.regex((await keyrow(["migrate"], env)).stderr, /^error: .* it lacks keyrow_upkeep, or rights of theirs/);
  await withConnection(server.url("dba", "app"), (client) => client.query(script));
  t.like(await keyrow(["migrate"], env), { exitCode: 0 });
  t.deepEqual(await owners(), ["keyrow_upkeep"]);
}

test("a database of an earlier version is set up again by its admin, and then migrated, on PostgreSQL 18", async (t) => {
  await comesFromBefore(t, await embedded(t));
});

on15(
  "a database of an earlier version is set up again by its admin, and then migrated, on PostgreSQL 15",
  async (t) => {
    await comesFromBefore(t, await system(t));
  },
);

test("a server that was never set up is not migrated, and the hint says what comes first", async (t) => {
  const server = await embedded(t);
  await withConnection(server.url("postgres", "postgres"), (client) =>
    client.query("create role dba login createrole password 'dba'"),
  );
  const { exitCode, stderr } = await keyrow(["migrate"], { MIGRATE_DATABASE_URL: server.url("dba", "postgres") });
  t.is(exitCode, 1);
  t.regex(stderr, /^error: .* may not become keyrow_owner\nhint: run what `keyrow setup --print` prints first, /);
});

test("what the admin can't take from everybody is refused, and nothing is set up until somebody else does", async (t) => {
  const server = await embedded(t);
  const { stdout: script } = await keyrow(["setup", "--print", "--with-foundation"]);
  await withConnection(server.url("postgres", "postgres"), (client) =>
    client.query("create role dba login createrole createdb password 'dba'"),
  );
  const as = (login: string, text: string) => withConnection(server.url(login, "app"), (client) => client.query(text));
  await withConnection(server.url("dba", "postgres"), (client) => client.query("create database app"));
  // As in a database that was made before PostgreSQL 15.
  await as("postgres", "alter schema public owner to postgres; grant create on schema public to public");
  await t.throwsAsync(as("dba", script), { code: "42501", message: /^the schema public belongs to postgres, / });
  await as("postgres", "alter schema public owner to pg_database_owner");
  await as("postgres", "alter database app owner to postgres; grant create on database app to dba");
  await as(
    "postgres",
    "grant all on schema public to dba with grant option; revoke create on schema public from public",
  );
  await t.throwsAsync(as("dba", script), { code: "42501", message: /^this login does not own the database, / });
  t.is((await as("postgres", "select from pg_roles where rolname like 'keyrow%'")).rowCount, 0);
  await as("postgres", "alter database app owner to dba");
  await as("dba", script);
  const { rows } = await as(
    "postgres",
    `select has_schema_privilege('keyrow_user', 'public', 'create') as creates,
       has_database_privilege('keyrow_user', current_database(), 'temporary') as temporary`,
  );
  t.deepEqual(rows, [{ creates: false, temporary: false }]);
});

test("without its foundation a database is not migrated, and the error names what is missing", async (t) => {
  const server = await embedded(t);
  const { stdout: script } = await keyrow(["setup", "--print"]);
  const env = await prepared(t, server, script);
  const { exitCode, stderr } = await keyrow(["migrate"], env);
  t.is(exitCode, 1);
  t.regex(stderr, /^error: the database has no table users, no table workspaces.*\nhint: .*--with-foundation/);
});

test("what must be given to keyrow serve and migrate is asked for by name", async (t) => {
  const serve = await keyrow(["serve"]);
  t.is(serve.exitCode, 1);
  for (const name of ["DATABASE_URL", "KEYROW_KEY_FILE", "JWT_SECRET"])
    t.regex(serve.stderr, new RegExp(`error: .*${name}`));
  const migrate = await keyrow(["migrate"], { MIGRATE_DATABASE_URL: "http://secret@nowhere/x" });
  t.is(migrate.exitCode, 1);
  t.regex(migrate.stderr, /^error: MIGRATE_DATABASE_URL: it is not an address of PostgreSQL/);
  t.notRegex(migrate.stderr, /secret/);
});

test("the embedded start takes away what the logins have set for themselves, for one database as well", async (t) => {
  const { url } = await embedded(t);
  const passwords = { keyrow_authenticator: "a", keyrow_worker: "w", keyrow_migrate: "m" };
  const defaults = () =>
    withConnection(url("postgres", "postgres"), async (client) => {
      const { rows } = await client.query<{ role: string }>(
        "select setrole::regrole::text as role from pg_db_role_setting",
      );
      return rows.map(({ role }) => role).sort();
    });
  await setUpRoles(url("postgres", "postgres"), passwords);
  await withConnection(url("postgres", "postgres"), (client) => client.query('create database "an ""app"'));
  for (const login of Object.keys(passwords)) {
    // By the login itself, which is what makes it possible.
    await withConnection(url("postgres", "postgres"), async (client) => {
      await client.query(`set session authorization ${login}`);
      await client.query(`alter role ${login} set work_mem = '1MB'`);
      await client.query(`alter role ${login} in database "an ""app" set statement_timeout = 1`);
    });
  }
  t.is((await defaults()).length, 6);
  await setUpRoles(url("postgres", "postgres"), passwords);
  t.deepEqual(await defaults(), []);
});
