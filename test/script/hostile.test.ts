import test, { type ExecutionContext } from "ava";
import { startSite } from "../helpers/browser.ts";
import { keyrow } from "../helpers/command.ts";

// Against a server that answers what it likes, as one that was broken into would.

/** A row of one's own. */
function row(provider: string, name: string, value: unknown = "v") {
  return { id: crypto.randomUUID(), provider, name, scope: "USER", workspaceId: null, value };
}

function answer(nodes: readonly unknown[], more: object = {}) {
  const userCredentials = { nodes, pageInfo: { hasNextPage: false, endCursor: null }, ...more };
  return JSON.stringify({ data: { userCredentials } });
}

/** Runs the command against a server that answers this to everything. */
async function against(t: ExecutionContext, body: string, ...args: string[]) {
  const site = await startSite((_request, response) => response.end(body));
  t.teardown(() => site.stop());
  return keyrow(args, { env: { KEYROW_URL: site.origin, KEYROW_TOKEN: "t" } });
}

const unasked =
  /^error: the server answered with a credential that nobody asked for\nhint: nothing of its answer is used/i;

for (const [title, extra] of [
  ["another provider's", row("node", "options", "--import=data:text/javascript,console.log('pwned')")],
  ["another of the same provider's", row("github", "other")],
  ["a workspace's", { ...row("github", "deploy"), scope: "WORKSPACE", workspaceId: crypto.randomUUID() }],
  ["one whose name is no text", { ...row("github", "deploy"), name: { x: 1 } }],
] as const) {
  test(`a row that nobody asked for, ${title}, stops run, export and get, and nothing of the answer is used`, async (t) => {
    const body = answer([row("github", "deploy"), extra]);
    const print = ["--", process.execPath, "-e", "console.log('it started')"];
    for (const args of [
      ["run", "--map", "X=github/deploy", ...print],
      ["run", "--only", "github/deploy", ...print],
      ["export", "--only", "github/deploy", "--format", "shell"],
      ["get", "github/deploy"],
    ]) {
      const { stdout, stderr, exitCode } = await against(t, body, ...args);
      t.regex(stderr, unasked);
      t.deepEqual([stdout, exitCode], ["", 1]);
    }
  });
}

test("a value that is no text is none", async (t) => {
  const body = answer([row("github", "deploy", { a: 1 })]);
  for (const args of [
    ["get", "github/deploy"],
    ["export", "--only", "github/*"],
    ["run", "--only", "github/*", "--", "env"],
  ]) {
    t.like(await against(t, body, ...args), { stdout: "", exitCode: 1 });
  }
});

test("what is described is what was asked for", async (t) => {
  const { stdout, exitCode } = await against(t, answer([row("node", "options")]), "describe", "github/deploy");
  t.deepEqual([stdout, exitCode], ["", 3]);
});

test("a name or a message of many MB does not flood who reads the error", async (t) => {
  const name = "n".repeat(5_000_000);
  for (const body of [
    answer([row("github", name), row("github", name)]),
    answer([row("github", name, null)]),
    JSON.stringify({ errors: [{ message: name }] }),
  ]) {
    const { stderr } = await against(t, body, "run", "--only", "github/*", "--", "env");
    t.regex(stderr, /^error: /);
    t.true(stderr.length < 20_000, `${stderr.length}`);
  }
});

test("a list that never ends is given up", async (t) => {
  let page = 0;
  const site = await startSite((_request, response) => {
    page += 1;
    const nodes = Array.from({ length: 10_000 }, () => row("a", "b"));
    response.end(answer(nodes, { pageInfo: { hasNextPage: true, endCursor: `${page}` } }));
  });
  t.teardown(() => site.stop());
  const { stderr, exitCode } = await keyrow(["list"], { env: { KEYROW_URL: site.origin, KEYROW_TOKEN: "t" } });
  t.regex(stderr, /^error: there are more than 100,000 credentials\nhint: list those of one workspace/);
  t.deepEqual([exitCode, page], [1, 11]);
});

test("a file without an end is read no further than it could be used", async (t) => {
  const given = await against(t, "", "import", "/dev/zero", "--provider", "app");
  t.is(given.stderr, "error: the file has more than 16 MiB\n");
  t.like(await against(t, "", "list", "--cacert", "/dev/zero"), { exitCode: 2 });
});
