import { randomUUID } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { createServer as createTls } from "node:tls";
import test from "ava";
import { execa } from "execa";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { ownSigningKey } from "../src/signing-key.ts";
import { makeTemporaryDirectory } from "./helpers/cluster.ts";
import { createTestDatabase } from "./helpers/database.ts";
import { oldNode } from "./helpers/old-node.ts";
import { installPacked, installWithoutOptional } from "./helpers/package.ts";
import { makeUser, startTestServer, type TestServer } from "./helpers/server.ts";
import { forward, listening, makeCertificate, startProxy } from "./helpers/tls.ts";

const directory = makeTemporaryDirectory();
let server: TestServer;
let packed: Awaited<ReturnType<typeof installPacked>>;
test.before(async () => {
  packed = await installPacked(directory);
  await installWithoutOptional(directory);
  server = await startTestServer({ signingKey: await ownSigningKey(join(directory, "signing-key.pem")) });
});
test.after.always(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

const options = (env: Record<string, string> = {}) => ({
  cwd: packed.application,
  env: { PATH: process.env.PATH ?? "", HOME: directory, NO_COLOR: "1", ...env },
  extendEnv: false,
});

test("the package holds what is compiled, its declarations, the migrations and the launcher, and no source", (t) => {
  for (const file of [
    "dist/src/cli.js",
    "dist/src/client.js",
    "dist/src/client.d.ts",
    "dist/plugins/encrypted-columns.js",
  ]) {
    t.true(packed.files.includes(file), file);
  }
  t.true(packed.files.includes("migrations/committed/000001-credential-types.sql"));
  const readme = readFileSync(join(packed.application, "node_modules/keyrow/README.md"), "utf8");
  const pages = [...readme.matchAll(/\]\((docs\/[\w/.-]+\.md)/g)].map(([, page = ""]) => page);
  t.true(pages.includes("docs/issuers.md"));
  for (const page of pages) t.true(packed.files.includes(page), page);
  const sources = packed.files.filter((file) => /\.ts$/.test(file) && !/\.d\.m?ts$/.test(file));
  t.deepEqual(sources, []);
  t.deepEqual(
    packed.files.filter((file) => /(^|\/)(test\/|bench\/|generate\.|docs\.|pack\.mjs)/.test(file)),
    [],
  );
});

async function credential() {
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(await makeUser(server.database)) };
  const set = await execa("npx", ["keyrow", "set", "p/n"], { ...options(env), input: "v" });
  return { env, said: set.stdout };
}

test("npx keyrow set and get work in an empty folder", async (t) => {
  const { env, said } = await credential();
  t.is(said, "created  p/n");
  t.is((await execa("npx", ["keyrow", "get", "p/n"], options(env))).stdout, "v");
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  t.is((await execa("npx", ["keyrow", "--version"], options())).stdout, version);
});

const onOldNode = oldNode === undefined ? test.skip : test;

/** The package without its optional dependencies, in an empty folder, under the system's Node alone. */
async function plain() {
  const application = join(directory, "plain");
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(await makeUser(server.database)) };
  const PATH = [dirname(oldNode ?? ""), process.env.PATH ?? ""].join(delimiter);
  const keyrow = async (args: readonly string[], more: Record<string, string> = {}, input = "") => {
    const program = join(application, "node_modules/.bin/keyrow");
    const came = await execa(program, args, {
      ...options({ ...env, PATH, ...more }),
      cwd: application,
      input,
      reject: false,
    });
    return came.exitCode === 0 ? came.stdout : `${came.exitCode} ${came.stderr}`;
  };
  return { application, env, PATH, keyrow };
}

onOldNode("every command for scripts works on Node 20 without optional dependencies", async (t) => {
  const { application, keyrow, env, PATH } = await plain();
  t.regex((await execa(oldNode ?? "", ["--version"])).stdout, /^v2[0-3]\./);
  const steps: Array<[expected: string | RegExp, args: string[], input?: string]> = [
    ["created  app/one", ["set", "app/one"], "1"],
    [/^created {2}app\/TWO\n?$/, ["import", "-", "--provider", "app", "--dry-run"], "TWO=2"],
    ["created  app/TWO", ["import", "-", "--provider", "app"], "TWO=2"],
    ["1", ["get", "app/one"]],
    [/^CREDENTIAL .*\napp\/TWO .*\napp\/one /, ["list"]],
    [/^credential +app\/one\n/, ["describe", "app/one"]],
    ["APP_TWO=2\nAPP_ONE=1", ["export", "--only", "app/*"]],
    ["export APP_ONE='1'", ["export", "--only", "app/one", "--format", "shell"]],
    ["1|", ["run", "--only", "app/*", "--", "sh", "-c", 'printf "%s|%s" "$APP_ONE" "$KEYROW_TOKEN"']],
    ["7 ", ["run", "--only", "app/*", "--", "sh", "-c", "exit 7"]],
    [/^143 /, ["run", "--only", "app/*", "--", "sh", "-c", "kill -TERM $$"]],
    [/^127 /, ["run", "--only", "app/*", "--", "./no-such-command"]],
    ["rotated  app/one", ["rotate", "app/one"], "3"],
    ["revoked  app/one", ["revoke", "app/one"]],
    [/^1 error: .*revoked/, ["get", "app/one"]],
    ["deleted  app/one", ["rm", "app/one", "--yes"]],
    [/^3 error: /, ["get", "app/one"]],
    [/^eyJ/, ["token", "create", "--only", "app/*"]],
    [/^ID .*\n.* token /, ["token", "list"]],
    [/^2 error: /, ["token", "revoke", "x"]],
    [/^server /, ["whoami"]],
  ];
  for (const [expected, args, input] of steps) {
    const came = await keyrow(args, {}, input);
    if (typeof expected === "string") t.is(came, expected, args.join(" "));
    else t.regex(came, expected, args.join(" "));
  }
  const of = { XDG_CONFIG_HOME: join(directory, "config"), KEYROW_TOKEN: "" };
  t.regex(await keyrow(["login", server.url], of, env.KEYROW_TOKEN), /^logged in/);
  t.is(await keyrow(["get", "app/TWO"], { ...of, KEYROW_URL: "" }), "2");
  t.is(await keyrow(["logout"], of), "logged out");
  const npx = { ...options({ ...env, PATH }), cwd: application };
  t.is((await execa("npx", ["keyrow", "get", "app/TWO"], npx)).stdout, "2");
  t.is((await execa("npx", ["keyrow", "run", "--only", "app/*", "--", "printenv", "APP_TWO"], npx)).stdout, "2");
});

onOldNode("on Node 20, --cacert and HTTPS_PROXY serve as on a later one", async (t) => {
  const { keyrow } = await plain();
  const { key, cert } = makeCertificate(directory);
  const tls = createTls({ key: readFileSync(key), cert: readFileSync(cert) }, (socket) =>
    forward(socket, Number(new URL(server.url).port)),
  );
  const port = await listening(t, tls);
  const direct = { KEYROW_URL: `https://localhost:${port}` };
  t.is(await keyrow(["set", "app/tls", "--cacert", cert], direct, "v"), "created  app/tls");
  t.regex(await keyrow(["get", "app/tls"], direct), /^5 error: .*CERT/);
  const { url, tunnels } = await startProxy(t, port);
  const proxied = { KEYROW_URL: "https://keyrow.test", HTTPS_PROXY: url };
  t.is(await keyrow(["get", "app/tls", "--cacert", cert], proxied), "v");
  t.is(await keyrow(["get", "app/tls"], { ...proxied, NODE_EXTRA_CA_CERTS: cert }), "v");
  const shown = ["--", "printenv", "APP_TLS"];
  t.is(await keyrow(["run", "--only", "app/*", "--cacert", cert, ...shown], proxied), "v");
  t.deepEqual(tunnels, ["keyrow.test:443", "keyrow.test:443", "keyrow.test:443"]);
});

onOldNode("keyrow/client works on Node 20", async (t) => {
  const { application, env, keyrow } = await plain();
  await keyrow(["set", "p/n"], {}, "v");
  const script = `import { keyrow } from "keyrow/client";
    const client = keyrow({ url: process.env.KEYROW_URL, token: process.env.KEYROW_TOKEN });
    process.stdout.write(await client.get("p/n"));`;
  writeFileSync(join(application, "client.mjs"), script);
  t.is((await execa(oldNode ?? "", ["client.mjs"], { ...options(env), cwd: application })).stdout, "v");
});

test("npx keyrow serve runs on a database, and ends when it is told to", async (t) => {
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  const keyFile = join(directory, "keys.json");
  await createKeyFile(keyFile);
  const secret = "an-example-of-a-secret-of-48-bytes-for-tests-only";
  const serving = execa("npx", ["keyrow", "serve"], {
    ...options({
      PORT: "0",
      DATABASE_URL: database.url("keyrow_authenticator"),
      KEYROW_KEY_FILE: keyFile,
      JWT_SECRET: secret,
    }),
    reject: false,
    timeout: 60_000,
  });
  let said = "";
  const url = await new Promise<string>((resolve, reject) => {
    serving.stderr.on("data", (chunk) => {
      said += chunk;
      const [, port] = /"port":(\d+).*"msg":"ready"/.exec(said) ?? [];
      if (port !== undefined) resolve(`http://127.0.0.1:${port}`);
    });
    void serving.then(() => reject(new Error(said)));
  });
  t.is((await fetch(`${url}/readyz`)).status, 200, said);
  serving.kill("SIGTERM");
  await serving;
});

test("the declarations are enough for who imports the client, the plugin and the preset", async (t) => {
  writeFileSync(
    join(packed.application, "consumer.ts"),
    `import { type Credential, type ErrorCode, KeyrowError, keyrow } from "keyrow/client";
    const client = keyrow({ url: "https://keyrow.example.com", token: async () => "t" });
    export const value: Promise<string> = client.get("p/n", { signal: AbortSignal.timeout(1) });
    export async function first(): Promise<Credential | undefined> { for await (const one of client.list()) return one; }
    export const code = (error: unknown): ErrorCode | undefined => (error instanceof KeyrowError ? error.code : undefined);
    // @ts-expect-error a value is a text
    client.set({ credential: "p/n", value: 1 });`,
  );
  // Each by itself, and neither brings PostGraphile's global types along.
  writeFileSync(
    join(packed.application, "plugin.ts"),
    `import { type EncryptedColumnsOptions, EncryptedColumnsPlugin } from "keyrow/plugin";
    export const plugin: GraphileConfig.Plugin = EncryptedColumnsPlugin;
    export const name: string = EncryptedColumnsPlugin.name;
    export const preset = (encryptedColumns: EncryptedColumnsOptions): GraphileConfig.Preset => ({
      plugins: [EncryptedColumnsPlugin],
      schema: { encryptedColumns },
    });
    // @ts-expect-error a plugin has a name of its own
    EncryptedColumnsPlugin.nothing;
    // @ts-expect-error a number of bytes
    preset({ maxBytes: "1" });`,
  );
  writeFileSync(
    join(packed.application, "preset.ts"),
    `import { encryptedColumnsPreset, keyFileCipher } from "keyrow/preset";
    const cipher = await keyFileCipher("k");
    export const preset = encryptedColumnsPreset({ cipher, mayOpen: (row, settings) => row.owner_id === settings["x"] });
    export const plugins: GraphileConfig.Preset["plugins"] = preset.plugins;
    // @ts-expect-error a preset knows what it has
    preset.nothing;
    // @ts-expect-error nothing opens without the last word
    encryptedColumnsPreset({ cipher });`,
  );
  const tsc = join(packed.application, "node_modules/typescript/bin/tsc");
  const compile = (file: string, ...more: string[]) =>
    execa(
      process.execPath,
      [tsc, "--noEmit", "--strict", "--module", "nodenext", "--target", "es2024", ...more, file],
      {
        ...options(),
        reject: false,
      },
    );
  // The client's are checked whole; those of PostGraphile are its own.
  t.is((await compile("consumer.ts", "--lib", "es2024,dom", "--types", "")).stdout, "");
  for (const file of ["plugin.ts", "preset.ts"]) {
    t.is((await compile(file, "--skipLibCheck", "--types", "node")).stdout, "");
  }
});

test("the preset gives somebody's own PostGraphile an encrypted column: sealed, masked, revealed on the record", async (t) => {
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  const superuser = database.pool("postgres");
  const block = (page: string, language: string) =>
    new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(
      readFileSync(new URL(page, import.meta.url), "utf8"),
    )?.[1] ?? "";
  await superuser.query(block("../plugins/README.md", "sql"));
  const keyFile = join(directory, "preset-keys.json");
  await createKeyFile(keyFile);
  const owner = randomUUID();
  await superuser.query("insert into bank.customers (id, name) values ($1, 'Ana')", [owner]);
  writeFileSync(join(packed.application, "pgl.mjs"), block("../docs/package.md", "js"));
  writeFileSync(
    join(packed.application, "server.mjs"),
    `import { createServer } from "node:http";
    import { grafserv } from "postgraphile/grafserv/node";
    import { pgl } from "./pgl.mjs";
    const handle = pgl.createServ(grafserv).createHandler();
    const server = createServer((request, response) => {
      request.userId = ${JSON.stringify(owner)};
      handle(request, response);
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = "http://127.0.0.1:" + server.address().port + "/graphql";
    const create = "mutation ($iban: String!) { createAccount(input: { account: { label: \\"l\\", iban: $iban } }) { account { ibanHint } } }";
    const read = "{ allAccounts { nodes { label iban } } }";
    const answers = [];
    for (const [query, iban] of [[create, "DE02120300000000202051"], [read], [create, "x".repeat(65_537)], [create, "again"]]) {
      const body = JSON.stringify({ query, variables: { iban } });
      const answer = await fetch(address, { method: "POST", headers: { "content-type": "application/json" }, body });
      answers.push(await answer.json());
    }
    process.stdout.write(JSON.stringify(answers));
    process.exit();`,
  );
  const env = {
    DATABASE_URL: database.url("keyrow_authenticator"),
    KEYROW_KEY_FILE: keyFile,
    GRAPHILE_ENV: "production",
  };
  const { stdout, stderr } = await execa(process.execPath, ["server.mjs"], options(env));
  const [made, read, large, again] = JSON.parse(stdout);
  t.deepEqual(made.data, { createAccount: { account: { ibanHint: "*****2051" } } });
  t.deepEqual(read.data, { allAccounts: { nodes: [{ label: "l", iban: "DE02120300000000202051" }] } });
  t.is(large.errors[0].extensions.code, "LIMIT_EXCEEDED");
  t.regex(again.errors[0].message, /^An error occurred/);
  t.notRegex(stderr, /DE02|again/);
  const { rows } = await superuser.query(
    "select iban_sealed, (select count(*)::int from bank.reveals) as n from bank.accounts",
  );
  t.regex(rows[0].iban_sealed, /^[\w+/]{16}:/);
  t.is(rows[0].n, 1);
});
