import { randomUUID } from "node:crypto";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { ownSigningKey } from "../src/signing-key.ts";
import type { Limit } from "../src/token-limits.ts";
import { createLogin } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { cli } from "./helpers/command.ts";
import { githubToken } from "./helpers/github.ts";
import { makeKey, startKeyServer } from "./helpers/issuer.ts";
import { withPrograms } from "./helpers/programs.ts";
import { asAdmin, makeUser, startTestServer } from "./helpers/server.ts";
import { does, makeShell, pageOf, shell } from "./helpers/shell.ts";

// Does what docs/recipes.md says: its blocks are what is run here, with other addresses.

const page = pageOf("recipes.md", "sh", "yaml", "crontab", "python", "sql");
const recipes = {
  deployMachine: page.block("machine add deploy"),
  workflow: page.block("runs-on:"),
  nightlyMachine: page.block("machine add nightly"),
  crontab: page.block("15 3 * * *"),
  entryPoint: page.block("#!/bin/sh"),
  dockerRun: page.block("docker run"),
  curl: page.block("keyrow_ask()"),
  curlUse: page.block("| keyrow_set github/deploy"),
  python: page.block("def ask("),
  pythonUse: page.block("import keyrow\n"),
  offlinePolicy: page.block("create policy user_credentials_select_offline_worker"),
  offlineUsers: page.block("insert into keyrow.offline_access"),
  offlineServer: page.block("npx keyrow serve"),
  offlineUse: page.block("def github_tokens("),
};

test("every block of docs/recipes.md is run here", (t) => {
  t.deepEqual(Object.values(recipes).sort(), page.blocks.toSorted());
});

const SET = "mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { created } }";
const workspace = /--workspace ([0-9a-f-]{36})/.exec(recipes.workflow)?.[1] ?? "";
const github = makeKey("RS256", { kid: "QjVDNzE", use: "sig", alg: "RS256" });

/** A server that takes GitHub's tokens, with an admin, a workspace of theirs with credentials, and a shell. */
async function stage(t: ExecutionContext, env: Record<string, string> = {}) {
  const directory = makeTemporaryDirectory("keyrow-recipes-");
  t.teardown(() => removeWithServers(directory));
  const keys = await startKeyServer(github.jwk);
  t.teardown(() => keys.close());
  const issuers = join(directory, "issuers.json");
  const [listed] = pageOf("issuers.md", "json").blocks;
  const issuer = JSON.parse(listed ?? "").find(({ name }: { name: string }) => name === "github");
  writeFileSync(issuers, JSON.stringify([{ ...issuer, jwks: keys.url }]));

  const signingKeyFile = join(directory, "signing-key.pem");
  const server = await startTestServer({
    env: { JWT_ISSUERS: issuers, ...env },
    signingKey: await ownSigningKey(signingKeyFile),
  });
  t.teardown(() => server.stop());
  const { database } = server;
  const login = await createLogin(database, "keyrow_admin");
  t.teardown(() => login.drop());
  const ana = await makeUser(database, "Ana");
  await asAdmin(database, "insert into public.workspaces (id, name) values ($1, 'acme')", [workspace]);
  await asAdmin(
    database,
    "insert into public.workspace_members (workspace_id, user_id, role) values ($1, $2, 'OWNER')",
    [workspace, ana],
  );
  const set = async (provider: string, name: string) => {
    const input = { scope: "WORKSPACE", workspaceId: workspace, provider, name, value: secretOf(provider, name) };
    t.deepEqual((await server.query(ana, SET, { input })).codes, []);
  };
  await set("github", "deploy");
  await set("s3", "backup");
  await set("app", "smtp");
  return {
    ana,
    server,
    directory,
    at: makeShell(directory),
    /** The page's address is far away. */
    here: (text: string) => text.replaceAll("https://keyrow.example.com", server.url),
    admin: { ADMIN_DATABASE_URL: login.url, JWT_ISSUERS: issuers, KEYROW_SIGNING_KEY_FILE: signingKeyFile },
  };
}

/** A value that quoting could harm. */
const secretOf = (provider: string, name: string) => `${provider}'s "${name}" $HOME \\n é`;

/** Writes a program of the reader's own, which shows what it was given. */
function writeProgram(path: string, text: string): void {
  writeFileSync(path, `#!/bin/sh\n${text}\n`);
  chmodSync(path, 0o755);
}

/** Puts `keyrow` where a package's program is. */
function installKeyrow(directory: string): void {
  const bin = join(directory, "node_modules/.bin");
  mkdirSync(bin, { recursive: true });
  writeProgram(join(bin, "keyrow"), `exec "${process.execPath}" "${cli}" "$@"`);
}

/** GitHub's end of a job: it gives the job's token to whoever has the request's. */
async function startTokenServer(t: ExecutionContext, claims: object): Promise<Record<string, string>> {
  const server = createServer((request, response) => {
    const audience = new URL(request.url ?? "", "http://127.0.0.1").searchParams.get("audience");
    const known = request.headers.authorization === "bearer of-the-request";
    response.statusCode = known ? 200 : 401;
    response.end(JSON.stringify(known ? { count: 1, value: githubToken(github, { ...claims, aud: audience }) } : {}));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.teardown(() => void server.close().closeAllConnections());
  const { port } = server.address() as AddressInfo;
  return {
    ACTIONS_ID_TOKEN_REQUEST_TOKEN: "of-the-request",
    ACTIONS_ID_TOKEN_REQUEST_URL: `http://127.0.0.1:${port}/token?api-version=2.0`,
  };
}

/** The text of the workflow's step of several lines, and the job's environment. */
function stepOf(workflow: string): { script: string; env: Record<string, string> } {
  const [, indented = ""] = /\n {8}run: \|\n((?: {10}.*\n)+)/.exec(workflow) ?? [];
  const [, variables = ""] = /\n {4}env:\n((?: {6}\w+: .*\n)+)/.exec(workflow) ?? [];
  const env = Object.fromEntries([...variables.matchAll(/(\w+): (.*)/g)].map(([, name, value]) => [name, value]));
  return { script: indented.replaceAll(/^ {10}/gm, ""), env };
}

withPrograms(
  ["curl", "jq"],
  "a job of GitHub Actions gets what its machine was given, and a job of another branch gets nothing",
  async (t) => {
    const { at, here, admin, directory } = await stage(t);
    await does(t, at, recipes.deployMachine, admin);
    writeProgram(join(directory, "deploy.sh"), 'printf "%s|%s|%s" "$GITHUB_DEPLOY" "$S3_BACKUP" "$KEYROW_TOKEN"');
    t.regex(recipes.workflow, /^permissions:\n(?: {2}.*\n)* {2}id-token: write\n/m);
    const { script, env } = stepOf(here(recipes.workflow));
    const printed = await does(t, at, script, { ...env, ...(await startTokenServer(t, {})) });
    t.is(printed, `${secretOf("github", "deploy")}||`);
    for (const claims of [{ ref: "refs/heads/other" }, { repository_id: "1002" }]) {
      const other = await shell(at, script, { ...env, ...(await startTokenServer(t, claims)) });
      t.is(other.exitCode, 4, other.stderr);
      t.is(other.stdout, "");
    }
  },
);

test("a cron job gets its credential by a token in a file, and does not start without", async (t) => {
  const { server, ana, at, here, admin, directory } = await stage(t);
  const home = join(directory, "backup");
  mkdirSync(home);
  await does(t, makeShell(home), recipes.nightlyMachine, admin);
  writeProgram(join(home, "backup.sh"), 'printf "%s|%s" "$S3_SECRET" "$KEYROW_TOKEN"');
  const [setting = "", line = ""] = here(recipes.crontab).trim().split("\n");
  const [, name = "", value = ""] = /^(\w+)=(.*)$/.exec(setting) ?? [];
  // As cron does it: the command after five fields, by sh, in the home directory, with next to nothing set.
  const command = line.replace(/^(\S+ ){5}/, "");
  const cron = () =>
    execa("/bin/sh", ["-c", command], {
      cwd: directory,
      env: { HOME: directory, PATH: at.path, [name]: value },
      extendEnv: false,
      reject: false,
    });
  t.like(await cron(), { exitCode: 0, stdout: `${secretOf("s3", "backup")}|`, stderr: "" });

  const found = await server.query(
    ana,
    `{ userCredentials(filter: { provider: { equalTo: "s3" } }) { nodes { id } } }`,
  );
  const input = { id: found.data?.userCredentials.nodes[0].id };
  const revoke =
    "mutation ($input: RevokeUserCredentialInput!) { revokeUserCredential(input: $input) { clientMutationId } }";
  t.deepEqual((await server.query(ana, revoke, { input })).codes, []);
  const revoked = await cron();
  t.is(revoked.exitCode, 1);
  t.is(revoked.stdout, "");
  t.regex(revoked.stderr, /revoked/);
});

test("a container's program gets its credentials by a mounted token, without the token, and its signals", async (t) => {
  const { at, here, admin, directory } = await stage(t);
  const app = join(directory, "app");
  installKeyrow(app);
  const made = await does(
    t,
    at,
    "npx keyrow machine add app --workspace acme --only 'app/*' > /dev/null\nnpx keyrow machine token app",
    admin,
  );
  // Where a container has its own tree, this has a folder of its own.
  const [, url = "", mounted = ""] =
    /-e KEYROW_URL=(\S+) -v \.\/keyrow\.token:(\S+):ro my-image node server\.js\n/.exec(here(recipes.dockerRun)) ?? [];
  t.true(recipes.entryPoint.includes(`"$(cat ${mounted})"`));
  const token = join(directory, "keyrow.token");
  writeFileSync(token, made, { mode: 0o600 });
  const entry = join(app, "with-keyrow.sh");
  writeFileSync(entry, recipes.entryPoint.replace(mounted, token).replace("cd /app", `cd ${app}`));
  chmodSync(entry, 0o755);
  writeFileSync(
    join(app, "server.js"),
    `process.on("SIGTERM", () => process.exit(7));
     process.stdout.write(process.env.APP_SMTP + "|" + process.env.KEYROW_TOKEN);
     setInterval(() => undefined, 1_000);`,
  );
  symlinkSync(process.execPath, join(directory, "bin/node"));
  const running = execa(entry, ["node", "server.js"], {
    env: { KEYROW_URL: url, PATH: at.path },
    extendEnv: false,
    reject: false,
    timeout: 60_000,
  });
  running.stdout.once("data", () => running.kill("SIGTERM"));
  t.like(await running, { exitCode: 7, stdout: `${secretOf("app", "smtp")}|undefined` });
});

withPrograms(
  ["curl", "jq"],
  "curl and jq alone set and reveal, say why they can't, and have no secret in an argument",
  async (t) => {
    const { server, ana, at } = await stage(t);
    const env = {
      KEYROW_URL: server.url,
      KEYROW_TOKEN: server.token(ana),
      WORKSPACE: workspace,
      NEW: `new ${secretOf("github", "deploy")}`,
    };
    // Programs are watched as they are started: what their arguments are is what `ps` shows.
    const watched = `for it in curl jq; do eval "$it() { printf '%s\\n' \\"\\$*\\" >> arguments; command $it \\"\\$@\\"; }"; done\n`;
    const printed = await does(t, at, `${watched}${recipes.curl}${recipes.curlUse}printf %s "$TOKEN"`, env);
    t.true(printed.endsWith(env.NEW), printed);
    const seen = await does(t, at, "cat arguments", {});
    t.true(seen.includes("/dev/fd/"));
    t.false(seen.includes(env.KEYROW_TOKEN) || seen.includes(secretOf("github", "deploy")));

    const absent = await shell(at, `set -euo pipefail\n${recipes.curl}keyrow_get github/absent`, env);
    t.not(absent.exitCode, 0);
    t.regex(absent.stderr, /there is no such credential/);
    const stranger = await shell(at, `${recipes.curl}keyrow_get github/deploy`, { ...env, KEYROW_TOKEN: "a.b.c" });
    t.not(stranger.exitCode, 0);
    t.is(stranger.stdout, "");
    t.regex(stranger.stderr, /token/i);
  },
);

withPrograms(
  ["python3"],
  "Python's standard library alone reveals, says why it can't, and takes the token to no other server",
  async (t) => {
    const { server, ana, at, directory } = await stage(t);
    writeFileSync(join(directory, "keyrow.py"), recipes.python);
    const env = { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(ana), WORKSPACE: workspace };
    const run = (text: string, more: object = {}) => {
      writeFileSync(join(directory, "job.py"), text);
      // -B: of two jobs of one length, written in the same second, Python would run the first again.
      return shell(at, "python3 -I -B -c 'import sys; sys.path.insert(0, \".\"); import job'", { ...env, ...more });
    };
    const use = `${recipes.pythonUse}print(token)\n`;
    t.like(await run(use), { exitCode: 0, stdout: secretOf("github", "deploy"), stderr: "" });
    t.regex((await run(use.replace("github/deploy", "github/absent"))).stderr, /LookupError: there is no credential/);
    const stranger = await run(use, { KEYROW_TOKEN: "a.b.c" });
    t.regex(stranger.stderr, /RuntimeError: .*token/);

    let asked = 0;
    const elsewhere = createServer((request, response) => {
      asked += 1;
      const location = `http://localhost:${(elsewhere.address() as AddressInfo).port}/elsewhere`;
      response.writeHead(request.url === "/elsewhere" ? 200 : 302, { location }).end("{}");
    });
    await new Promise<void>((resolve) => elsewhere.listen(0, "127.0.0.1", resolve));
    t.teardown(() => void elsewhere.close().closeAllConnections());
    const { port } = elsewhere.address() as AddressInfo;
    const led = await run(use, { KEYROW_URL: `http://127.0.0.1:${port}` });
    t.regex(led.stderr, /HTTP Error 302/);
    t.is(asked, 1);
  },
);

const [, offlineWorker = ""] = /^export KEYROW_OFFLINE_WORKERS=(\S+)\n/.exec(recipes.offlineServer) ?? [];

/** Sets USER credentials of Ana and of Ben, and lets the page's worker act for Ana alone. */
async function stageOffline(t: ExecutionContext, env: Record<string, string>) {
  const { server, ana, at, directory } = await stage(t, env);
  const { database } = server;
  const ben = await makeUser(database, "Ben");
  await asAdmin(database, "update public.users set email = 'ana@example.com' where id = $1", [ana]);
  for (const [user, provider, name] of [
    [ana, "github", "work"],
    [ana, "github", "home"],
    [ana, "gitlab", "work"],
    [ben, "github", "work"],
  ] as const) {
    const input = { provider, name, value: `${user} ${provider}/${name}` };
    t.deepEqual((await server.query(user, SET, { input })).codes, []);
  }
  const owner = database.pool("keyrow_migrate");
  await owner.query(`begin; set local role keyrow_owner; ${recipes.offlinePolicy} commit`);
  await asAdmin(database, recipes.offlineUsers);
  writeFileSync(join(directory, "keyrow.py"), recipes.python);
  writeFileSync(join(directory, "worker.py"), recipes.offlineUse);
  /** What the page's function gives of a user, as JSON, and how it ended. */
  const tokensOf = (user: string, limits?: readonly Limit[]) =>
    shell(
      at,
      `python3 -I -c 'import json, sys; sys.path.insert(0, "."); import worker; print(json.dumps(worker.github_tokens(sys.argv[1])))' ${user}`,
      { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(offlineWorker, limits && { limits }) },
    );
  return { server, ana, ben, tokensOf };
}

const ALL = "{ userCredentials { nodes { id userId provider value } } }";

withPrograms(
  ["python3"],
  "a worker uses the github/* credentials of users who let it, on the record, and no others, and loses them at once",
  async (t) => {
    const { server, ana, ben, tokensOf } = await stageOffline(t, { KEYROW_OFFLINE_WORKERS: offlineWorker });
    const { database } = server;
    const used = await tokensOf(ana, [{ credentials: ["github/*"], actions: ["reveal"] }]);
    t.is(used.stderr, "");
    t.deepEqual(JSON.parse(used.stdout), { home: `${ana} github/home`, work: `${ana} github/work` });
    t.is((await tokensOf(ben)).stdout, "{}");
    const record = await asAdmin(
      database,
      `select details ->> 'provider' as provider from public.activity_logs
       where user_id = $1 and action = 'CREDENTIAL_ACCESSED'`,
      [offlineWorker],
    );
    t.deepEqual(record.rows, [{ provider: "github" }, { provider: "github" }]);

    // Everybody else is as before, those who let the worker included, and it changes nothing.
    const { data } = await server.query(offlineWorker, ALL);
    t.true(
      data?.userCredentials.nodes.every(
        (it: { userId: string; provider: string }) => it.userId === ana && it.provider === "github",
      ),
    );
    for (const user of [ana, ben]) {
      const { nodes } = (await server.query(user, ALL)).data?.userCredentials ?? {};
      t.true(
        nodes.every((it: { value: string | null }) => it.value !== null),
        user,
      );
      t.is(nodes.filter(({ userId }: { userId: string }) => userId === user).length, user === ana ? 6 : 1);
    }
    const input = { id: data?.userCredentials.nodes[0].id };
    const revoke =
      "mutation ($input: RevokeUserCredentialInput!) { revokeUserCredential(input: $input) { clientMutationId } }";
    t.deepEqual((await server.query(offlineWorker, revoke, { input })).codes, ["NOT_FOUND"]);

    await asAdmin(database, "delete from keyrow.offline_access where user_id = $1", [ana]);
    t.is((await tokensOf(ana)).stdout, "{}");
  },
);

withPrograms(
  ["python3"],
  "a worker that a policy lets in opens nothing on a server that does not name it, and one that only the server names sees nothing",
  async (t) => {
    const { server, ana, tokensOf } = await stageOffline(t, { KEYROW_OFFLINE_WORKERS: randomUUID() });
    const refused = await tokensOf(ana);
    t.regex(refused.stderr, /RuntimeError: This value can't be opened/);
    const { data, codes } = await server.query(offlineWorker, ALL);
    t.deepEqual(
      data?.userCredentials.nodes.map(({ value }: { value: string | null }) => value),
      [null, null],
    );
    t.deepEqual(codes, ["CANNOT_OPEN", "CANNOT_OPEN"]);

    const named = await startTestServer({ env: { KEYROW_OFFLINE_WORKERS: offlineWorker } });
    t.teardown(() => named.stop());
    const ben = await makeUser(named.database, "Ben");
    await asAdmin(named.database, "insert into public.users (id, name) values ($1, 'GitHub worker')", [offlineWorker]);
    const input = { provider: "github", name: "work", value: "ben's" };
    t.deepEqual((await named.query(ben, SET, { input })).codes, []);
    t.deepEqual((await named.query(offlineWorker, ALL)).data?.userCredentials.nodes, []);
  },
);
