import { spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava, { type TestFn } from "ava";
import { execa } from "execa";
import { type Environment, readConfig } from "../src/config.ts";
import { parseDuration } from "../src/duration.ts";
import { secretKey } from "../src/jwt-key.ts";
import { makeToken } from "../src/make-token.ts";
import { embeddedSecrets } from "../src/secrets.ts";
import { createVerifier, issuerOf } from "../src/token.ts";
import { cli, surroundings } from "./helpers/command.ts";

const test = ava as TestFn<{ directory: string }>;
const secret = "an-example-of-a-secret-of-48-bytes-for-tests-only";
const ana = "0b9f5a3e-52d4-4c7e-9d3a-6f1c2b7a8e90";
const publicPem = generateKeyPairSync("rsa", { modulusLength: 2048 })
  .publicKey.export({ type: "spki", format: "pem" })
  .toString();

test.beforeEach(async (t) => {
  t.context.directory = await mkdtemp(join(tmpdir(), "keyrow-cli-"));
});
test.afterEach.always((t) => rm(t.context.directory, { recursive: true, force: true }));

/** Runs the command as a process with this environment and no other; `node` are Node's own arguments. */
async function keyrow(args: string[], env: Environment = {}, node: string[] = []) {
  const options = { env: { ...surroundings, ...env }, extendEnv: false, reject: false, timeout: 60_000 } as const;
  const { stdout, stderr, exitCode } = await execa(process.execPath, [...node, cli, ...args], options);
  return { stdout, stderr, exitCode };
}

test("--version prints the package's version", async (t) => {
  const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
  t.deepEqual(await keyrow(["--version"]), { stdout: version, stderr: "", exitCode: 0 });
});

for (const args of [["help"], ["--help"], ["-h"]]) {
  test(`${args} shows the commands and examples on standard output`, async (t) => {
    const { stdout, stderr, exitCode } = await keyrow(args);
    t.regex(stdout, /^Usage: keyrow .*start .*token .*Examples:/s);
    t.deepEqual([stderr, exitCode], ["", 0]);
  });
}

for (const args of [
  ["help", "token"],
  ["token", "--help"],
]) {
  test(`${args.join(" ")} shows the command's options and examples`, async (t) => {
    const { stdout, stderr, exitCode } = await keyrow(args);
    t.regex(stdout, /^Usage: keyrow token .*--user <email or id>.*--expires.*Examples:/s);
    t.deepEqual([stderr, exitCode], ["", 0]);
  });
}

test("help of a command in a group is the group's and the command's name", async (t) => {
  const { stdout, exitCode } = await keyrow(["help", "token", "create"]);
  t.deepEqual([stdout, exitCode], [(await keyrow(["token", "create", "--help"])).stdout, 0]);
  t.like(await keyrow(["help", "token", "make"]), { stdout: "", exitCode: 2 });
});

test("help is as wide as it may be, but for examples, whose purpose stands below where they are long", async (t) => {
  for (const args of [["machine", "add"], ["run"], ["system", "set"], ["rewrap"]]) {
    const { stdout } = await keyrow([...args, "--help"]);
    const long = stdout.split("\n").filter((line) => line.length > 80 && !line.startsWith("  keyrow "));
    t.deepEqual(long, [], args.join(" "));
  }
  t.regex((await keyrow(["machine", "add", "--help"])).stdout, /'github\/\*'\n {6}jobs of one branch\n/);
});

test("help config shows every setting, its default and no colour", async (t) => {
  const { stdout, stderr, exitCode } = await keyrow(["help", "config"]);
  t.regex(stdout, /^PORT {2}\(5678\)$/m);
  t.regex(stdout, /^JWT_PROVISION {2}\(on; off where not embedded\)$/m);
  t.true(stdout.split("\n").every((line) => line.length <= 80));
  t.false(stdout.includes("\u001b"));
  t.deepEqual([stderr, exitCode], ["", 0]);
});

test("help reads no configuration, and works where it is damaged", async (t) => {
  t.is((await keyrow(["help", "config"], { PORT: "x", KEYROW_X: "x" })).exitCode, 0);
});

test("help loads nothing but the parser of arguments", async (t) => {
  // Node names every file that it loads where it is asked to trace them.
  const { stderr, exitCode } = await keyrow(["help"], { NODE_DEBUG: "esm,module" });
  t.is(exitCode, 0);
  t.regex(stderr, /commander/);
  t.notRegex(stderr, /zod|jsonwebtoken|postgraphile|node_modules\/pg\b|pino/);
});

const misuses: Array<[title: string, args: string[], expected: RegExp]> = [
  ["no command", [], /^Usage: keyrow /],
  ["an unknown command", ["strat"], /^error: unknown command 'strat'\nhint: did you mean start\?$/i],
  ["an unknown option", ["--versoin"], /^error: unknown option '--versoin'\nhint: did you mean --version\?$/],
  ["an unknown option of a command", ["start", "--port", "1"], /^error: unknown option '--port'\nhint: /],
  [
    "an argument that is missing",
    ["machine", "rm"],
    /^error: missing required argument 'name'\nhint: see `keyrow machine rm --help`$/,
  ],
  ["no user", ["token"], /^error: no user is named\nhint: give --user/],
  ["a setup that is to run", ["setup"], /^error: `keyrow setup` runs no SQL itself.*\nhint: `keyrow setup --print`/],
  ["a user without a value", ["token", "--user"], /^error: option '--user <email or id>' argument missing\nhint: /],
  [
    "help on nothing there is",
    ["help", "nothing"],
    /^error: there is no help on this\nhint: ask for login, .*start, serve, worker, migrate, setup, adopt, token, keys, rewrap, system, identity, machine, handover, db or/,
  ],
  ["a year", ["token", "--user", ana, "--expires", "1y"], /^error: the value of --expires is not a duration\nhint: /],
];
for (const [title, args, expected] of misuses) {
  test(`${title} is misuse: exit code 2 and nothing on standard output`, async (t) => {
    const { stdout, stderr, exitCode } = await keyrow(args);
    t.regex(stderr, expected);
    t.deepEqual([stdout, exitCode], ["", 2]);
  });
}

test("a mistyped word adds no lines to the error about it", async (t) => {
  const { stderr } = await keyrow(["strat\nhint: a\u202eb"]);
  t.regex(stderr, /^error: unknown command 'strat\?hint: a\?b'\nhint: see `keyrow --help`$/);
});

for (const args of [
  ["token", "--user", ana, "hunter2"],
  ["token", "--user", ana, "--secret=hunter2"],
  ["token", "--user", ana, "--expires", "hunter2"],
  ["help", "hunter2"],
  ["system", "set", "smtp/relay", "hunter2"],
  ["system", "set", "smtp/relay", "-phunter2"],
  ["system", "set", "smtp/relay", "-----BEGIN hunter2-----"],
  ["system", "set", "hunter2"],
  ["system", "set", "smtp/relay", "--expires", "hunter2"],
]) {
  test(`what was typed in the wrong place is not repeated: ${args.slice(-1)} after ${args.slice(0, -1)}`, async (t) => {
    const { stdout, stderr, exitCode } = await keyrow(args);
    t.notRegex(stdout + stderr, /hunter2/);
    t.is(exitCode, 2);
  });
}

for (const args of [["start"], ["token", "--user", ana]]) {
  test(`${args[0]} names every bad setting and the remedy, and no value`, async (t) => {
    const env = { PORT: "hunter2", JWT_SECRET: "hunter2", KEYROW_PROT: "hunter2" };
    const { stdout, stderr, exitCode } = await keyrow(args, env);
    t.deepEqual(stderr.split("\n"), [
      "error: PORT: it is not a whole number; give a number from 0 to 65535",
      "error: JWT_SECRET: it is shorter than 32 bytes; give 32 bytes or more, as `openssl rand -base64 48` makes them",
      "error: KEYROW_PROT: there is no such setting; did you mean PORT?",
      "hint: `keyrow help config` lists every setting",
    ]);
    t.deepEqual([stdout, exitCode], ["", 1]);
  });
}

test("token with a public key alone says that there is nothing to sign with", async (t) => {
  const { stdout, stderr, exitCode } = await keyrow(["token", "--user", ana], { JWT_PUBLIC_KEY: publicPem });
  t.regex(stderr, /^error: there is no secret to sign with: JWT_PUBLIC_KEY can only verify\nhint: /);
  t.deepEqual([stdout, exitCode], ["", 1]);
});

test("token in a directory without secrets says so, and makes none", async (t) => {
  const directory = join(t.context.directory, "none");
  const { stdout, stderr, exitCode } = await keyrow(["token", "--user", ana], { KEYROW_DATA_DIR: directory });
  t.regex(
    stderr,
    /^error: there is no secret to sign with: the data directory .* has none yet\nhint: run `keyrow start`/,
  );
  t.deepEqual([stdout, exitCode], ["", 1]);
  await t.throwsAsync(readFile(directory), { code: "ENOENT" });
});

test("token signs with the data directory's secret, as long as was asked for", async (t) => {
  const { directory } = t.context;
  const config = readConfig({ KEYROW_DATA_DIR: directory });
  const { jwtSecret } = await embeddedSecrets(directory);
  const made = await makeToken(config, { user: "ana@example.com", expires: "15m" }, async (_, user) =>
    user === "ana@example.com" ? { id: ana } : undefined,
  );
  const { jwt: token } = made;
  const claims = await createVerifier([issuerOf({ ...config.jwt, key: secretKey(jwtSecret) })])(`Bearer ${token}`);
  t.is(claims.subject, ana);
  t.true(Math.abs(claims.claims.expiresAt - Date.now() / 1000 - 15 * 60) < 60);
  t.deepEqual({ ...made, jwt: "" }, { userId: ana, jwt: "", expiresAt: new Date(claims.claims.expiresAt * 1000) });
  // The same text as JWT_SECRET is the same key.
  const given = readConfig({ JWT_SECRET: jwtSecret });
  t.is((await createVerifier([issuerOf({ ...given.jwt, key: secretKey(jwtSecret) })])(`Bearer ${token}`)).subject, ana);
});

test("token is for users that exist alone", async (t) => {
  const config = readConfig({ JWT_SECRET: secret });
  await t.throwsAsync(
    makeToken(config, { user: ana, expires: "1h" }, async () => undefined),
    { message: "No user has this id or e-mail address." },
  );
});

for (const [text, seconds] of Object.entries({ "1s": 1, "15m": 900, "1h": 3600, "7d": 604_800, "365d": 31_536_000 })) {
  test(`${text} is ${seconds} seconds`, (t) => t.is(parseDuration(text), seconds));
}
for (const text of ["", "1", "h", "0h", "-1h", "1.5h", "1H", "1 h", "1w", "366d", "99999999d", "1h\n", "1h30m"]) {
  test(`${JSON.stringify(text)} is no duration`, (t) => {
    t.throws(() => parseDuration(text), { message: /--expires is not a duration/ });
  });
}

/** A stand-in for a fault of ours: a module, loaded before the command, that fails a little later. */
async function fault(directory: string, statement: string): Promise<string[]> {
  const file = join(directory, "fault.mjs");
  await writeFile(file, `process.nextTick(() => { ${statement} });`);
  return ["--import", file];
}

const faults: Array<[title: string, statement: string, expected: RegExp]> = [
  ["an error", 'throw new TypeError("hunter2\\n    at hunter2 (/hunter2.js:1:1)")', /^debug: TypeError\n/],
  ["a rejected promise", 'Promise.reject(new RangeError("hunter2"))', /^debug: RangeError\n/],
  ["an error with a code", 'throw Object.assign(new Error("hunter2"), { code: "42P01" })', /^debug: Error 42P01\n/],
  ["an error with an odd code", 'throw Object.assign(new Error("hunter2"), { code: "hunter2 x" })', /^debug: Error\n/],
  ["a changed message", 'const e = new Error("hunter2"); e.message = "x"; throw e', /^debug: Error\n/],
  ["a text", 'throw "hunter2"', /^debug: string$/],
  ["nothing", "throw undefined", /^debug: undefined$/],
];
for (const [title, statement, expected] of faults) {
  test(`${title} that nobody foresaw is told without its message or a stack`, async (t) => {
    const { stderr, exitCode } = await keyrow(
      ["token", "--user", ana],
      {},
      await fault(t.context.directory, statement),
    );
    t.is(stderr, "error: something went wrong here (INTERNAL)\nhint: run it again with LOG_LEVEL=debug to see where");
    t.is(exitCode, 1);
  });

  test(`${title} that nobody foresaw says at LOG_LEVEL=debug where it was, and still no message`, async (t) => {
    const { stderr, exitCode } = await keyrow(
      ["token", "--user", ana],
      { LOG_LEVEL: "debug" },
      await fault(t.context.directory, statement),
    );
    const [first, ...rest] = stderr.split("\n");
    t.is(first, "error: something went wrong here (INTERNAL)");
    t.regex(rest.join("\n"), expected);
    t.notRegex(stderr, /hunter2/);
    t.is(exitCode, 1);
  });
}

test("a reader that leaves early is no error", async (t) => {
  const child = spawn(process.execPath, [cli, "help", "config"], { env: {}, stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.destroy();
  const [exitCode] = await once(child, "exit");
  t.is(exitCode, 0);
});

(existsSync("/dev/full") ? test : test.skip)(
  "output that a full disk does not take is an error that says so",
  async (t) => {
    for (const [json, told] of [
      [
        "",
        "error: standard output can't be written (ENOSPC)\nhint: what is there is not whole. Look at the space on the disk where it goes.",
      ],
      [
        " --json",
        `{"error":{"code":"INTERNAL","message":"Standard output can't be written (ENOSPC).","hint":"What is there is not whole. Look at the space on the disk where it goes."}}`,
      ],
    ] as const) {
      const { stderr, exitCode } = await execa(
        "sh",
        ["-c", `"$0" "$1" logout${json} > /dev/full`, process.execPath, cli],
        {
          env: { ...surroundings, XDG_CONFIG_HOME: t.context.directory },
          extendEnv: false,
          reject: false,
        },
      );
      t.is(stderr, told);
      t.is(exitCode, 1);
    }
  },
);
