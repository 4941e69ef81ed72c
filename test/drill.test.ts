import { randomBytes, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { copyFile, mkdir, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import ava, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { withConnection } from "../src/setup.ts";
import { type Served, serve } from "./faults/serving.ts";
import { keyrow } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { cli } from "./helpers/command.ts";
import { openBaoTest, settingsOf, startOpenBao } from "./helpers/openbao.ts";
import { startOwnOpenBao } from "./helpers/openbao-own.ts";
import { post } from "./helpers/server.ts";
import { does, makeShell, pageOf, type Shell, shell } from "./helpers/shell.ts";
import { hasPostgres15, postgres15Bin, startPostgres15 } from "./helpers/system-postgres.ts";
import { until } from "./helpers/until.ts";

// The drill of docs/backup.md, by its own blocks: dump, lose everything, restore to a new database with the same keys.

const { block } = pageOf("backup.md", "sh");
const steps = {
  dump: block("--role=keyrow_owner --enable-row-security"),
  prepare: block("keyrow setup --print"),
  restore: block("pg_restore --exit-on-error"),
  tidyUp: block("revoke keyrow_owner"),
  copyDirectory: block("tar -C .keyrow -cpf"),
  directoryBack: block("tar -C .keyrow -xpf"),
  snapshot: block("bao operator raft snapshot save"),
  snapshotBack: block("bao operator raft snapshot restore"),
  status: block("npx keyrow keys status --rows"),
};
const setUp = pageOf("openbao.md", "sh").block("bao secrets enable");

/** The OpenBao of a drill. */
interface Vault {
  /** Of a server and of commands. */
  readonly settings: Record<string, string>;
  /** In the shell that the page's blocks run in. */
  backUp(at: Shell): Promise<void>;
  lose(): Promise<void>;
  restore(at: Shell): Promise<void>;
}

/** That of `npm start -- --openbao`, whose directory is copied while it is stopped. */
async function embedded(t: ExecutionContext): Promise<Vault> {
  const bao = await startOpenBao(t);
  const { login } = bao.access;
  if (!("roleId" in login) || basename(bao.directory) !== "openbao") throw new Error("not as it should be");
  return {
    settings: settingsOf(bao.access),
    async backUp(at) {
      await symlink(dirname(bao.directory), join(at.directory, ".keyrow"));
      await bao.stop();
      await does(t, at, steps.copyDirectory, {});
      await bao.start();
    },
    async lose() {
      await bao.kill();
      await rm(bao.directory, { recursive: true });
    },
    async restore(at) {
      await does(t, at, steps.directoryBack, {});
      await bao.start();
    },
  };
}

/** One's own, of which a snapshot is taken while it runs. */
async function own(t: ExecutionContext): Promise<Vault> {
  const bao = await startOwnOpenBao(t, { tls: false });
  const before = bao.admin();
  await does(t, makeShell(bao.directory), setUp, before);
  const { BAO_ADDR = "", BAO_TOKEN = "", PATH = "" } = before;
  const [bin = ""] = PATH.split(":");
  const inShell = (at: Shell): Shell => ({ ...at, path: `${at.path}:${bin}` });
  return {
    settings: { BAO_ADDR, BAO_TOKEN },
    async backUp(at) {
      await does(t, inShell(at), steps.snapshot, before);
    },
    lose: () => bao.loseData(),
    async restore(at) {
      await does(t, inShell(at), steps.snapshotBack, bao.admin());
      // It loads what it was given.
      await bao.until(before, "read", "transit/keys/keyrow");
    },
  };
}

const [ana, bo, team] = [randomUUID(), randomUUID(), randomUUID()];
const people = `
  insert into public.users (id, name) values ('${ana}', 'Ana'), ('${bo}', 'Bo');
  insert into public.workspaces (id, name) values ('${team}', 'Team');
  insert into public.workspace_members (workspace_id, user_id, role) values
    ('${team}', '${bo}', 'OWNER'), ('${team}', '${ana}', 'MEMBER')`;

type Server = Awaited<ReturnType<typeof startPostgres15>>;

/** A server of one's own, with an admin that is none of PostgreSQL's superusers, and alice, who looks after credentials. */
async function makeDatabase(server: Server): Promise<void> {
  const as = (login: string, database: string, text: string) =>
    withConnection(server.url(login, database), (client) => client.query(text));
  await as("postgres", "postgres", "create role dba login createrole createdb; create role alice login noinherit");
  await as("dba", "postgres", "create database app");
  const { stdout: script } = await keyrow(["setup", "--print", "--with-foundation"], {});
  await as("dba", "app", script);
  const migrated = await keyrow(["migrate"], { MIGRATE_DATABASE_URL: server.url("keyrow_migrate", "app") });
  if (migrated.exitCode !== 0) throw new Error(migrated.stderr);
  await as("postgres", "app", `grant keyrow_admin to alice; ${people}`);
}

/** What the API and `keyrow system` are asked for: a value of every scope, under the key that seals now. */
const made = (under: string) => [
  { name: `${under} token`, scope: "USER", user: ana, value: `ghp_${under}_0123456789abcdefghij` },
  { name: `${under} text`, scope: "USER", user: ana, value: `pässwörd ✓ ${under}\nof two lines 🔑` },
  { name: `${under} nothing`, scope: "USER", user: bo, value: "" },
  { name: `${under} deploy`, scope: "WORKSPACE", user: bo, value: `sk_live_${under}_the-team's-own-key` },
];
const relay = (under: string) => `the mail relay's own password under ${under}`;

async function makeValues({ url, token }: Served, env: Record<string, string>, under: string): Promise<void> {
  const query = `mutation ($credential: UserCredentialInput!) {
    createUserCredential(input: { userCredential: $credential }) { userCredential { id } } }`;
  for (const { user, scope, ...rest } of made(under)) {
    const workspace = scope === "WORKSPACE" ? { scope, workspaceId: team } : {};
    const credential = { provider: "test", type: "SECRET", ...rest, ...workspace };
    const { errors } = await post(url, token(user), { query, variables: { credential } });
    if (errors.length > 0) throw new Error(JSON.stringify(errors));
  }
  const set = await keyrow(["system", "set", `smtp/${under}`, "--user", ana, "--type", "PASSWORD"], env, relay(under));
  if (set.exitCode !== 0) throw new Error(set.stderr);
}

/** Waits until a server has found OpenBao: a busy one may have been away at the start. */
async function untilReady({ url }: Served): Promise<void> {
  await until(async () => ((await (await fetch(`${url}/readyz`)).json()) as { status: string }).status === "ok");
}

async function everythingOpens(t: ExecutionContext, served: Served, env: Record<string, string>): Promise<void> {
  const query = "{ userCredentials { nodes { name value } } }";
  const all = [...made("local"), ...made("transit")];
  for (const user of [ana, bo]) {
    const { codes, data } = await post(served.url, served.token(user), { query });
    t.deepEqual(codes, []);
    const found = data.userCredentials.nodes.map(({ name, value }: { name: string; value: string }) => [name, value]);
    const expected = all.filter((one) => one.user === user).map(({ name, value }) => [name, value]);
    t.deepEqual(found.sort(), expected.sort());
  }
  for (const under of ["local", "transit"]) {
    const { stdout, stderr } = await keyrow(["system", "get", `smtp/${under}`], env);
    t.is(stdout.replace(/\n$/, ""), relay(under), stderr);
  }
}

/** The ids of the rows under keys of a kind, and those keys. */
async function rowsUnder(server: Server, database: string, kind: "local" | "transit") {
  const { rows } = await withConnection(server.url("postgres", database), (client) =>
    client.query<{ id: string; key_id: string }>(
      "select id::text, key_id from public.user_credentials where key_id like $1 order by id",
      [`${kind}:%`],
    ),
  );
  return { ids: rows.map(({ id }) => id), keyId: rows[0]?.key_id ?? "" };
}

/**
 * Starts a server that should not start, and gives how it ended. An OpenBao that is too busy to answer is away, and then it
 * serves after all: once more.
 */
async function start(env: Record<string, string>): Promise<{ exitCode: number | undefined; said: string }> {
  for (let tries = 1; ; tries += 1) {
    const more = { JWT_SECRET: randomBytes(48).toString("base64"), PORT: "0" };
    const options = { env: { ...env, ...more }, extendEnv: false, reject: false, timeout: 60_000 } as const;
    const child = execa(process.execPath, [cli, "serve"], options);
    let said = "";
    child.stderr.on("data", (chunk) => {
      said += chunk;
      if (said.includes('"msg":"ready"')) child.kill("SIGTERM");
    });
    const { exitCode } = await child;
    if (!said.includes("OpenBao is away") || tries === 5) return { exitCode, said };
  }
}

/** With some wrong keys: the start names keys and rows, and so does the status. */
async function isRefused(
  t: ExecutionContext,
  at: Shell,
  { server, env, kind, why }: { server: Server; env: Record<string, string>; kind: "local" | "transit"; why: RegExp },
): Promise<void> {
  const { ids, keyId } = await rowsUnder(server, "restored", kind);
  t.is(ids.length, 5);
  const { exitCode, said } = await start({ ...env, DATABASE_URL: server.url("keyrow_authenticator", "restored") });
  t.is(exitCode, 1, said);
  const [error = "", hint = ""] = said.split("\n").filter((line) => /^(error|hint): /.test(line));
  t.true(error.startsWith("error: rows are sealed under keys that are not in the key ring: "), said);
  t.true(error.includes(`${keyId} (`) && error.includes(`5 rows: ${ids.slice(0, 3).join(", ")}, ...)`), error);
  t.regex(error, why);
  t.regex(hint, /`keyrow keys status --rows` lists them/);
  const status = await shell(at, steps.status, env);
  t.is(status.exitCode, 1);
  const listed = status.stdout.slice(status.stdout.indexOf("\nID")).match(/^[0-9a-f-]{36}/gm);
  t.deepEqual(listed?.toSorted(), ids);
}

const drill = async (t: ExecutionContext, makeVault: (t: ExecutionContext) => Promise<Vault>): Promise<void> => {
  const server = await startPostgres15();
  t.teardown(() => server.stop());
  const directory = makeTemporaryDirectory("keyrow-drill-");
  t.teardown(() => removeWithServers(directory));
  const at = makeShell(directory, { path: postgres15Bin });
  await makeDatabase(server);
  const vault = await makeVault(t);
  const keyFile = join(directory, "keys.json");
  await createKeyFile(keyFile);
  const urls = (database: string) => ({
    ADMIN_URL: server.url("dba", database),
    ADMIN_DATABASE_URL: server.url("alice", database),
    MIGRATE_DATABASE_URL: server.url("keyrow_migrate", database),
  });
  const env = (database: string) => ({ ...urls(database), KEYROW_KEY_FILE: keyFile, ...vault.settings });
  const login = (database: string) => server.url("keyrow_authenticator", database);

  const local = { ...urls("app"), KEYROW_KEY_FILE: keyFile };
  const first = await serve(t, login("app"), { env: { KEYROW_KEY_FILE: keyFile } });
  await makeValues(first, local, "local");
  await first.end();
  const second = await serve(t, login("app"), { env: { KEYROW_KEY_FILE: keyFile, ...vault.settings } });
  await untilReady(second);
  await makeValues(second, env("app"), "transit");
  await everythingOpens(t, second, env("app"));
  await second.end();

  // Kept apart from all that is lost.
  await does(t, at, steps.dump, urls("app"));
  await vault.backUp(at);
  await mkdir(join(directory, "kept"));
  await copyFile(keyFile, join(directory, "kept/keys.json"));

  await withConnection(server.url("dba", "postgres"), (client) => client.query("drop database app with (force)"));
  await vault.lose();
  await rm(keyFile);

  await withConnection(server.url("dba", "postgres"), (client) => client.query("create database restored"));
  for (const step of [steps.prepare, steps.restore, steps.tidyUp]) await does(t, at, step, urls("restored"));

  // A new OpenBao with a new key of the old one's name.
  const fresh = await startOwnOpenBao(t, { tls: false });
  await does(t, makeShell(fresh.directory), setUp, fresh.admin());
  const { BAO_ADDR = "", BAO_TOKEN = "" } = fresh.admin();
  await copyFile(join(directory, "kept/keys.json"), keyFile);
  await isRefused(t, at, {
    server,
    env: { ...urls("restored"), KEYROW_KEY_FILE: keyFile, BAO_ADDR, BAO_TOKEN },
    kind: "transit",
    why: /OpenBao has another key of this name, made later; 5 rows/,
  });
  await fresh.kill();

  await vault.restore(at);
  const wrong = join(directory, "wrong.json");
  await createKeyFile(wrong);
  await isRefused(t, at, {
    server,
    env: { ...env("restored"), KEYROW_KEY_FILE: wrong },
    kind: "local",
    why: /local:\S+ \(5 rows/,
  });

  t.regex(await does(t, at, steps.status, env("restored")), /^transit:\S+ +5 .* yes, and seals$/m);
  const third = await serve(t, login("restored"), { env: { KEYROW_KEY_FILE: keyFile, ...vault.settings } });
  await untilReady(third);
  await everythingOpens(t, third, env("restored"));
  t.is(await third.end(), 0);
  t.true(existsSync(join(directory, "app.dump")));
};

const title = (what: string) => `the drill: everything is lost, and comes back from a dump, a key file and ${what}`;
for (const [what, makeVault] of [
  ["OpenBao's directory", embedded],
  ["a snapshot of OpenBao", own],
] as const) {
  if (hasPostgres15 || process.env.CI) openBaoTest.serial(title(what), (t) => drill(t, makeVault));
  else ava.serial.skip(title(what), () => undefined);
}
