import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test from "ava";
import { execa } from "execa";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { cli, surroundings } from "../helpers/command.ts";
import { hasPostgres15, startPostgres15 } from "../helpers/system-postgres.ts";
import { environment, filledIn, makeApplication, run, sqlFile } from "./application.ts";

const page = await readFile(new URL("../../docs/adopt.md", import.meta.url), "utf8");
const fenced = (language: string) =>
  [...page.matchAll(new RegExp(`^ *\`\`\`${language}\\n([^]*?)^ *\`\`\``, "gm"))].map(([, text = ""]) => text);

// psql comes with the system's PostgreSQL. Without it the test is skipped and counted; in CI its absence is a failure.
const onSystem = hasPostgres15 || process.env.CI ? test : test.skip;

onSystem("docs/adopt.md, taken by its word, adopts an application with its own credentials", async (t) => {
  const server = await startPostgres15();
  t.teardown(() => server.stop());
  await makeApplication(server);
  await run(server, "app_owner", await sqlFile("specification.sql"));
  await run(
    server,
    "app_owner",
    `insert into user_credentials (user_id, name, provider, type, encrypted_value)
     values ('00000000-0000-4000-8000-0000000000e1', 'n', 'p', 'API_KEY', 'vault:v1:base64data')`,
  );
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const env = {
    ...surroundings,
    NO_COLOR: "1",
    ADMIN_URL: server.url("dba", "app"),
    ...(await environment(t, server)),
  };

  let exported = "";
  const codes: unknown[] = [];
  for (const block of fenced("sh")) {
    // It runs until it is stopped; other tests serve.
    if (block.trim() === "npx keyrow serve") continue;
    const commands = block
      .replaceAll("npx keyrow", `'${process.execPath}' '${cli}'`)
      .replaceAll("postgres://app_owner@host/app", `'${server.url("app_owner", "app")}'`);
    exported += commands.match(/^ *export .*$/gm)?.join("\n") ?? "";
    if (block.includes("limits.sql")) await run(server, "app_owner", fenced("sql")[2] ?? "");
    if (block.includes("-f after.sql")) await fillIn(join(directory, "after.sql"));
    const { exitCode } = await execa("bash", ["-ec", `${exported}\n${commands}`], {
      cwd: directory,
      env,
      extendEnv: false,
      reject: false,
      timeout: 60_000,
    });
    codes.push(exitCode);
    exported += "\n";
  }
  // The first check alone finds something in the way.
  t.deepEqual(codes, [1, ...Array(codes.length - 1).fill(0)]);
  t.true(codes.length >= 6);
  const { rows } = await run(server, "postgres", "select provider, key_id from public.user_credentials");
  t.deepEqual(rows, [{ provider: "p", key_id: "legacy" }]);

  const limited = await run(server, "postgres", "select from pg_policies where policyname ~ '^users_.*_limited$'");
  t.is(limited.rowCount, 4);
  const [admin = ""] = fenced("sql");
  const answer = "select is_workspace_admin(gen_random_uuid(), gen_random_uuid()) as admin";
  await run(server, "app_owner", `begin; drop function is_workspace_admin cascade; ${admin}; ${answer}; rollback`);
});

async function fillIn(path: string): Promise<void> {
  await writeFile(path, filledIn(await readFile(path, "utf8")));
}
