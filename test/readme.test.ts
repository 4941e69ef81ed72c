import { generateKeyPairSync } from "node:crypto";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import { settings } from "../src/settings.ts";
import { withConnection } from "../src/setup.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { cli, surroundings } from "./helpers/command.ts";
import { withPrograms } from "./helpers/programs.ts";
import { does, makeShell, pageOf, type Shell } from "./helpers/shell.ts";
import { hasPostgres15, postgres15Bin, startPostgres15 } from "./helpers/system-postgres.ts";

// Does what README.md says: its blocks are what is run here, with other addresses.

const page = pageOf("../README.md", "sh");
const blocks = {
  six: page.block("npm start "),
  scripts: page.block("npx keyrow get github/deploy"),
  own: page.block("setup --print"),
  openbao: page.block("BAO_ADDR"),
  keys: page.block("npx keyrow keys status"),
  system: page.block("npx keyrow system set"),
};

test("every block of README.md is run here, or names settings that there are", (t) => {
  t.deepEqual(Object.values(blocks).toSorted(), page.blocks.toSorted());
  const [, serve] = blocks.openbao.trim().split("\n");
  t.is(serve, "npx keyrow serve");
  for (const [, name = ""] of blocks.openbao.matchAll(/(\w+)=/g)) t.true(name in settings, name);
});

function shellIn(t: ExecutionContext): Shell {
  const directory = makeTemporaryDirectory("keyrow-readme-");
  t.teardown(() => removeWithServers(directory));
  return makeShell(directory, { path: hasPostgres15 ? postgres15Bin : "" });
}

/** Runs a command of the page that goes on until it is stopped; gives what says that it is up. */
async function goesOn(t: ExecutionContext, at: Shell, command: string, env: Record<string, string>, up: RegExp) {
  const running = execa("bash", ["--norc", "-ec", `exec env ${command}`], {
    cwd: at.directory,
    env: { ...surroundings, ...env, PATH: at.path, HOME: at.directory, PORT: "0" },
    extendEnv: false,
    reject: false,
  });
  t.teardown(async () => {
    running.kill("SIGTERM");
    await running;
  });
  let said = "";
  const found = await new Promise<string>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      said += chunk;
      const [, part] = up.exec(said) ?? [];
      if (part !== undefined) resolve(part);
    };
    running.stdout?.on("data", read);
    running.stderr?.on("data", read);
    void running.then(() => reject(new Error(said)));
  });
  return found;
}

const system = blocks.system.replace("npx keyrow system set", "printf %s relay-value | npx keyrow system set");

withPrograms(
  ["curl"],
  "the six lines work, and the script's, those of keys and those of SYSTEM after them",
  async (t) => {
    const at = shellIn(t);
    const [clone = "", start = "", ...lines] = blocks.six.trim().split("\n");
    t.regex(clone, /^git clone .* keyrow && cd keyrow$/);
    t.regex(start, /^npm start /);
    const env = { KEYROW_DATA_DIR: join(at.directory, ".keyrow") };
    // As package.json has it.
    const url = await goesOn(
      t,
      at,
      `'${process.execPath}' '${cli}' start`,
      env,
      /GraphQL +(http:\S+)\/graphql[\s\S]*Ctrl-C stops it/,
    );
    const here = (text: string) => text.replaceAll("http://127.0.0.1:5678", url);

    const answers = await does(t, at, here(lines.join("\necho\n")), env);
    const [set, read] = answers
      .trim()
      .split("\n")
      .slice(-2)
      .map((line) => JSON.parse(line).data);
    t.is(set.setUserCredential.userCredential.maskedValue.slice(-4), "efgh");
    t.deepEqual(read.userCredentials.nodes, [
      { provider: "github", name: "ci", value: "ghp_0123456789abcdefghij0123456789abcdefgh" },
    ]);

    writeFileSync(join(at.directory, "deploy.sh"), '#!/bin/sh\nprintf "|%s" "$GITHUB_DEPLOY"\n');
    chmodSync(join(at.directory, "deploy.sh"), 0o755);
    const printed = await does(t, at, here(blocks.scripts), { ...env, VALUE: "of-the-page" });
    t.regex(printed, /^(created|renewed) {2}github\/deploy\nof-the-page\|of-the-page$/);

    t.regex(await does(t, at, blocks.keys, env), /local:/);

    // Where ADMIN_DATABASE_URL is unset.
    const embedded = system.split("\n").filter((line) => line.startsWith("printf") || line.startsWith("npx"));
    t.is(embedded.length, 4);
    t.regex(await does(t, at, embedded.join("\n"), env), /relay-value/);
  },
);

const onSystem = hasPostgres15 || process.env.CI ? test : test.skip;

onSystem(
  "a PostgreSQL of one's own is set up, migrated and served, and has SYSTEM credentials, as the page says",
  async (t) => {
    const at = shellIn(t);
    const server = await startPostgres15();
    t.teardown(() => server.stop());
    const run = (login: string, database: string, text: string) =>
      withConnection(server.url(login, database), (client) => client.query(text));
    await run("postgres", "postgres", "create role dba login createrole createdb; create role alice login");
    await run("dba", "postgres", "create database app");
    const keys = join(at.directory, "keys.json");
    const { publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    writeFileSync(join(at.directory, "issuer.pem"), publicKey.export({ type: "spki", format: "pem" }));
    const env = { ADMIN_URL: server.url("dba", "app"), KEYROW_KEY_FILE: keys };
    const here = (text: string) =>
      text
        .replaceAll(/postgres:\/\/(\w+)(?::\.\.\.)?@host\/app/g, (_, login) => `'${server.url(login, "app")}'`)
        .replaceAll("/etc/keyrow/keys.json", `'${keys}'`)
        // Without a terminal psql reads passwords from standard input: each twice.
        .replace("psql -c '\\password", "< passwords setsid -w psql -c '\\password");
    writeFileSync(join(at.directory, "passwords"), "a password\n".repeat(6));

    const lines = blocks.own.trim().split("\n");
    const serve = lines.pop() ?? "";
    await does(t, at, here(lines.join("\n")), {});
    const passwords = await run(
      "postgres",
      "app",
      "select rolname from pg_authid where rolpassword is not null order by 1",
    );
    t.deepEqual(
      passwords.rows.map(({ rolname }) => rolname),
      ["keyrow_authenticator", "keyrow_migrate", "keyrow_worker"],
    );
    const port = await goesOn(t, at, here(serve), env, /"port":(\d+).*"msg":"ready"/);
    t.is((await fetch(`http://127.0.0.1:${port}/readyz`)).status, 200);

    await run(
      "postgres",
      "app",
      "insert into public.users (email, name) values ('ana@example.com', 'Ana'), ('bo@example.com', 'Bo')",
    );
    t.regex(await does(t, at, here(system), env), /relay-value[\s\S]*smtp\/relay/);
    await run("postgres", "app", "delete from public.users where email = 'ana@example.com'");
    const { rows } = await run(
      "postgres",
      "app",
      "select u.email from public.user_credentials c join public.users u on u.id = c.user_id",
    );
    t.deepEqual(rows, [{ email: "bo@example.com" }]);
  },
);
