import { chmodSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { keyrow as client } from "../../src/client.ts";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { cli } from "../helpers/command.ts";
import { asAdmin, makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";
import { does, makeShell, pageOf } from "../helpers/shell.ts";

const directory = makeTemporaryDirectory();
let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test("the commands of docs/scripts.md do what the page says, as they stand there", async (t) => {
  const { blocks, block } = pageOf("scripts.md", "sh");
  const id = await makeUser(server.database, "Ana");
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(id), NEW: "new-value" };
  const mine = client({ url: env.KEYROW_URL, token: env.KEYROW_TOKEN });
  const at = makeShell(directory);
  writeFileSync(join(directory, "bin/keyrow"), `#!/bin/sh\nexec "${process.execPath}" "${cli}" "$@"\n`);
  writeFileSync(join(directory, "deploy.sh"), '#!/bin/sh\nprintf "%s %s" "$GITHUB_DEPLOY" "$NPM_TOKEN"\n');
  for (const name of ["bin/keyrow", "deploy.sh"]) chmodSync(join(directory, name), 0o755);
  t.is(blocks.length, 4);

  const where = block("whoami")
    .replace("https://keyrow.example.com", env.KEYROW_URL)
    .replace("=...", `=${env.KEYROW_TOKEN}`);
  t.regex(await does(t, at, where, {}), /^name +Ana$/m);

  writeFileSync(join(directory, "key.pem"), "-----BEGIN-----\n");
  writeFileSync(join(directory, "new-token"), "rotated\n");
  const [beforeRotate = "", rotate = "", ...end] = block("keyrow rotate").split(/(?=keyrow (?:rotate|revoke|rm))/);
  t.is((await does(t, at, `${beforeRotate}printf %s "$TOKEN"`, env)).split("\n").at(-1), "new-value");
  t.is(await mine.get("tls/key"), "-----BEGIN-----\n");
  await does(t, at, rotate, env);
  t.is(await mine.get("github/deploy"), "rotated");

  await mine.setAll([
    { credential: "npm/publish", value: "npm" },
    { credential: "app/secret", value: "a 'secret'" },
  ]);
  t.is(await does(t, at, block("keyrow run"), env), "rotated npm");

  writeFileSync(join(directory, "secrets.json"), '{ "stripe/live": "sk" }');
  const files = block("keyrow import");
  const told = await does(t, at, `${files}printf "%s" "$APP_SECRET"`, env);
  t.regex(told, /created {2}app\/APP_SECRET\ncreated {2}stripe\/live\na 'secret'$/);
  t.is(await mine.get("stripe/live"), "sk");
  await does(t, at, end.join(""), env);
  await t.throwsAsync(mine.describe("github/deploy"), { message: /no such credential/ });
});

test("the project's file of docs/scripts.md chooses what it says", async (t) => {
  const { block } = pageOf("scripts.md", "json");
  const id = await makeUser(server.database);
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  await asAdmin(server.database, "update public.workspaces set name = 'acme' where id = $1", [workspace]);
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(id) };
  const values = ["app/a", "github/deploy"].map((credential) => ({ credential, value: `v:${credential}` }));
  await client({ url: env.KEYROW_URL, token: env.KEYROW_TOKEN }).setAll(values, { workspace });
  const project = join(directory, "project");
  mkdirSync(project);
  writeFileSync(join(project, ".keyrow.json"), block("only"));
  const command = `cd project && "${process.execPath}" "${cli}" export --format json`;
  t.deepEqual(JSON.parse(await does(t, makeShell(directory), command, env)), {
    APP_A: "v:app/a",
    GITHUB_TOKEN: "v:github/deploy",
  });
});
