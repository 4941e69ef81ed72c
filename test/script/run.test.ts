import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import test from "ava";
import { keyrow as client } from "../../src/client.ts";
import { startSite } from "../helpers/browser.ts";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { cli, keyrow, surroundings } from "../helpers/command.ts";
import { makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";
import { onTerminal, typeInto } from "../helpers/terminal.ts";

let server: TestServer;
const directory = makeTemporaryDirectory();
test.before(async () => {
  server = await startTestServer();
});
test.after.always(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** Somebody new, with some credentials whose values are their names. */
async function somebody(...names: string[]) {
  const id = await makeUser(server.database);
  const token = server.token(id);
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: token };
  const mine = client({ url: server.url, token });
  await mine.setAll(names.map((credential) => ({ credential, value: `v:${credential}` })));
  const cwd = join(directory, token.slice(-12));
  mkdirSync(cwd);
  return { id, token, mine, env, cwd, as: (...args: string[]) => keyrow(args, { env, cwd }) };
}

const started = ["--", "echo", "it started"];
const show = ["--", "sh", "-c", "env | grep -E '^(GITHUB|GH|NPM|KEYROW|_)' | sort"];

test("run gives a command the chosen credentials, and not the token that fetched them", async (t) => {
  const { as } = await somebody("github/deploy", "github/read-only", "npm/publish", "aws/key");
  const { stdout, exitCode } = await as("run", "--only", "github/*", "--map", "NPM_TOKEN=npm/publish", ...show);
  const lines = stdout
    .trim()
    .split("\n")
    .filter((line) => !/^(_|KEYROW_TRANSIT_TIMEOUT)=/.test(line));
  t.deepEqual(lines, [
    "GITHUB_DEPLOY=v:github/deploy",
    "GITHUB_READ_ONLY=v:github/read-only",
    `KEYROW_URL=${server.url}`,
    "NPM_TOKEN=v:npm/publish",
  ]);
  t.is(exitCode, 0);
  t.regex((await as("run", "--only", "aws/*", "--keep-token", ...show)).stdout, /^KEYROW_TOKEN=/m);
});

test("a credential of --map has the names given there alone, and may have several", async (t) => {
  const { as } = await somebody("github/deploy", "github/other");
  const choice = ["--only", "github/*", "--map", "GH_A=github/deploy", "--map", "GH_B=github/deploy"];
  const { stdout } = await as("run", ...choice, ...show);
  t.deepEqual(stdout.match(/^G\w+/gm), ["GH_A", "GH_B", "GITHUB_OTHER"]);
});

test("one request reveals all, whatever was chosen", async (t) => {
  const { env, id, mine } = await somebody("a/1", "a/2", "b/1");
  let requests = 0;
  const proxy = await startSite((request, response) => {
    requests += 1;
    const { host: _, connection: __, ...headers } = request.headers as Record<string, string>;
    text(request)
      .then((body) => fetch(`${server.url}${request.url}`, { method: "POST", headers, body }))
      .then(async (answer) => response.writeHead(answer.status).end(await answer.text()));
  });
  t.teardown(() => proxy.stop());
  const args = ["run", "--only", "a/*", "--map", "B=b/1", "--", "sh", "-c", "echo $A_1 $A_2 $B"];
  const { stdout } = await keyrow(args, { env: { ...env, KEYROW_URL: proxy.origin } });
  t.deepEqual([stdout, requests], ["v:a/1 v:a/2 v:b/1\n", 1]);
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  await mine.setAll(
    ["a/1", "a/2", "b/1"].map((credential) => ({ credential, value: `our:${credential}` })),
    { workspace },
  );
  for (const named of [workspace, "a workspace"]) {
    requests = 0;
    const ours = await keyrow(["run", "--workspace", named, ...args.slice(1)], {
      env: { ...env, KEYROW_URL: proxy.origin },
    });
    t.deepEqual([ours.stdout, requests], ["our:a/1 our:a/2 our:b/1\n", 1], named);
  }
  await makeWorkspace(server.database, { [id]: "ADMIN" });
  t.like(await keyrow(["run", "--workspace", "a workspace", ...args.slice(1)], { env }), {
    stdout: "",
    stderr: "error: two workspaces have that name\nhint: give its id\n",
    exitCode: 2,
  });
});

test("a project's file chooses where the command line does not, and names neither a secret nor a server", async (t) => {
  const { as, cwd } = await somebody("github/deploy", "npm/publish");
  const project = (value: unknown) => writeFileSync(join(cwd, ".keyrow.json"), JSON.stringify(value));
  project({ only: ["npm/*"], map: { GH_TOKEN: "github/deploy" } });
  t.deepEqual((await as("run", ...show)).stdout.match(/^[GN]\w+/gm), ["GH_TOKEN", "NPM_PUBLISH"]);
  t.deepEqual((await as("run", "--only", "npm/*", ...show)).stdout.match(/^[GN]\w+/gm), ["NPM_PUBLISH"]);
  for (const [bad, at] of [
    [{ url: "https://evil.example.com" }, "url"],
    [{ map: { "A-B": "p/n" } }, "map.A-B"],
    [{ only: "npm/*", token: "t" }, "only, token"],
    [[], "the whole"],
  ] as const) {
    project(bad);
    const { stderr, exitCode } = await as("run", ...show);
    t.true(stderr.startsWith(`error: .keyrow.json can't be used; look at: ${at}\nhint: `), stderr);
    t.is(exitCode, 2);
  }
});

test("a project's file says of which workspace, and the command line replaces what it names: which credentials, or whose", async (t) => {
  const { as, cwd, id, token } = await somebody("npm/publish", "github/deploy");
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  const ours = ["npm/publish", "github/deploy", "aws/key"].map((credential) => ({
    credential,
    value: `o:${credential}`,
  }));
  await client({ url: server.url, token }).setAll(ours, { workspace });
  writeFileSync(
    join(cwd, ".keyrow.json"),
    JSON.stringify({ only: ["npm/*"], map: { GH_TOKEN: "github/deploy" }, workspace }),
  );
  const exported = async (...args: string[]) => {
    const { stdout, stderr } = await as("export", "--json", ...args);
    return stdout === "" ? stderr : JSON.parse(stdout);
  };
  t.deepEqual(await exported(), { GH_TOKEN: "o:github/deploy", NPM_PUBLISH: "o:npm/publish" });
  t.deepEqual(await exported("--only", "aws/*"), { AWS_KEY: "o:aws/key" });
  t.deepEqual(await exported("--map", "A=aws/key"), { A: "o:aws/key" });
  t.deepEqual(await exported("--no-workspace"), { GH_TOKEN: "v:github/deploy", NPM_PUBLISH: "v:npm/publish" });
  t.deepEqual(await exported("--no-workspace", "--only", "npm/*"), { NPM_PUBLISH: "v:npm/publish" });
  const other = await makeWorkspace(server.database, { [id]: "ADMIN" });
  t.regex(await exported("--workspace", other), /"NOT_FOUND".*keyrow list/);
  const whose = (named: string) =>
    `hint: the workspace is ${named}, as .keyrow.json says; --no-workspace means your own\n`;
  t.is(
    (await as("run", "--only", "gitlab/*", ...started)).stderr,
    `error: there is no such credential, or it is not visible to you: gitlab/*\n${whose(workspace)}`,
  );
  writeFileSync(join(cwd, ".keyrow.json"), JSON.stringify({ workspace: "nobody's" }));
  t.is(
    (await as("export", "--only", "npm/*")).stderr,
    `error: there is no workspace of that name, or it is not visible to you\n${whose("nobody's")}`,
  );
  writeFileSync(join(cwd, ".keyrow.json"), "nonsense");
  t.regex(await exported("--only", "npm/*"), /\.keyrow\.json/, "it might say a workspace");
  t.deepEqual(await exported("--only", "npm/*", "--no-workspace"), { NPM_PUBLISH: "v:npm/publish" });
});

test("a project's file takes no credentials of whatever provider: the command line alone may", async (t) => {
  const { as, cwd } = await somebody("npm/publish");
  for (const wide of ["*/*", "*/publish", "n*/publish"]) {
    writeFileSync(join(cwd, ".keyrow.json"), JSON.stringify({ only: ["aws/*", wide] }));
    for (const args of [["run", ...started], ["export"]]) {
      t.deepEqual(await as(...args), {
        stdout: "",
        stderr: `error: .keyrow.json would take credentials of any provider: ${wide}\nhint: a pattern there names its provider, as in github/*. The command line alone may take more: --only '${wide}'.\n`,
        exitCode: 2,
      });
    }
    t.is((await as("run", "--only", wide, ...started)).stdout, "it started\n");
  }
});

onTerminal("on a terminal run says first what a project's file gives", async (t) => {
  const { env, cwd, id, token } = await somebody("npm/publish", "github/deploy");
  const inFolder = (...args: string[]) => typeInto(["run", ...args, ...started], env, "nothing", "", cwd);
  const project = (value: object) => writeFileSync(join(cwd, ".keyrow.json"), JSON.stringify(value));
  project({ only: ["npm/*"], map: { GH_TOKEN: "github/deploy" } });
  t.is((await inFolder()).shown, "note: .keyrow.json gives GH_TOKEN, NPM_PUBLISH\r\nit started\r\n");
  t.is((await inFolder("--only", "npm/*")).shown, "it started\r\n");
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  await client({ url: server.url, token }).set({ credential: "npm/publish", value: "v" }, { workspace });
  project({ only: ["npm/*"], workspace });
  const whose = `the workspace ${workspace}`;
  t.is((await inFolder()).shown, `note: .keyrow.json gives NPM_PUBLISH of ${whose}\r\nit started\r\n`);
  t.is((await inFolder("--only", "npm/*")).shown, `note: .keyrow.json gives ${whose}\r\nit started\r\n`);
  t.is((await inFolder("--only", "npm/*", "--no-workspace")).shown, "it started\r\n");
});

test("a credential without a letter or digit becomes a variable by --map alone, and none is called _", async (t) => {
  const { as } = await somebody("é/ü", "e/ü");
  for (const command of [
    ["run", "--only", "*/*", ...started],
    ["export", "--only", "é/*"],
  ]) {
    t.deepEqual(await as(...command), {
      stdout: "",
      stderr:
        "error: é/ü has no letter or digit from which a variable could have a name\nhint: name it: --map NAME=é/ü; else choose the others by their names\n",
      exitCode: 2,
    });
  }
  t.is((await as("export", "--map", "E=é/ü")).stdout, "E='v:é/ü'\n");
  t.is((await as("export", "--only", "e/*")).stdout, "E_='v:e/ü'\n");
  t.like(await as("export", "--map", "_=é/ü"), { stdout: "", exitCode: 2 });
  t.like(await as("export", "--map", "UID=é/ü", "--format", "shell"), {
    stdout: "",
    stderr:
      "error: UID can't be written for the shell: a shell keeps it for itself\nhint: give it another name with --map, or use --format json\n",
    exitCode: 1,
  });
});

test("run --json tells an error as JSON, and leaves the command's own arguments to it", async (t) => {
  const { as } = await somebody("p/n");
  const told = async (...args: string[]) => {
    const { stdout, stderr, exitCode } = await as("run", ...args);
    t.is(stdout, "");
    return [JSON.parse(stderr).error, exitCode];
  };
  t.deepEqual(await told("--json", "--map", "A=p/none", ...started), [
    {
      code: "NOT_FOUND",
      message: "There is no such credential, or it is not visible to you: p/none.",
      hint: "See which there are: keyrow list.",
    },
    3,
  ]);
  t.deepEqual(await told("--json", "--only", "p/*", "--", "./no-such-command"), [
    {
      code: "USAGE",
      message: 'The command "./no-such-command" can\'t be run (ENOENT).',
      hint: "Look at its name and at PATH.",
    },
    127,
  ]);
  t.like((await told("--only", "p", "--json", ...started))[0], { code: "USAGE" });
  t.deepEqual(await as("run", "--json", "--only", "p/*", ...started), {
    stdout: "it started\n",
    stderr: "",
    exitCode: 0,
  });
  const { stderr } = await as("run", "--only", "none/*", "--", "echo", "--json");
  t.regex(stderr, /^error: there is no such credential/);
});

test("a project's file that is none, or has no end, is refused at once", async (t) => {
  const { as, cwd } = await somebody("p/n");
  const file = join(cwd, ".keyrow.json");
  for (const [make, what] of [
    [() => symlinkSync("/dev/zero", file), "is not a file"],
    [() => execFileSync("mkfifo", [file]), "is not a file"],
    [() => mkdirSync(file), "is not a file"],
    [() => writeFileSync(file, " ".repeat(300_000)), "is too large"],
  ] as const) {
    make();
    const { stderr, exitCode } = await as("run", ...show);
    t.true(stderr.startsWith(`error: .keyrow.json ${what}\nhint: its form: `), stderr);
    t.is(exitCode, 2);
    rmSync(file, { recursive: true });
  }
});

test("the command starts only where every credential is there and has a variable of its own", async (t) => {
  const { as } = await somebody("github/deploy", "git/hub-deploy", "git-hub/deploy", "a/b-c", "a/b.c");
  const ends: Array<[args: string[], exitCode: number, stderr: RegExp]> = [
    [["--only", "nothing/*", "--map", "A=no/such", "--only", "github/*"], 3, /nothing\/\*, no\/such/],
    [["--only", "a/*"], 2, /would both be A_B_C\nhint: name one of them: --map/],
    [["--map", "GIT_HUB_DEPLOY=github/deploy", "--only", "git-hub/*"], 2, /would both be GIT_HUB_DEPLOY/],
    [["--map", "1A=a/b"], 2, /--map can't be read/],
    [["--map", "A=a/b", "--map", "A=a/c"], 2, /the variable A is mapped twice/],
    [["--only", "hunter2"], 2, /not the name of a credential/],
    [[], 2, /no credentials are chosen/],
  ];
  for (const [args, exitCode, stderr] of ends) {
    const ended = await as("run", ...args, "--", "echo", "it started");
    t.regex(ended.stderr, stderr);
    t.deepEqual([ended.stdout, ended.exitCode], ["", exitCode], args.join(" "));
  }
});

test("a credential that nobody named becomes no variable that tells programs what to do, in run or export", async (t) => {
  for (const [credential, variable] of [
    ["node/options", "NODE_OPTIONS"],
    ["npm/config.node.options", "NPM_CONFIG_NODE_OPTIONS"],
    ["git/ssh.command", "GIT_SSH_COMMAND"],
    ["github/path", "GITHUB_PATH"],
    ["ld/preload", "LD_PRELOAD"],
  ] as const) {
    const { as } = await somebody(credential, `${credential.split("/")[0]}/token`);
    for (const only of ["*/*", `${credential.split("/")[0]}/*`, credential]) {
      const refused = await as("run", "--only", only, ...started);
      t.is(refused.stdout, "");
      t.is(
        refused.stderr,
        `error: ${credential} would be ${variable}, which tells programs what to do\nhint: see who made it. Where it is meant, say so: --map ${variable}=${credential}; else choose the others by their names.\n`,
      );
      t.is(refused.exitCode, 2);
    }
    t.like(await as("export", "--only", "*/*"), { stdout: "", exitCode: 2 });
  }
  const { as } = await somebody("npm/config.registry", "npm/token");
  const said = await as("run", "--only", "npm/*", "--map", "NPM_CONFIG_REGISTRY=npm/config.registry", ...show);
  t.deepEqual(said.stdout.match(/^N\w+/gm), ["NPM_CONFIG_REGISTRY", "NPM_TOKEN"]);
});

test("a project's file sets no variable that tells programs what to do: the command line alone may", async (t) => {
  const { as, cwd } = await somebody("node/options");
  for (const variable of ["NODE_OPTIONS", "PATH", "https_proxy", "KEYROW_TOKEN"]) {
    writeFileSync(join(cwd, ".keyrow.json"), JSON.stringify({ map: { [variable]: "node/options" } }));
    const { stdout, stderr, exitCode } = await as("run", ...started);
    t.regex(
      stderr,
      new RegExp(`^error: .keyrow.json would set ${variable}, .*\nhint: the command line alone may: --map`),
    );
    t.deepEqual([stdout, exitCode], ["", 2]);
  }
  writeFileSync(join(cwd, ".keyrow.json"), JSON.stringify({ map: { NODE_AUTH_TOKEN: "node/options" } }));
  t.like(await as("run", ...started), { stdout: "it started\n" });
});

test("run replaces a variable that is set already where it is named alone; export asks nothing of its surroundings", async (t) => {
  const { env, as } = await somebody("github/deploy");
  const set = (value: string, ...args: string[]) => keyrow(args, { env: { ...env, GITHUB_DEPLOY: value } });
  const refused = await set("another", "run", "--only", "github/*", ...started);
  t.regex(
    refused.stderr,
    /^error: github\/deploy would be GITHUB_DEPLOY, which is set already\nhint: .*--map GITHUB_DEPLOY=/,
  );
  t.deepEqual([refused.stdout, refused.exitCode], ["", 2]);
  const print = ["--", "sh", "-c", "echo $GITHUB_DEPLOY"];
  t.like(await set("another", "run", "--map", "GITHUB_DEPLOY=github/deploy", ...print), {
    stdout: "v:github/deploy\n",
  });
  for (const same of ["", "v:github/deploy"]) {
    t.like(await set(same, "run", "--only", "github/*", ...print), { stdout: "v:github/deploy\n" });
  }
  const exported = await as("export", "--only", "github/*");
  t.is((await set("another", "export", "--only", "github/*")).stdout, exported.stdout);
});

test("the command's exit code and what ended it are those of keyrow run", async (t) => {
  const { env, cwd } = await somebody("p/n");
  // A directory of the machine's PATH that may not be entered would hide that a command is nowhere.
  const PATH = "/usr/bin:/bin";
  const code = async (...command: string[]) =>
    (await keyrow(["run", "--only", "p/*", "--", ...command], { env: { ...env, PATH }, cwd })).exitCode;
  t.is(await code("sh", "-c", "exit 42"), 42);
  t.is(await code("sh", "-c", "kill -TERM $$"), 143);
  t.is(await code("no-such-command"), 127);
  t.is(await code("/dev/null"), 126);
});

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const) {
  test(`${signal} goes to the command, which decides`, async (t) => {
    const { env } = await somebody("p/n");
    const script = `trap 'echo got; exit 7' ${signal.slice(3)}; echo ready; while :; do sleep 0.05; done`;
    const child = spawn(process.execPath, [cli, "run", "--only", "p/*", "--", "sh", "-c", script], {
      env: { ...surroundings, ...env },
      stdio: ["ignore", "pipe", "ignore"],
    });
    t.teardown(() => child.kill("SIGKILL"));
    let out = "";
    for await (const chunk of child.stdout) {
      out += chunk;
      if (out === "ready\n") child.kill(signal);
    }
    t.is(out, "ready\ngot\n");
    t.is(child.exitCode ?? (await once(child, "exit"))[0], 7);
  });
}
