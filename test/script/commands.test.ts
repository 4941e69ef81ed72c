import { randomUUID } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { startSite } from "../helpers/browser.ts";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { keyrow } from "../helpers/command.ts";
import { find } from "../helpers/grep.ts";
import { asAdmin, makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";
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

/** Somebody new, with the environment that their job has. */
async function somebody() {
  const id = await makeUser(server.database, "Ana");
  const env = { KEYROW_URL: server.url, KEYROW_TOKEN: server.token(id) };
  const as = (args: string[], input: string | Uint8Array = "", more: Record<string, string> = {}) =>
    keyrow(args, { env: { ...env, ...more }, input });
  return { id, env, as };
}

const file = (name: string, text: string | Uint8Array): string => {
  const path = join(directory, `${randomUUID()}-${name}`);
  writeFileSync(path, text);
  return path;
};

test("whoami, set, get, describe, list, rotate, revoke and rm go through the life of a credential", async (t) => {
  const { id, as } = await somebody();
  t.like(await as(["whoami"]), {
    stdout: `server    ${server.url}\nuser      ${id}\nname      Ana\ntoken of  KEYROW_TOKEN\n`,
    exitCode: 0,
  });
  t.like(JSON.parse((await as(["whoami", "--json"])).stdout), { server: server.url, id, from: "environment" });
  const made = await as(["set", "github/deploy", "--type", "api_key", "--expires", "2999-01-01"], "one\n");
  t.deepEqual(made, { stdout: "created  github/deploy\n", stderr: "", exitCode: 0 });
  t.deepEqual(await as(["get", "github/deploy"]), { stdout: "one", stderr: "", exitCode: 0 });
  t.like(await as(["set", "github/deploy"], "two"), { stdout: "renewed  github/deploy\n" });
  t.deepEqual(JSON.parse((await as(["get", "github/deploy", "--json"])).stdout), {
    credential: "github/deploy",
    value: "two",
  });
  const { stdout: described } = await as(["describe", "github/deploy"]);
  t.regex(described, /^credential {3}github\/deploy$/m);
  t.regex(described, /^expires {6}2999-01-01T00:00Z$/m);
  const credential = JSON.parse((await as(["describe", "github/deploy", "--json"])).stdout);
  t.like(credential, { type: "API_KEY", scope: "USER", isActive: true });
  t.regex((await as(["list"])).stdout, /^CREDENTIAL +TYPE .* WORKSPACE *\ngithub\/deploy +API_KEY .* - *\n$/);
  t.deepEqual(JSON.parse((await as(["list", "--json"])).stdout), [
    JSON.parse((await as(["describe", credential.id, "--json"])).stdout),
  ]);
  t.like(await as(["rotate", "github/deploy"], "three"), { stdout: "rotated  github/deploy\n" });
  t.is((await as(["get", credential.id])).stdout, "three");
  t.like(await as(["revoke", "github/deploy"]), { stdout: "revoked  github/deploy\n" });
  t.like(await as(["get", "github/deploy"]), { stdout: "", exitCode: 1 });
  t.like(await as(["rm", "github/deploy"]), { stdout: "deleted  github/deploy\n", exitCode: 0 });
  t.deepEqual(await as(["list"]), { stdout: "", stderr: "there are no credentials\n", exitCode: 0 });
});

test("a date beyond those that JavaScript has keeps nobody from the list", async (t) => {
  const { id, as } = await somebody();
  await as(["set", "github/far"], "v");
  await asAdmin(server.database, "update public.user_credentials set expires_at = '290000-01-01' where user_id = $1", [
    id,
  ]);
  const listed = await as(["list"]);
  t.is(listed.exitCode, 0);
  t.regex(listed.stdout, /^github\/far .* out of range /m);
  t.regex((await as(["describe", "github/far"])).stdout, /^expires {6}out of range$/m);
});

test("what is changed is told as JSON as well", async (t) => {
  const { as } = await somebody();
  const told = async (args: string[], input?: string) => JSON.parse((await as([...args, "--json"], input)).stdout);
  const { id, ...made } = await told(["set", "github/deploy"], "one");
  t.deepEqual(made, { provider: "github", name: "deploy", created: true });
  const same = { id, provider: "github", name: "deploy" };
  t.deepEqual(await told(["set", "github/deploy"], "two"), { ...same, renewed: true });
  t.deepEqual(await told(["rotate", "github/deploy"], "three"), { ...same, rotated: true });
  t.deepEqual(await told(["revoke", "github/deploy"]), { ...same, revoked: true });
  t.deepEqual(await told(["rm", "github/deploy"]), { ...same, deleted: true });
});

test("a value is kept byte by byte, less one newline at its end where it is not wanted exactly", async (t) => {
  const { as } = await somebody();
  const value = "-----BEGIN x-----\r\n\té🔑 $HOME \"'`\\\n-----END-----\n\n";
  for (const [args, expected] of [
    [[], value.slice(0, -1)],
    [["--exact"], value],
    [["--file", file("value", value)], value.slice(0, -1)],
    [["--file", file("value", value), "--exact"], value],
  ] as const) {
    t.is((await as(["set", "tls/key", ...args], value)).exitCode, 0);
    t.is((await as(["get", "tls/key"])).stdout, expected, args.join(" "));
  }
});

onTerminal("on a terminal set asks for the value, hidden, and get ends with a newline", async (t) => {
  const { env, as } = await somebody();
  const set = await typeInto(["set", "p/n"], env, "Value of p/n", "typed-value\r");
  t.is(set.exitCode, 0, set.shown);
  t.notRegex(set.shown, /typed-value/);
  t.is((await as(["get", "p/n"])).stdout, "typed-value");
  const got = await typeInto(["get", "p/n"], env, "nothing", "");
  t.regex(got.shown, /^typed-value\r\n/);
  const broken = await typeInto(["set", "p/n"], env, "Value of p/n", "\u0003");
  t.is(broken.exitCode, 130);
  const kept = await typeInto(["rm", "p/n"], env, "[y/N]", "n\r");
  t.is(kept.exitCode, 1);
  t.is((await as(["get", "p/n"])).exitCode, 0);
});

onTerminal("on a terminal get and export print no value that would steer it", async (t) => {
  const { env, as } = await somebody();
  await as(["set", "p/n"], "a\u001b]0;pwned\u0007b");
  for (const args of [
    ["get", "p/n"],
    ["export", "--only", "p/*"],
  ]) {
    const { shown, exitCode } = await typeInto(args, env, "nothing", "");
    t.regex(shown, /^error: the value holds characters that would steer your terminal\r\nhint: pipe it/);
    t.is(exitCode, 1);
    t.true((await as(args)).stdout.includes("\u001b"), "elsewhere it is as it is");
  }
  t.is((await typeInto(["get", "p/n", "--json"], env, "nothing", "")).exitCode, 0);
  await as(["set", "p/n", "--exact"], "a\tb\r\nc\n");
  t.is((await typeInto(["get", "p/n"], env, "nothing", "")).exitCode, 0);
});

test("a workspace's credentials are reached by its id and by its name", async (t) => {
  const { id, as } = await somebody();
  const workspace = await makeWorkspace(server.database, { [id]: "ADMIN" });
  await asAdmin(server.database, "update public.workspaces set name = 'acme' where id = $1", [workspace]);
  await as(["set", "p/n"], "mine");
  await as(["set", "p/n", "--workspace", "acme"], "ours");
  t.is((await as(["get", "p/n"])).stdout, "mine");
  t.is((await as(["get", "p/n", "--workspace", workspace])).stdout, "ours");
  t.is(JSON.parse((await as(["list", "--workspace", "acme", "--json"])).stdout).length, 1);
  t.like(await as(["get", "p/n", "--workspace", "nowhere"]), { stdout: "", exitCode: 3 });
});

test("what may be seen and not changed ends with 4, and what is not there with 3", async (t) => {
  const ana = await somebody();
  const bo = await somebody();
  const workspace = await makeWorkspace(server.database, { [ana.id]: "ADMIN" });
  await ana.as(["set", "seen/n", "--workspace", workspace], "v");
  await server.database.pool("postgres").query(`create policy t_viewer on public.user_credentials for select
    to keyrow_user using (provider = 'seen' and (select public.current_user_id()) = '${bo.id}')`);
  for (const command of ["rotate", "revoke", "rm"]) {
    const refused = await bo.as([command, "seen/n", "--workspace", workspace], "x");
    t.is(refused.stderr, "error: seen/n: a policy lets you see this credential, and not change it\n");
    t.deepEqual([refused.stdout, refused.exitCode], ["", 4]);
    t.is((await bo.as([command, "hidden/n", "--workspace", workspace], "x")).exitCode, 3);
  }
  t.is((await ana.as(["get", "seen/n", "--workspace", workspace])).stdout, "v");
});

test("one request too many ends with 5, and one that is too large with 1", async (t) => {
  let answered = 429;
  const site = await startSite((_, response) => {
    const errors = [{ message: "Too many.", extensions: { code: "LIMIT_EXCEEDED" } }];
    response.writeHead(answered, { "content-type": "application/json", "retry-after": "0" });
    response.end(JSON.stringify({ errors }));
  });
  t.teardown(() => site.stop());
  const list = () => keyrow(["list"], { env: { KEYROW_URL: site.origin, KEYROW_TOKEN: "t" } });
  t.deepEqual(await list(), { stdout: "", stderr: "error: too many\n", exitCode: 5 });
  answered = 413;
  t.deepEqual(await list(), { stdout: "", stderr: "error: too many\n", exitCode: 1 });
});

const ends: Array<[title: string, args: string[], env: Record<string, string>, exitCode: number, stderr: RegExp]> = [
  ["a credential that is not there", ["get", "p/none"], {}, 3, /^error: p\/none: there is no such credential.*\n$/],
  [
    "a token that is not taken",
    ["list"],
    { KEYROW_TOKEN: "nonsense" },
    4,
    /^error: a valid token is required\nhint: run `keyrow login` again, or give KEYROW_TOKEN one that is\n$/,
  ],
  ["no token", ["list"], { KEYROW_TOKEN: "" }, 4, /^error: there is no token .*\nhint: set KEYROW_TOKEN/],
  [
    "no server",
    ["list"],
    { KEYROW_URL: "", KEYROW_TOKEN: "" },
    2,
    /^error: no server is named\nhint: run `keyrow login`/,
  ],
  [
    "a server that is away",
    ["list"],
    { KEYROW_URL: "http://127.0.0.1:1" },
    5,
    /^error: the server can't be reached.*\nhint: /,
  ],
  ["a name without a slash", ["get", "hunter2"], {}, 2, /^error: that is not the name of a credential\nhint: /],
  ["plain http to another machine", ["list"], { KEYROW_URL: "http://keyrow.example.com" }, 1, /in the clear\nhint: /],
  ["a type that there is not", ["set", "p/n", "--type", "hunter2"], {}, 2, /^error: there is no such type\nhint: /],
  ["a value as an argument", ["set", "p/n", "hunter2"], {}, 2, /^error: too many arguments.*\n/],
  [
    "a file that is not there",
    ["set", "p/n", "--file", "/hunter2"],
    {},
    2,
    /^error: the file can't be read \(ENOENT\)\n/,
  ],
  ["a file without a value", ["set", "p/n", "--file", "/dev/null"], {}, 1, /^error: the file is empty\n$/],
  ["a directory", ["set", "p/n", "--file", "/tmp"], {}, 2, /^error: the file can't be read \(EISDIR\)\nhint: /],
  [
    "a pattern without a slash",
    ["export", "--only", "hunter2"],
    {},
    2,
    /^error: that is not the name of a credential\n/,
  ],
  ["no authority", ["list", "--cacert", "/dev/null"], {}, 2, /^error: the file of --cacert can't be read/],
];
for (const [title, args, env, exitCode, stderr] of ends) {
  test(`${title} ends with ${exitCode}, nothing on standard output and no value repeated`, async (t) => {
    const { as } = await somebody();
    const ended = await as(args, "", env);
    t.regex(ended.stderr, stderr);
    t.notRegex(ended.stderr, /hunter2/);
    t.deepEqual([ended.stdout, ended.exitCode], ["", exitCode]);
  });
}

test("where --json is given an error is JSON, whatever it is, in one line that steers no terminal", async (t) => {
  const { as } = await somebody();
  for (const [args, env, exitCode, error] of [
    [["get", "p/none", "--json"], {}, 3, { code: "NOT_FOUND" }],
    [
      ["list", "--json"],
      { KEYROW_TOKEN: "x" },
      4,
      {
        code: "UNAUTHENTICATED",
        message: "A valid token is required.",
        hint: "Run `keyrow login` again, or give KEYROW_TOKEN one that is.",
      },
    ],
    [["list", "--json"], { KEYROW_URL: "http://127.0.0.1:1" }, 5, { code: "SERVER_UNREACHABLE" }],
    [["get", "p\u202e", "--json"], {}, 2, { code: "USAGE" }],
    [["list", "--jsno", "--json"], {}, 2, { code: "USAGE", hint: "Did you mean --json?" }],
    [["machine", "list", "--json"], { PORT: "x" }, 1, { code: "CONFIG_INVALID" }],
  ] as const) {
    const ended = await as([...args], "", env);
    t.regex(ended.stderr, /^[\x20-\x7e]+\n$/);
    t.like(JSON.parse(ended.stderr).error, error);
    t.deepEqual([ended.stdout, ended.exitCode], ["", exitCode]);
  }
});

test("get loads no dependency of the server, and of its own packages the parser of arguments alone", async (t) => {
  const { as } = await somebody();
  await as(["set", "p/n"], "v");
  const { stdout, stderr, exitCode } = await as(["get", "p/n"], "", { NODE_DEBUG: "esm,module" });
  t.deepEqual([stdout, exitCode], ["v", 0]);
  // The Node that runs it is a package, too.
  const loaded = stderr.replaceAll(join(process.execPath, "../.."), "");
  const packages = new Set([...loaded.matchAll(/node_modules\/((?:@[\w.-]+\/)?[\w.-]+)/g)].map(([, name]) => name));
  t.deepEqual([...packages], ["commander"]);
  t.notRegex(stderr, /\/src\/(server|config|settings|database|cipher|token)\b/);
});

// What Node prints of itself, but for what is refused.
const sections =
  "http,http2,https,net,tls,fs,timer,module,esm,cluster,worker,undici,fetch,websocket,test_runner,crypto";

test("no value and no token is in a debug log, an argument or an error", async (t) => {
  const { as, env } = await somebody();
  const value = `canary-${randomUUID()}`;
  const talkative = { NODE_DEBUG: sections, LOG_LEVEL: "trace", XDG_CONFIG_HOME: directory };
  for (const [args, input] of [
    [["set", "p/n"], value],
    [["rotate", "p/n"], value],
    [["import", "-", "--provider", "q"], `A=${value}`],
    [["login", server.url], env.KEYROW_TOKEN],
    [["list"], ""],
    [["get", "p/n"], ""],
    [["export", "--only", "p/*"], ""],
    [["run", "--only", "p/*", "--", "true"], ""],
  ] as const) {
    const { stderr, exitCode } = await as([...args], input, talkative);
    t.is(exitCode, 0, stderr);
    t.deepEqual(find([{ name: args[0], bytes: Buffer.from(stderr) }], value), []);
    t.deepEqual(find([{ name: args[0], bytes: Buffer.from(stderr) }], env.KEYROW_TOKEN), []);
    const hex = Buffer.from(value)
      .toString("hex")
      .replace(/..(?=.)/g, "$& ");
    t.false(stderr.includes(hex), "as Node prints a buffer");
  }
});

test("where Node itself would print values, nothing is read, asked for or started", async (t) => {
  const { as } = await somebody();
  const ends: Array<[args: string[], NODE_DEBUG: string]> = [
    ...["stream", "net,STREAM", "*"].map((section): [string[], string] => [["set", "p/n"], section]),
    ...[
      ["login", server.url],
      ["import", "-"],
      ["get", "p/n"],
      ["token", "list"],
      ["system", "set", "p/n"],
    ].map((args): [string[], string] => [args, "stream"]),
    [["run", "--only", "p/*", "--", "echo", "it started"], "child_process"],
  ];
  for (const [args, NODE_DEBUG] of ends) {
    const { stdout, stderr, exitCode } = await as(args, "canary-value", { NODE_DEBUG });
    // Of all that Node prints under `*`, a pipe loses the end.
    if (NODE_DEBUG !== "*")
      t.regex(stderr, /^error: NODE_DEBUG would print values \((stream|child_process)\)$/m, args.join(" "));
    t.false(stderr.includes("canary-value") || stderr.includes("63 61 6e 61 72 79"));
    t.deepEqual([stdout, exitCode], ["", 2]);
  }
  t.deepEqual(await as(["list"]), { stdout: "", stderr: "there are no credentials\n", exitCode: 0 });
});

test("every command for scripts has a help with an example and its exit codes", async (t) => {
  const commands = "login logout whoami list get set rotate revoke rm describe run import export".split(" ");
  for (const command of commands) {
    const { stdout, exitCode } = await keyrow([command, "--help"]);
    t.is(exitCode, 0);
    t.regex(stdout, new RegExp(`Examples:\n.*keyrow ${command}`), command);
    t.regex(stdout, /Exit codes: 0 done/, command);
  }
});
