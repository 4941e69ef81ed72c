import { randomBytes, randomUUID } from "node:crypto";
import { renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import ava, { type ExecutionContext } from "ava";
import { execa } from "execa";
import type { KeyState } from "../src/cipher/cipher.ts";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { operatorPolicy, type Policy, serverPolicy } from "../src/embedded/openbao/policies.ts";
import { opens } from "../src/keys/report.ts";
import { type Served, serve } from "./faults/serving.ts";
import { createLogin } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { cli, surroundings } from "./helpers/command.ts";
import { createTestDatabase, type TestDatabase } from "./helpers/database.ts";
import { openBaoTest, settingsOf, startOpenBao } from "./helpers/openbao.ts";
import { canHaveCertificates, type OwnOpenBao, startOwnOpenBao } from "./helpers/openbao-own.ts";
import { openBaoProgram } from "./helpers/openbao-program.ts";
import { asAdmin, makeUser, post } from "./helpers/server.ts";
import { does, makeShell as makeBareShell, pageOf, type Shell, shell } from "./helpers/shell.ts";
import { until } from "./helpers/until.ts";

// Does what docs/openbao.md says: its blocks are what is run here, with a real OpenBao and its own command line. One
// test after the other, for each starts several processes.

const { text: page, blocks, block } = pageOf("openbao.md", "sh", "hcl");

const steps = {
  start: block("npm start"),
  mount: block("bao secrets enable"),
  policies: block("bao policy write keyrow-server"),
  approle: block("bao auth enable"),
  roleId: block("-field=role_id"),
  secretId: block("-field=secret_id"),
  operator: block("bao token create -policy=keyrow-operator"),
  serve: block("npx keyrow serve"),
  staticToken: block("-period=24h"),
  worker: block("npx keyrow worker"),
  rotate: block("npx keyrow keys rotate"),
  rewrap: block("npx keyrow rewrap\n"),
  retire: block("npx keyrow keys retire"),
  back: block("npx keyrow rewrap --to local"),
  legacyPolicy: block("bao policy write keyrow-legacy"),
  legacyToken: block("-policy=keyrow-legacy"),
  fromLegacy: block("--from-legacy"),
  lost: block("npx keyrow keys status --rows"),
};
const files = {
  "keyrow-server.hcl": block('path "transit/encrypt/keyrow"'),
  "keyrow-operator.hcl": block('path "transit/keys/keyrow/rotate"'),
  "keyrow-legacy.hcl": block('path "transit/decrypt/app"'),
};

ava("every block of the page is run here", (t) => {
  t.deepEqual([...Object.values(steps), ...Object.values(files)].sort(), blocks.toSorted());
});

/** A shell with the page's policies, and `bao` where it is given. */
function makeShell(directory: string, bao?: string): Shell {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  return makeBareShell(directory, bao === undefined ? {} : { programs: { bao } });
}

/** A database, a user, a key file, and the settings of commands on them. */
async function stage(t: ExecutionContext) {
  const database = await createTestDatabase();
  const login = await createLogin(database, "keyrow_admin");
  const directory = makeTemporaryDirectory("keyrow-openbao-docs-");
  t.teardown(async () => {
    await login.drop();
    await database.drop();
    await removeWithServers(directory);
  });
  const keyFile = join(directory, "keys.json");
  await createKeyFile(keyFile);
  const env = {
    ...surroundings,
    ADMIN_DATABASE_URL: login.url,
    WORKER_DATABASE_URL: database.url("keyrow_worker"),
    KEYROW_KEY_FILE: keyFile,
    KEYROW_DATA_DIR: join(directory, "none"),
  };
  return { database, user: await makeUser(database), directory, keyFile, env };
}

async function set(t: ExecutionContext, { url, token }: Served, user: string, name: string, value: string) {
  const query = `mutation ($name: String!, $value: String!) {
    setUserCredential(input: { provider: "p", name: $name, value: $value }) { userCredential { value } } }`;
  const { codes, data } = await post(url, token(user), { query, variables: { name, value } });
  t.deepEqual([codes, data?.setUserCredential.userCredential.value], [[], value]);
}

async function list({ url, token }: Served, user: string): Promise<Record<string, string | null>> {
  const { data } = await post(url, token(user), { query: "{ userCredentials { nodes { name value } } }" });
  const nodes: Array<{ name: string; value: string | null }> = data.userCredentials.nodes;
  return Object.fromEntries(nodes.map(({ name, value }) => [name, value]));
}

async function keyIds(database: TestDatabase): Promise<string[]> {
  const { rows } = await asAdmin(database, "select distinct key_id from public.user_credentials order by key_id");
  return rows.map(({ key_id }) => key_id);
}

async function readiness({ url }: Served): Promise<{ status: number; body: Record<string, string> }> {
  const response = await fetch(`${url}/readyz`);
  return { status: response.status, body: (await response.json()) as Record<string, string> };
}

const asHcl = (policy: Policy): string =>
  Object.entries(policy)
    .map(([path, { capabilities, allowed_parameters: parameters }]) => {
      const lines = [`  capabilities = ${JSON.stringify(capabilities)}`];
      if (parameters) {
        lines.push("  allowed_parameters = {", ...Object.keys(parameters).map((name) => `    "${name}" = []`), "  }");
      }
      return `path "${path}" {\n${lines.join("\n")}\n}\n`;
    })
    .join("");

ava("the policies of the page are those of the OpenBao that Keyrow runs itself", (t) => {
  const place = { mount: "transit", key: "keyrow" };
  t.is(files["keyrow-server.hcl"], asHcl(serverPolicy(place)));
  t.is(files["keyrow-operator.hcl"], asHcl(operatorPolicy(place)));
});

ava("what the page says of a lost key is what `keyrow keys status` says", (t) => {
  const states: KeyState[] = ["missing", "too-new", "replaced", "retired"];
  const said = [...states.map((state) => opens({ keyId: "k", state })), opens({ keyId: "legacy", state: "missing" })];
  const [, table = ""] = page.split("| `OPENS` says |");
  const cells = [...table.matchAll(/^\| `(no: [^`]+?)(; \.\.\.)?` \|/gm)].map(([, cell = ""]) => cell);
  t.is(cells.length, said.length);
  for (const [index, cell] of cells.entries()) t.true(said[index]?.startsWith(cell), cell);
});

/** Follows the page from an OpenBao that knows nothing of Keyrow to a key that was rotated and ended. */
async function follow(t: ExecutionContext, bao: OwnOpenBao, more: Record<string, string>): Promise<void> {
  const at = makeShell(bao.directory);
  const { BAO_TOKEN: _, PATH: __, ...reach } = { ...bao.admin(), ...more };
  const admin = { ...bao.admin(), ...more };
  for (const step of [steps.mount, steps.policies, steps.approle]) await does(t, at, step, admin);
  const roleId = await does(t, at, steps.roleId, admin);
  const secretId = await does(t, at, steps.secretId, admin);
  const operatorToken = await does(t, at, steps.operator, admin);

  const { database, user, keyFile, env } = await stage(t);
  const script = steps.serve
    .replace("https://openbao.example.com:8200", bao.address)
    .replace(/ BAO_CACERT=\S+/, bao.caFile === undefined ? "" : ` BAO_CACERT=${bao.caFile}`)
    .replace("/etc/keyrow/keys.json", keyFile)
    .replace("BAO_ROLE_ID=... BAO_SECRET_ID=...", `BAO_ROLE_ID=${roleId} BAO_SECRET_ID=${secretId}`)
    .replace("npx keyrow serve", "exec npx keyrow serve");
  t.false(script.includes("..."));
  const { BAO_ADDR: ___, BAO_CACERT: ____, ...rest } = reach;
  const served = await serve(t, database.url("keyrow_authenticator"), { env: { ...rest, PATH: at.path }, script });
  await until(async () => (await readiness(served)).body.transit === "closed");
  t.deepEqual(await readiness(served), { status: 200, body: { status: "ok", database: "ok", transit: "closed" } });
  await set(t, served, user, "first", "sealed by an OpenBao of one's own");
  const [old = ""] = await keyIds(database);
  t.regex(old, /^transit:transit\/keyrow:v1:\w+$/);

  const operator = { ...env, ...reach, BAO_TOKEN: operatorToken };
  const server = { ...env, ...reach, BAO_ROLE_ID: roleId, BAO_SECRET_ID: secretId };
  const refused = await shell(at, steps.rotate, server);
  t.is(refused.exitCode, 4);
  t.regex(refused.stderr, /^error: OpenBao does not allow this login to use transit\/keys\/keyrow\/rotate\nhint: /);
  const said = await does(t, at, steps.rotate, operator);
  t.regex(said, /^transit:transit\/keyrow:v1:\w+ +1 .* yes, and seals$/m);
  const current = said.split("\n").at(-1) ?? "";
  t.regex(current, /^transit:transit\/keyrow:v2:\w+$/);
  await set(t, served, user, "second", "sealed under the next version");

  const early = await shell(at, steps.retire, { ...operator, OLD_KEY: old });
  t.regex(early.stderr, /^error: 1 row needs this key/);
  t.not((await shell(at, steps.rewrap, operator)).exitCode, 0, "an operator opens nothing");
  t.is(await does(t, at, steps.rewrap, server), "moved  1 row");
  t.is(await does(t, at, steps.retire, { ...operator, OLD_KEY: old }), `retired  ${old}`);
  t.deepEqual(await keyIds(database), [current]);
  t.deepEqual(await list(served, user), {
    first: "sealed by an OpenBao of one's own",
    second: "sealed under the next version",
  });
  t.is(await served.end(), 0);
}

const tlsTest = (title: string, run: (t: ExecutionContext) => Promise<void>): void => {
  if (canHaveCertificates || process.env.CI) openBaoTest.serial(title, run);
  else ava.serial.skip(`${title} (there is NO OPENSSL here to make a certificate with: apt-get install openssl)`, run);
};

tlsTest("an OpenBao of one's own behind TLS, set up and used by the page's word", async (t) => {
  const bao = await startOwnOpenBao(t, { tls: true });
  await follow(t, bao, {});

  // Without the authority nobody is there, for that reason.
  const { database, keyFile } = await stage(t);
  const env = { KEYROW_KEY_FILE: keyFile, BAO_ADDR: bao.address, BAO_TOKEN: "a-token" };
  const served = await serve(t, database.url("keyrow_authenticator"), { env });
  t.like((await readiness(served)).body, { status: "degraded" });
  t.is(lines(served, "OpenBao is away")[0]?.reason, "certificate");
});

openBaoTest.serial("the same in a namespace, which `bao` and Keyrow both take from BAO_NAMESPACE", async (t) => {
  const bao = await startOwnOpenBao(t, { tls: false });
  await does(t, makeShell(bao.directory), "bao namespace create team", bao.admin());
  await follow(t, bao, { BAO_NAMESPACE: "team" });
  const outside = await shell(makeShell(bao.directory), "bao read transit/keys/keyrow", bao.admin());
  t.not(outside.exitCode, 0, "there is nothing of it outside");
});

/** The lines of a server's log that say this, but for those of each probe. */
const lines = ({ log }: Served, msg: string): Array<Record<string, unknown>> =>
  log()
    .split("\n")
    .flatMap((line) => (line.startsWith("{") && line.endsWith("}") ? [JSON.parse(line)] : []))
    .filter((line) => line.msg === msg && line.level !== "debug");

openBaoTest.serial("a static token serves, and once it is lost OpenBao is away until the next start", async (t) => {
  const bao = await startOpenBao(t);
  const { database, user, directory, env } = await stage(t);
  const at = makeShell(directory, await openBaoProgram());
  const token = await does(t, at, steps.staticToken, settingsOf(bao.rootAccess));
  const settings = { env: { KEYROW_KEY_FILE: env.KEYROW_KEY_FILE, BAO_ADDR: bao.access.address, BAO_TOKEN: token } };
  const served = await serve(t, database.url("keyrow_authenticator"), settings);
  await set(t, served, user, "before", "old");
  await bao.root({ method: "POST", path: "auth/token/revoke", body: { token } });
  await set(t, served, user, "meanwhile", "new");
  t.deepEqual(await list(served, user), { before: null, meanwhile: "new" });
  // Several probes later.
  await until(() => served.log().split('"half-open"').length > 3);
  t.like((await readiness(served)).body, { status: "degraded" });
  t.like(lines(served, "OpenBao is away"), [{ reason: "status", status: 403 }]);
  t.is(await served.end(), 0);

  const another = await does(t, at, steps.staticToken, settingsOf(bao.rootAccess));
  settings.env.BAO_TOKEN = another;
  const next = await serve(t, database.url("keyrow_authenticator"), settings);
  t.deepEqual(await list(next, user), { before: "old", meanwhile: "new" });
});

openBaoTest.serial("while OpenBao is away: readiness, metrics, one line each, and a worker that heals", async (t) => {
  const bao = await startOpenBao(t);
  const { database, user, directory, env } = await stage(t);
  const at = makeShell(directory);
  const { KEYROW_KEY_FILE } = env;
  const served = await serve(t, database.url("keyrow_authenticator"), {
    env: { KEYROW_KEY_FILE, KEYROW_METRICS: "on", ...settingsOf(bao.access) },
  });
  await set(t, served, user, "before", "old");
  await bao.stop();
  await set(t, served, user, "meanwhile", "new");
  t.deepEqual(await list(served, user), { before: null, meanwhile: "new" });
  const { status, body } = await readiness(served);
  t.is(status, 200);
  t.like(body, { status: "degraded", database: "ok" });
  t.regex(body.transit ?? "", /open$/);
  const metrics = await (await fetch(`${served.url}/metrics`)).text();
  const named = [...new Set(page.match(/`keyrow_\w+`/g))].map((name) => name.replaceAll("`", ""));
  const metered = named.filter((name) => !["keyrow_admin", "keyrow_worker"].includes(name));
  t.is(metered.length, 4);
  for (const name of metered) t.regex(metrics, new RegExp(`^# TYPE ${name} `, "m"));
  t.regex(metrics, /^keyrow_fallback_sealed_values_total 1$/m);

  // A start meanwhile.
  const late = await serve(t, database.url("keyrow_authenticator"), {
    env: { KEYROW_KEY_FILE, ...settingsOf(bao.access) },
  });
  t.deepEqual(await list(late, user), { before: null, meanwhile: "new" });
  const refusing = await serve(t, database.url("keyrow_authenticator"), {
    env: { ...settingsOf(bao.access), KEYROW_FALLBACK: "refuse", KEYROW_ALLOW_MISSING_KEYS: "on", KEYROW_KEY_FILE },
  });
  const query = `mutation { setUserCredential(input: { provider: "p", name: "n", value: "v" }) { clientMutationId } }`;
  const refused = await post(refusing.url, refusing.token(user), { query });
  t.deepEqual(refused.codes, ["CIPHER_UNAVAILABLE"]);

  const worker = execa("bash", ["--norc", "-euc", steps.worker.replace(/WORKER_DATABASE_URL=\S+ /, "exec ")], {
    cwd: directory,
    env: { ...env, ...settingsOf(bao.access), PATH: at.path, HOME: directory },
    extendEnv: false,
    reject: false,
    forceKillAfterDelay: 5_000,
  });
  t.teardown(async () => {
    worker.kill("SIGTERM");
    await worker;
  });
  await bao.start();
  await until(async () => (await keyIds(database)).every((id) => id.startsWith("transit:")));
  await until(async () => (await readiness(served)).body.status === "ok");
  t.deepEqual(await list(served, user), { before: "old", meanwhile: "new" });
  t.is(lines(served, "OpenBao is away").length, 1);
  t.is(lines(served, "OpenBao is back").length, 1);
  t.is(lines(served, "sealed under a local key, for OpenBao is away").length, 1);
});

ava.serial("a server that refuses without OpenBao needs no key file", async (t) => {
  const { database } = await stage(t);
  const env = { BAO_ADDR: "http://127.0.0.1:1", BAO_TOKEN: "a-token", KEYROW_FALLBACK: "refuse" };
  const script = `unset KEYROW_KEY_FILE; exec '${process.execPath}' '${cli}' serve`;
  const served = await serve(t, database.url("keyrow_authenticator"), { env, script });
  t.like((await readiness(served)).body, { status: "degraded" });
});

openBaoTest.serial("from local keys to OpenBao, and back, servers running", async (t) => {
  const bao = await startOpenBao(t);
  const { database, user, directory, env } = await stage(t);
  const at = makeShell(directory);
  const { KEYROW_KEY_FILE } = env;
  const url = database.url("keyrow_authenticator");
  const local = await serve(t, url, { env: { KEYROW_KEY_FILE } });
  await set(t, local, user, "one", "local");
  const both = await serve(t, url, { env: { KEYROW_KEY_FILE, ...settingsOf(bao.access) } });
  await set(t, both, user, "two", "Transit's");
  t.deepEqual(await list(both, user), { one: "local", two: "Transit's" });
  t.deepEqual(await list(local, user), { one: "local", two: null }, "which is why all are restarted");
  await local.end();
  t.is(await does(t, at, steps.rewrap, { ...env, ...settingsOf(bao.access) }), "moved  1 row");
  t.deepEqual(await list(both, user), { one: "local", two: "Transit's" });

  t.is(await does(t, at, steps.back, { ...env, ...settingsOf(bao.access) }), "moved  2 rows");
  await set(t, both, user, "three", "meanwhile");
  await both.end();
  const refused = await t.throwsAsync(serve(t, url, { env: { KEYROW_KEY_FILE } }));
  t.regex(refused?.message ?? "", /transit:transit\/keyrow:v1:\w+ \(1 row: [0-9a-f-]{36}\)/);
  t.is(await does(t, at, steps.back, { ...env, ...settingsOf(bao.access) }), "moved  1 row");
  const again = await serve(t, url, { env: { KEYROW_KEY_FILE } });
  t.deepEqual(await list(again, user), { one: "local", two: "Transit's", three: "meanwhile" });
});

openBaoTest.serial("another application's values move in by the page's word", async (t) => {
  const bao = await startOpenBao(t);
  const { database, user, directory, env } = await stage(t);
  const at = makeShell(directory, await openBaoProgram());
  await bao.root({ method: "POST", path: "transit/keys/app", body: { type: "aes256-gcm96" } });
  const plaintext = Buffer.from("the other application's").toString("base64");
  const { data } = await bao.root({ method: "POST", path: "transit/encrypt/app", body: { plaintext } });
  await asAdmin(
    database,
    `insert into user_credentials (id, user_id, name, provider, type, encrypted_value) values ($1, $2, 'n', 'p', 'SECRET', $3)`,
    [randomUUID(), user, data.ciphertext],
  );
  writeFileSync(join(directory, "app.key"), `${randomBytes(32).toString("hex")}\n`, { mode: 0o600 });
  await does(t, at, steps.legacyPolicy, settingsOf(bao.rootAccess));
  const token = await does(t, at, steps.legacyToken, settingsOf(bao.rootAccess));
  const settings = { ...env, BAO_ADDR: bao.access.address, BAO_TOKEN: token };
  t.is((await shell(at, steps.lost, settings)).exitCode, 1);
  t.is(await does(t, at, steps.fromLegacy, settings), "moved  1 row");
  const served = await serve(t, database.url("keyrow_authenticator"), {
    env: { KEYROW_KEY_FILE: env.KEYROW_KEY_FILE, ...settingsOf(bao.access) },
  });
  t.deepEqual(await list(served, user), { n: "the other application's" });
  t.regex(await does(t, at, steps.lost, settings), /^transit:\S+ +1 .* yes, and seals$/m);
});

/** `npm start`, for as long as `work` takes; `said` is what it printed. */
async function started(
  at: Shell,
  args: string[],
  env: Record<string, string>,
  work: (said: string) => Promise<unknown>,
) {
  const child = execa(process.execPath, [cli, "start", ...args], {
    cwd: at.directory,
    env: { ...surroundings, ...env, PORT: "0", HOME: at.directory, NO_COLOR: "1" },
    extendEnv: false,
    reject: false,
    timeout: 110_000,
    forceKillAfterDelay: 10_000,
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream?.on("data", (chunk) => (said += chunk));
  let ended = false;
  void child.then(() => (ended = true));
  try {
    await until(() => ended || said.includes("Ctrl-C stops it."));
    if (ended) throw new Error(said);
    await work(said);
  } finally {
    child.kill("SIGTERM");
    await child;
  }
}

openBaoTest.serial(
  "`npm start -- --openbao` has one of its own, with the same life, and can be left again",
  async (t) => {
    const directory = makeTemporaryDirectory("keyrow-openbao-start-");
    t.teardown(() => removeWithServers(directory));
    const at = makeShell(directory);
    const env = { BAO_BIN: await openBaoProgram() };
    const [, ...words] = steps.start.trim().split(" -- ");
    t.deepEqual(words, ["--openbao"]);
    const status = async (settings: Record<string, string>) =>
      (await does(t, at, "npx keyrow keys status", settings)).split("\n").slice(1);
    await started(at, [], env, async () => {
      t.regex((await status(env)).join("\n"), /^local:\S+ +\d+ .* yes, and seals$/);
    });
    await started(at, words, env, async (said) => {
      t.regex(said, /OpenBao +unsealed, on \S+bao\.sock/);
      // The local key's rows have moved, and it has none.
      await until(async () => (await status(env)).length === 1);
      t.regex((await status(env))[0] ?? "", /^transit:transit\/keyrow:v1:\w+ +[1-9]\d* .* yes, and seals$/);
      await does(t, at, steps.rotate, env);
    });
    t.regex(await does(t, at, steps.rewrap, env), /^moved {2}[1-9]\d* rows$/, "stopped as well");
    await started(at, [], env, async (said) => t.regex(said, /OpenBao +unsealed/, "it is there from then on"));

    t.regex(await does(t, at, steps.back, env), /^moved {2}[1-9]\d* rows$/);
    renameSync(join(directory, ".keyrow/openbao"), join(directory, "elsewhere"));
    await started(at, [], env, async (said) => t.false(said.includes("OpenBao")));
    t.regex((await status(env)).join("\n"), /^local:\S+ +[1-9]\d* .* yes, and seals$/);
  },
);
