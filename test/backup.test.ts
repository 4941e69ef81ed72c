import { randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { secretKey } from "../src/jwt-key.ts";
import { withConnection } from "../src/setup.ts";
import { createSigner } from "../src/token.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { cli, surroundings } from "./helpers/command.ts";
import { snapshot } from "./helpers/migrations.ts";
import { post } from "./helpers/server.ts";
import { hasPostgres15, postgres15Bin, startPostgres15 } from "./helpers/system-postgres.ts";
import { addressOf } from "./helpers/until.ts";

// Does what docs/backup.md says: its blocks are what is run here, with pg_dump and pg_restore of PostgreSQL 15.

const page = await readFile(new URL("../docs/backup.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/```sh\n([\s\S]*?)```/g)].map(([, text = ""]) => text);

/** The page's one block that has this in it. */
function block(part: string): string {
  const found = blocks.filter((text) => text.includes(part));
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} blocks have ${part}`);
  return found[0];
}

const checkPolicies = block("not every row would be dumped");
const checkLargeObjects = block("pg_largeobject_metadata");
const dumpAsOwner = block("--role=keyrow_owner --enable-row-security");
const dumpAsSuperuser = block('"$SUPERUSER_URL"');
const takeContents = block("cat > contents.sql");
const prepare = block("keyrow setup --print");
const restoreDump = block("pg_restore --exit-on-error");
const tidyUp = block("revoke keyrow_owner");
const finish = block("diff before.txt after.txt");

const JWT_SECRET = "a-secret-of-forty-eight-bytes-for-this-test-only";
const signer = createSigner({
  key: secretKey(JWT_SECRET),
  audience: "keyrow",
  issuer: undefined,
  userClaim: "sub",
});

type Server = Awaited<ReturnType<typeof startPostgres15>>;
const ana = randomUUID();
const bo = randomUUID();
const team = randomUUID();
const values = {
  [randomUUID()]: { user: ana, name: "token", scope: "USER", value: "ghp_0123456789abcdefghij0123456789abcdefgh" },
  [randomUUID()]: { user: ana, name: "text", scope: "USER", value: "pässwörd ✓\nof two lines 🔑" },
  [randomUUID()]: { user: bo, name: "deploy", scope: "WORKSPACE", value: "sk_live_the-team's-own-key-0123456789" },
};
const systemId = randomUUID();
const systemValue = "the-mail-relay's-own-password";

/** What is backed up, and where the page's commands run. */
interface Source {
  readonly server: Server;
  readonly directory: string;
  readonly keyFile: string;
  /** The ids of the credentials, as the API made them, by name. */
  readonly ids: Readonly<Record<string, string>>;
}

let made: Promise<Source> | undefined;
/** The database that is backed up: made at the first call, with values that a real server sealed. */
function source(): Promise<Source> {
  made ??= makeSource();
  return made;
}
test.after.always(async () => {
  const there = await made?.catch(() => undefined);
  await there?.server.stop();
  if (there) await removeWithServers(there.directory);
});

async function makeSource(): Promise<Source> {
  const server = await startPostgres15();
  const directory = makeTemporaryDirectory("keyrow-backup-");
  try {
    return { server, directory, ...(await fill(server, directory)) };
  } catch (error) {
    await server.stop();
    await removeWithServers(directory);
    throw error;
  }
}

async function fill(server: Server, directory: string): Promise<Pick<Source, "keyFile" | "ids">> {
  const keyFile = join(directory, "keys.json");
  const [key] = await createKeyFile(keyFile);
  if (!key) throw new Error("no key");
  await mkdir(join(directory, "bin"));
  await writeFile(join(directory, "bin/npx"), `#!/bin/sh\nshift\nexec "${process.execPath}" "${cli}" "$@"\n`);
  await chmod(join(directory, "bin/npx"), 0o755);

  await makeAdmin(server);
  await withConnection(server.url("dba", "postgres"), (client) => client.query("create database app"));
  const { stdout: script } = await execa(process.execPath, [cli, "setup", "--print", "--with-foundation"]);
  await withConnection(server.url("dba", "app"), (client) => client.query(script));
  await execa(process.execPath, [cli, "migrate"], {
    env: { MIGRATE_DATABASE_URL: server.url("keyrow_migrate", "app") },
  });

  const [sealed] = await createLocalCipher(key).seal([
    { context: ["user_credentials", "encrypted_value", systemId, "SYSTEM", null], value: systemValue },
  ]);
  await withConnection(server.url("postgres", "app"), async (client) => {
    await client.query(`
      insert into public.users (id, email, name) values ('${ana}', 'ana@example.org', 'Ana'), ('${bo}', null, 'Bo');
      insert into public.workspaces (id, name) values ('${team}', 'Team');
      insert into public.workspace_members (workspace_id, user_id, role) values
        ('${team}', '${bo}', 'OWNER'), ('${team}', '${ana}', 'MEMBER')`);
    await client.query(
      `insert into public.user_credentials (id, user_id, name, provider, type, scope, encrypted_value, key_id)
       values ($1, $2, 'relay', 'smtp', 'PASSWORD', 'SYSTEM', $3, $4)`,
      [systemId, ana, sealed?.encrypted, sealed?.keyId],
    );
  });
  const ids = await serving(server, "app", keyFile, makeValues);
  return { keyFile, ids };
}

/** An admin without superuser. */
async function makeAdmin(server: Server): Promise<void> {
  await withConnection(server.url("postgres", "postgres"), (client) =>
    client.query("create role dba login createrole createdb"),
  );
}

/** Runs `keyrow serve` on a database for as long as `work` takes. */
async function serving<T>(
  server: Server,
  database: string,
  keyFile: string,
  work: (url: string) => Promise<T>,
): Promise<T> {
  const child = execa(process.execPath, [cli, "serve"], {
    env: {
      DATABASE_URL: server.url("keyrow_authenticator", database),
      KEYROW_KEY_FILE: keyFile,
      JWT_SECRET,
      PORT: "0",
    },
    reject: false,
    timeout: 120_000,
    forceKillAfterDelay: 5_000,
  });
  try {
    return await work(await addressOf(child));
  } finally {
    child.kill("SIGTERM");
    await child;
  }
}

function ask(url: string, user: string, query: string, variables: Record<string, unknown>) {
  return post(url, signer({ userId: user, expiresIn: 60 }), { query, variables });
}

/** Makes the credentials through the API, one of them revoked and one revealed: the log has each kind of entry. */
async function makeValues(url: string): Promise<Record<string, string>> {
  const ids: Record<string, string> = {};
  const create = `mutation ($credential: UserCredentialInput!) {
    createUserCredential(input: { userCredential: $credential }) { userCredential { id value } } }`;
  const all = [
    ...Object.values(values),
    { user: ana, name: "gone", scope: "USER", value: "revoked-and-never-seen-again" },
  ];
  for (const { user, name, scope, value } of all) {
    const workspace = scope === "WORKSPACE" ? { scope, workspaceId: team } : {};
    const credential = { provider: "test", name, type: "SECRET", value, metadata: { n: name }, ...workspace };
    const { data, errors } = await ask(url, user, create, { credential });
    if (!data) throw new Error(JSON.stringify(errors));
    ids[name] = data.createUserCredential.userCredential.id;
  }
  const revoke = "mutation ($id: UUID!) { revokeUserCredential(input: { id: $id }) { userCredential { isActive } } }";
  const { errors } = await ask(url, ana, revoke, { id: ids.gone });
  if (errors.length > 0) throw new Error(JSON.stringify(errors));
  return ids;
}

/** Runs a block of the page in the directory, as a shell would that stops at the first fault. */
async function shell(at: Source, text: string, env: Record<string, string>) {
  const { PATH = "" } = surroundings;
  return execa("bash", ["--norc", "-euo", "pipefail", "-c", text], {
    cwd: at.directory,
    env: { ...surroundings, PATH: `${join(at.directory, "bin")}:${postgres15Bin}:${PATH}`, NO_COLOR: "1", ...env },
    extendEnv: false,
    reject: false,
    timeout: 120_000,
  });
}

/** Runs a block that has to succeed, and gives what it printed. */
async function runs(t: ExecutionContext, at: Source, text: string, env: Record<string, string>): Promise<string> {
  const { exitCode, stdout, stderr } = await shell(at, text, env);
  t.is(exitCode, 0, `${text}\n${stdout}\n${stderr}`);
  return stdout;
}

/** Every row of every table, as a superuser sees them. */
async function rowsOf(server: Server, database: string): Promise<Record<string, unknown[]>> {
  return withConnection(server.url("postgres", database), async (client) => {
    const { rows: tables } = await client.query<{ name: string }>(`
      select c.oid::regclass::text as name from pg_class c
      where relkind = 'r' and relnamespace::regnamespace::text in ('public', 'keyrow', 'graphile_migrate') order by 1`);
    const all: Record<string, unknown[]> = {};
    for (const { name } of tables) {
      const { rows } = await client.query(`select to_jsonb(r) as row from ${name} r order by r::text`);
      all[name] = rows.map(({ row }) => row);
    }
    return all;
  });
}

/** What else of a database counts: rights on it and on graphile-migrate's schema, the log's number, memberships. */
async function rightsOf(server: Server, database: string): Promise<unknown> {
  const query = `
    select
      array(select concat_ws(' ', case grantee when 0 then 'public' else grantee::regrole::text end, privilege_type)
        from pg_database, aclexplode(datacl) where datname = current_database() and grantee <> datdba order by 1) as database,
      array(select concat_ws(' ', nspname, grantee::regrole, privilege_type) from pg_namespace, aclexplode(nspacl)
        where nspname = 'graphile_migrate' order by 1) as migrations,
      (select last_value from public.activity_logs_id_seq) as number,
      array(select rolname::text from pg_roles where rolname like 'keyrow%' and pg_has_role('dba', oid, 'USAGE')) as dba`;
  return withConnection(server.url("postgres", database), async (client) => (await client.query(query)).rows[0]);
}

/** The catalogue, whoever set the database up. */
async function catalogueOf(server: Server, database: string): Promise<unknown> {
  const taken = JSON.stringify(await snapshot(server.url("postgres", database))).replaceAll("postgres", "dba");
  // The entries of a list were in order under the other name.
  return JSON.parse(taken, (key, value) => (key === "acl" && Array.isArray(value) ? value.toSorted() : value));
}

interface Way {
  readonly dump: string;
  /** Who restores. */
  readonly admin: "dba" | "postgres";
  /** The database that is made, and the server that it is made on. */
  readonly database: string;
  readonly on: (t: ExecutionContext, at: Source) => Promise<Server>;
}

async function comesBack(t: ExecutionContext, { dump, admin, database, on }: Way): Promise<void> {
  const at = await source();
  const before = {
    SUPERUSER_URL: at.server.url("postgres", "app"),
    MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "app"),
  };
  t.is(await runs(t, at, checkPolicies, before), "", "every row is dumped");
  await runs(t, at, takeContents, before);
  await runs(t, at, dump, before);

  const target = await on(t, at);
  await withConnection(target.url(admin, "postgres"), (client) => client.query(`create database ${database}`));
  const after = {
    ADMIN_URL: target.url(admin, database),
    MIGRATE_DATABASE_URL: target.url("keyrow_migrate", database),
  };
  await runs(t, at, prepare, after);
  await runs(t, at, restoreDump, after);
  await runs(t, at, tidyUp, after);

  const rows = await rowsOf(at.server, "app");
  t.deepEqual(await rowsOf(target, database), rows);
  t.is(rows.user_credentials?.length, 5);
  t.deepEqual(await catalogueOf(target, database), await catalogueOf(at.server, "app"));
  t.deepEqual(await rightsOf(target, database), await rightsOf(at.server, "app"));

  t.is(await runs(t, at, finish, after), "nothing to apply");
  await serving(target, database, at.keyFile, (url) => everythingOpens(t, at, url));
  t.is(await opensSystem(at, target, database), systemValue);
}

/** Every value opens, on the record, what was revoked stays so, and what is new can be made. */
async function everythingOpens(t: ExecutionContext, { ids }: Source, url: string): Promise<void> {
  const reveal = "query ($id: UUID!) { userCredential(id: $id) { name value } }";
  for (const { user, name, value } of Object.values(values)) {
    const { data } = await ask(url, user, reveal, { id: ids[name] });
    t.deepEqual(data, { userCredential: { name, value } });
  }
  t.deepEqual((await ask(url, ana, reveal, { id: ids.gone })).codes, ["CREDENTIAL_REVOKED"]);
  t.deepEqual((await ask(url, ana, reveal, { id: ids.deploy })).data, { userCredential: null }, "policies hold");
  const log = `query ($id: UUID!) { activityLogs(filter: { entityId: { equalTo: $id } }) { nodes { action } } }`;
  const { data } = await ask(url, ana, log, { id: ids.token });
  const actions = data.activityLogs.nodes.map(({ action }: { action: string }) => action);
  t.deepEqual(actions.toSorted(), ["CREDENTIAL_ACCESSED", "CREDENTIAL_ACCESSED", "CREDENTIAL_CREATED"]);
  const renew = `mutation ($id: UUID!) {
    rotateUserCredential(input: { id: $id, value: "anew" }) { userCredential { value isActive } } }`;
  t.like((await ask(url, ana, renew, { id: ids.gone })).data, {
    rotateUserCredential: { userCredential: { value: "anew", isActive: true } },
  });
}

/** The SYSTEM value of a database, opened with the key file. */
async function opensSystem(at: Source, server: Server, database: string): Promise<unknown> {
  const { readKeyFile } = await import("../src/cipher/keyfile.ts");
  const [key] = await readKeyFile(at.keyFile);
  const { rows } = await withConnection(server.url("postgres", database), (client) =>
    client.query("select encrypted_value, key_id from public.user_credentials where id = $1", [systemId]),
  );
  if (!key) throw new Error("no key");
  const context = ["user_credentials", "encrypted_value", systemId, "SYSTEM", null];
  const bound = { context, encrypted: rows[0].encrypted_value, keyId: rows[0].key_id };
  return (await createLocalCipher(key).open([bound]))[0];
}

// On a machine without PostgreSQL 15 they are skipped and counted; in CI its absence is a failure.
const on15 = hasPostgres15 || process.env.CI ? test.serial : test.serial.skip;

on15(
  "what the owner dumps, an admin without superuser restores on another server, and every value opens",
  async (t) => {
    await comesBack(t, {
      dump: dumpAsOwner,
      admin: "dba",
      database: "restored",
      on: async () => {
        const other = await startPostgres15();
        t.teardown(() => other.stop());
        await makeAdmin(other);
        return other;
      },
    });
  },
);

on15("what a superuser dumps, a superuser restores beside it, and every value opens", async (t) => {
  await comesBack(t, { dump: dumpAsSuperuser, admin: "postgres", database: "beside", on: async (_t, at) => at.server });
});

on15("a superuser's list of contents is the owner's", async (t) => {
  const at = await source();
  const env = {
    SUPERUSER_URL: at.server.url("postgres", "app"),
    MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "app"),
  };
  await runs(t, at, takeContents, env);
  const seen = await runs(t, at, 'psql -v ON_ERROR_STOP=1 -qAt -f contents.sql "$SUPERUSER_URL"', env);
  t.is(`${seen}\n`, await readFile(join(at.directory, "before.txt"), "utf8"));
  t.regex(seen, /^public\.user_credentials\|5 -?\d+$/m);
  t.regex(seen, /^graphile_migrate\.migrations\|[1-9]/m);
});

on15("rows alone can't be restored into tables that have row level security", async (t) => {
  const at = await source();
  const env = { MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "app") };
  await runs(t, at, dumpAsOwner, env);
  const options = "--data-only --table=user_credentials --role=keyrow_owner --enable-row-security";
  const { exitCode, stderr } = await shell(at, `pg_restore ${options} --dbname="$MIGRATE_DATABASE_URL" app.dump`, env);
  t.is(exitCode, 1);
  t.regex(stderr, /COPY FROM not supported with row-level security/);
});

on15("a dump has ciphertexts and the log, and no value and no key", async (t) => {
  const at = await source();
  await runs(t, at, dumpAsSuperuser, { SUPERUSER_URL: at.server.url("postgres", "app") });
  const text = await runs(t, at, "pg_restore --file=- app.dump", {});
  t.regex(text, /CREDENTIAL_ACCESSED/);
  t.regex(text, /local:\d{8}-[0-9a-f]{8}/);
  const { keys } = JSON.parse(await readFile(at.keyFile, "utf8")) as { keys: Array<{ key: string }> };
  const secrets = [
    ...Object.values(values).map(({ value }) => value.split("\n")[0] ?? ""),
    systemValue,
    "revoked-and-never",
  ];
  t.true(keys.length > 0);
  for (const secret of [...secrets, ...keys.map(({ key }) => key)]) t.false(text.includes(secret), secret);
});

on15("without --enable-row-security the owner's dump stops, and does not leave rows out", async (t) => {
  const at = await source();
  const env = { MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "app") };
  const { exitCode, stderr } = await shell(at, dumpAsOwner.replace(" --enable-row-security", ""), env);
  t.is(exitCode, 1);
  t.regex(stderr, /query would be affected by row-level security policy/);
});

on15("a table that the owner has no policy for is dumped empty without a word, and both checks notice", async (t) => {
  const at = await source();
  const superuser = at.server.url("postgres", "postgres");
  await withConnection(superuser, (client) => client.query("create database lacking template app"));
  const partition = await withConnection(at.server.url("postgres", "lacking"), async (client) => {
    const { rows } = await client.query("select distinct tableoid::regclass::text as name from public.activity_logs");
    await client.query(`drop policy ${rows[0].name}_select_maintenance on ${rows[0].name}`);
    return rows[0].name as string;
  });
  const env = { MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "lacking") };
  t.is(await runs(t, at, checkPolicies, env), `not every row would be dumped: ${partition}`);

  await runs(t, at, takeContents, env);
  const { exitCode, stderr } = await shell(at, dumpAsOwner, env);
  t.deepEqual([exitCode, stderr], [0, ""], "pg_dump says nothing of it");
  await withConnection(at.server.url("dba", "postgres"), (client) => client.query("create database short"));
  const after = {
    ADMIN_URL: at.server.url("dba", "short"),
    MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "short"),
  };
  for (const step of [prepare, restoreDump, tidyUp]) await runs(t, at, step, after);
  const compared = await shell(at, finish, after);
  t.is(compared.exitCode, 1);
  t.regex(compared.stdout, new RegExp(`^< public\\.${partition}\\|[1-9]`, "m"));
  t.regex(compared.stdout, new RegExp(`^> public\\.${partition}\\|0 0$`, "m"));
});

on15(
  "a large object of somebody else stops the owner's dump, and the page's check says how to be rid of it",
  async (t) => {
    const at = await source();
    await withConnection(at.server.url("postgres", "postgres"), (client) =>
      client.query("create database littered template app"),
    );
    const env = { MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "littered") };
    t.is(await runs(t, at, checkLargeObjects, env), "");
    await withConnection(at.server.url("postgres", "littered"), (client) =>
      client.query("set role keyrow_anonymous; select lo_create(0)"),
    );
    t.regex((await shell(at, dumpAsOwner, env)).stderr, /permission denied for large object/);
    const remedy = await runs(t, at, checkLargeObjects, env);
    t.regex(remedy, /^select lo_unlink\(\d+\);$/);
    await withConnection(at.server.url("postgres", "littered"), (client) => client.query(remedy));
    t.is((await shell(at, dumpAsOwner, env)).exitCode, 0);
  },
);

on15("default privileges that the server's login has made stop no restore", async (t) => {
  const at = await source();
  await withConnection(at.server.url("postgres", "postgres"), (client) =>
    client.query("create database defaulted template app"),
  );
  await withConnection(at.server.url("postgres", "defaulted"), async (client) => {
    for (const role of ["keyrow_authenticator", "keyrow_user", "keyrow_anonymous"])
      await client.query(
        `set role ${role};
         alter default privileges grant select on tables to public;
         alter default privileges in schema public grant select on tables to public`,
      );
  });
  await runs(t, at, dumpAsOwner, { MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "defaulted") });
  await withConnection(at.server.url("dba", "postgres"), (client) => client.query("create database undefaulted"));
  const env = { ADMIN_URL: at.server.url("dba", "undefaulted") };
  for (const step of [prepare, restoreDump, tidyUp]) await runs(t, at, step, env);
  const owners = await withConnection(at.server.url("dba", "undefaulted"), (client) =>
    client.query("select distinct defaclrole::regrole::text as name from pg_default_acl order by 1"),
  );
  t.deepEqual(
    owners.rows.map(({ name }) => name),
    ["keyrow_owner", "keyrow_reveal", "keyrow_upkeep", "keyrow_worker"],
  );
});

on15("a restrictive policy that binds the owner is noticed as well", async (t) => {
  const at = await source();
  await withConnection(at.server.url("postgres", "postgres"), (client) =>
    client.query("create database narrowed template app"),
  );
  await withConnection(at.server.url("postgres", "narrowed"), (client) =>
    client.query("create policy narrow on public.user_credentials as restrictive for select using (is_active)"),
  );
  const env = { MIGRATE_DATABASE_URL: at.server.url("keyrow_migrate", "narrowed") };
  t.is(await runs(t, at, checkPolicies, env), "not every row would be dumped: user_credentials");
});
