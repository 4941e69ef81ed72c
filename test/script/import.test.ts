import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { keyrow as client } from "../../src/client.ts";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { keyrow } from "../helpers/command.ts";
import { asAdmin, makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
const directory = makeTemporaryDirectory();
test.before(async () => {
  server = await startTestServer();
});
test.after.always(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function somebody() {
  const id = await makeUser(server.database);
  const token = server.token(id);
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: token };
  const as = (args: string[], input = "") => keyrow(args, { env, input, cwd: directory });
  return { as, mine: client({ url: server.url, token }), id };
}

const dotenv = `# comment\nGITHUB_TOKEN="two\\nlines"\nexport PLAIN=x=y # note\nQUOTED='$HOME "q"'\n`;

test("a dotenv file is imported as one, and what each name became is told", async (t) => {
  const { as, mine } = await somebody();
  await mine.set({ credential: "app/PLAIN", value: "before" });
  const args = ["import", "-", "--provider", "app", "--map", "GITHUB_TOKEN=github/deploy"];
  const told = "created  github/deploy\nrenewed  app/PLAIN\ncreated  app/QUOTED\n";
  t.deepEqual(await as([...args, "--dry-run"], dotenv), {
    stdout: told,
    stderr: "2 would be created, 1 would be renewed\n",
    exitCode: 0,
  });
  t.is(await mine.get("app/PLAIN"), "before");
  t.deepEqual(await as(args, dotenv), { stdout: told, stderr: "2 created, 1 renewed\n", exitCode: 0 });
  t.deepEqual(await Promise.all(["github/deploy", "app/PLAIN", "app/QUOTED"].map((one) => mine.get(one))), [
    "two\nlines",
    "x=y",
    '$HOME "q"',
  ]);
});

test("a JSON file is imported, names with a slash as they are", async (t) => {
  const { as, mine } = await somebody();
  const file = join(directory, "secrets.json");
  writeFileSync(file, JSON.stringify({ "github/deploy": "ghp", TOKEN: "t" }));
  const { stdout } = await as(["import", file, "--provider", "app", "--json", "--type", "API_KEY"]);
  t.deepEqual(JSON.parse(stdout), {
    dryRun: false,
    credentials: [
      { credential: "github/deploy", created: true },
      { credential: "app/TOKEN", created: true },
    ],
  });
  t.is((await mine.describe("app/TOKEN")).type, "API_KEY");
});

test("a dry run refuses what the import would, and leaves nothing behind", async (t) => {
  const { as, mine, id } = await somebody();
  const { id: there } = (await mine.set({ credential: "app/A", value: "1" })).credential;
  await mine.revoke("app/A");
  const before = await mine.describe("app/A");
  const entries = async () => {
    const { rows } = await asAdmin(server.database, "select action from public.activity_logs where user_id = $1", [id]);
    return rows.length;
  };
  const recorded = await entries();
  const workspace = await makeWorkspace(server.database, { [id]: "MEMBER" });
  const cases: Array<[args: string[], input: string, exitCode: number, stderr: RegExp]> = [
    [["--provider", "app"], "A=2\nB=3\n", 0, /^1 would be created, 1 would be renewed\n$/],
    [["--provider", "app"], `A=2\nB=${"x".repeat(70_000)}\n`, 1, /limit/],
    [["--provider", "app", "--workspace", workspace], "A=2\n", 4, /a policy does not allow this/],
    [["--provider", "p".repeat(200)], "A=2\n", 1, /./],
  ];
  for (const [args, input, exitCode, stderr] of cases) {
    const tried = await as(["import", "-", "--dry-run", ...args], input);
    t.regex(tried.stderr, stderr);
    t.is(tried.exitCode, exitCode);
    t.deepEqual(await mine.describe(there), before);
    await t.throwsAsync(mine.describe("app/B"), { message: /no such credential/ });
    t.is(await entries(), recorded);
    if (exitCode === 0) continue;
    const done = await as(["import", "-", ...args], input);
    t.deepEqual([done.stderr, done.exitCode], [tried.stderr, tried.exitCode]);
  }
});

test("a thousand credentials are imported as one, in either format, with all that an import says of them", async (t) => {
  const { as, mine, id } = await somebody();
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  const names = Array.from({ length: 1_001 }, (_, n) => `N${n}`);
  const [thousand, more] = [names.slice(0, 1_000), names];
  const value = "v".repeat(300);
  const files = {
    dotenv: (of: string[]) => of.map((name) => `${name}=${value}\n`).join(""),
    json: (of: string[]) => JSON.stringify(Object.fromEntries(of.map((name) => [name, value]))),
  };
  for (const [format, write] of Object.entries(files)) {
    const args = [
      "import",
      "-",
      "--format",
      format,
      "--provider",
      format,
      "--type",
      "API_KEY",
      "--workspace",
      workspace,
    ];
    const beyond = await as(args, write(more));
    t.deepEqual(beyond, {
      stdout: "",
      stderr: "error: at most 1000 credentials can be set at once\nhint: set them in parts\n",
      exitCode: 1,
    });
    const long = await as(args, write(thousand).replaceAll(value, value.repeat(2)));
    t.regex(
      long.stderr,
      /^error: the body is over the limit of 524288 bytes\nhint: send it in parts; .*KEYROW_MAX_BODY\n$/,
    );
    t.true((await mine.list({ workspace }).next()).done, "nothing of it is there");
    const done = await as(args, write(thousand));
    t.deepEqual([done.stderr, done.exitCode], ["1000 created, 0 renewed\n", 0]);
    for (const name of names.slice(0, 2))
      t.is((await mine.describe(`${format}/${name}`, { workspace })).type, "API_KEY");
    await asAdmin(server.database, "delete from public.user_credentials where workspace_id = $1", [workspace]);
  }
});

test("the value that is too long is told by its place in the file, and nothing is there", async (t) => {
  const { as } = await somebody();
  const refused = await as(["import", "-", "--provider", "app"], `A=a\nB=${"b".repeat(65_537)}\nC=c\n`);
  t.deepEqual(refused, {
    stdout: "",
    stderr: 'error: "value" (2 of 3) is over the limit of 65536 bytes (UTF-8)\n',
    exitCode: 1,
  });
  t.is((await as(["list"])).stdout, "");
});

test("a thousand credentials are set at once with all their fields", async (t) => {
  const { mine, id } = await somebody();
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  const all = {
    value: "v",
    type: "API_KEY",
    description: "d",
    expiresAt: "2999-01-01",
    metadata: { a: [1, { b: 2 }] },
  } as const;
  const items = Array.from({ length: 1_000 }, (_, n) => ({ ...all, credential: `p/${n}` }));
  for (const created of [true, false]) {
    const outcomes = await mine.setAll(items, { workspace });
    t.is(outcomes.filter((one) => one.created === created).length, 1_000);
  }
});

test("what export wrote, import reads", async (t) => {
  const { as, mine } = await somebody();
  const values = { "app/A": "a 'b' c", "app/B": "line\nline\n$x", "app/C": "é🔑" };
  await mine.setAll(Object.entries(values).map(([credential, value]) => ({ credential, value })));
  for (const format of ["dotenv", "json"]) {
    const { stdout } = await as(["export", "--only", "app/*", "--format", format]);
    await as(["import", "-", "--provider", format, "--format", format], stdout);
    t.is(await mine.get(`${format}/APP_A`), values["app/A"]);
    t.is(await mine.get(`${format}/APP_B`), values["app/B"]);
  }
});

test("nothing is imported where one part can't be", async (t) => {
  const { as, mine } = await somebody();
  const big = "x".repeat(70_000);
  const ends: Array<[args: string[], input: string, exitCode: number, stderr: RegExp]> = [
    [["--provider", "app"], `A=1\nB=${big}\n`, 1, /limit/],
    [[], "A=1\nB=2\n", 2, /where these go: A, B\nhint: /],
    [["--map", "A=p/n", "--map", "B=p/n"], "A=1\nB=2\n", 2, /two variables would be p\/n/],
    [["--provider", "app"], "# nothing\n", 1, /no variables/],
    [["--provider", "app"], "A=1\nhunter2\n", 1, /line 2 of the file is no variable\nhint: write NAME=value/],
    [["--format", "json"], '{ "a/b": 1 }', 1, /not a JSON object whose values are texts/],
    [["--format", "json"], '{ "a/b": "hunter2", "a/b": "x" }', 1, /key stands twice/],
    [["--format", "json"], "hunter2", 1, /not JSON/],
  ];
  for (const [args, input, exitCode, stderr] of ends) {
    const ended = await as(["import", "-", ...args], input);
    t.regex(ended.stderr, stderr);
    t.notRegex(ended.stderr, /hunter2/);
    t.deepEqual([ended.stdout, ended.exitCode], ["", exitCode]);
  }
  t.true((await mine.list().next()).done);
});
