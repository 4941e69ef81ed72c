import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import test from "ava";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { keyrow } from "../helpers/command.ts";
import { makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { onTerminal, typeInto } from "../helpers/terminal.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

/** Somebody with a home of their own. */
async function somebody(t: { teardown(end: () => void): void }) {
  const home = makeTemporaryDirectory();
  t.teardown(() => rmSync(home, { recursive: true, force: true }));
  const token = server.token(await makeUser(server.database, "Ana"));
  const env = { XDG_CONFIG_HOME: join(home, "config") };
  return { env, token, kept: join(home, "config/keyrow/login.json"), home };
}

test("login and logout tell as JSON what they did", async (t) => {
  const { env, token, kept } = await somebody(t);
  const told = async (args: string[], input?: string) =>
    JSON.parse((await keyrow([...args, "--json"], { env, ...(input !== undefined && { input }) })).stdout);
  t.like(await told(["login", server.url], token), { server: server.url, name: "Ana", path: kept });
  t.deepEqual(await told(["logout"]), { forgotten: true });
  t.deepEqual(await told(["logout"]), { forgotten: false });
});

test("login keeps server and token for the user alone, and logout forgets them", async (t) => {
  const { env, token, kept } = await somebody(t);
  const { stdout, exitCode } = await keyrow(["login", server.url], { env, input: `${token}\n` });
  t.deepEqual([stdout, exitCode], ["logged in  Ana\n", 0]);
  t.is(statSync(kept).mode & 0o777, 0o600);
  t.is(statSync(join(kept, "..")).mode & 0o777, 0o700);
  t.deepEqual(readdirSync(join(kept, "..")), ["login.json"], "nothing half-written is left");
  t.like(await keyrow(["whoami"], { env }), { exitCode: 0 });
  t.regex((await keyrow(["whoami"], { env })).stdout, /token of +keyrow login/);
  t.like(await keyrow(["login", server.url], { env, input: token }), { exitCode: 0 }, "a second login replaces it");
  t.like(await keyrow(["logout"], { env }), { stdout: "logged out\n", exitCode: 0 });
  t.false(existsSync(kept));
  t.like(await keyrow(["logout"], { env }), { stdout: "there was no login\n", exitCode: 0 });
  t.like(await keyrow(["whoami"], { env }), { exitCode: 2 });
});

test("a token is read from a file, and one that the server does not take is not kept", async (t) => {
  const { env, token, kept, home } = await somebody(t);
  writeFileSync(join(home, "token"), `${token}\n`);
  t.like(await keyrow(["login", server.url, "--token-file", home], { env }), { stdout: "", exitCode: 2 });
  t.like(await keyrow(["login", server.url], { env, input: "nonsense" }), { stdout: "", exitCode: 4 });
  t.false(existsSync(kept));
  t.like(await keyrow(["login", server.url, token], { env }), { exitCode: 2 }, "never an argument");
  for (const address of ["nowhere", "http://keyrow.example.com"]) {
    t.like(await keyrow(["login", address], { env, input: token }), { stdout: "", exitCode: 2 }, address);
  }
  const { stderr } = await keyrow(["login", server.url, token], { env });
  t.false(stderr.includes(token));
  t.like(await keyrow(["login", server.url, "--token-file", join(home, "token")], { env }), { exitCode: 0 });
  t.is(JSON.parse(readFileSync(kept, "utf8")).token, token);
});

onTerminal("on a terminal login asks for the token, hidden", async (t) => {
  const { env, token, kept } = await somebody(t);
  const { shown, exitCode } = await typeInto(["login", server.url], env, "Token", `${token}\r`);
  t.is(exitCode, 0, shown);
  t.false(shown.includes(token.slice(-20)));
  t.true(existsSync(kept));
});

test("the environment goes before a login, and a token that is kept goes to its own server alone", async (t) => {
  const { env, token } = await somebody(t);
  await keyrow(["login", server.url], { env, input: token });
  const bo = await makeUser(server.database, "Bo");
  const { stdout } = await keyrow(["whoami", "--json"], { env: { ...env, KEYROW_TOKEN: server.token(bo) } });
  t.like(JSON.parse(stdout), { id: bo, server: server.url, from: "environment" });
  const elsewhere = await keyrow(["whoami"], { env: { ...env, KEYROW_URL: "http://127.0.0.1:1" } });
  t.like(elsewhere, { stdout: "", exitCode: 4 });
});

test("a login that others can read, or that is damaged, is refused with a remedy", async (t) => {
  const { env, token, kept } = await somebody(t);
  await keyrow(["login", server.url], { env, input: token });
  chmodSync(kept, 0o644);
  t.regex((await keyrow(["whoami"], { env })).stderr, /^error: .*login\.json is open to others\nhint: run chmod 600/);
  chmodSync(kept, 0o600);
  writeFileSync(kept, "{");
  t.regex(
    (await keyrow(["whoami"], { env })).stderr,
    /^error: .*login\.json can't be read\nhint: run `keyrow login` again/,
  );
});

test("a login that is a link, a FIFO or too large is refused without waiting for it", async (t) => {
  const { env, token, kept, home } = await somebody(t);
  await keyrow(["login", server.url], { env, input: token });
  const refused = /^error: .*login\.json can't be read\nhint: run `keyrow login` again/;
  renameSync(kept, join(home, "elsewhere"));
  symlinkSync(join(home, "elsewhere"), kept);
  t.regex((await keyrow(["whoami"], { env })).stderr, refused);
  rmSync(kept);
  execFileSync("mkfifo", ["-m", "600", kept]);
  t.regex((await keyrow(["whoami"], { env })).stderr, refused);
  rmSync(kept);
  writeFileSync(kept, JSON.stringify({ url: server.url, token, more: "x".repeat(70_000) }), { mode: 0o600 });
  t.regex((await keyrow(["whoami"], { env })).stderr, refused);
  t.like(await keyrow(["login", server.url], { env, input: token }), { exitCode: 0 });
  t.like(await keyrow(["whoami"], { env }), { exitCode: 0 });
});

test("without a home directory no login is looked for elsewhere, and the environment serves", async (t) => {
  const { token, home } = await somebody(t);
  const { stdout } = await keyrow(["login", server.url, "--json"], { env: { HOME: home }, input: token });
  t.is(JSON.parse(stdout).path, join(home, ".config/keyrow/login.json"));
  for (const HOME of ["", "."]) {
    for (const command of ["whoami", "logout"]) {
      t.like(await keyrow([command], { env: { HOME }, cwd: home }), {
        stdout: "",
        stderr:
          "error: there is no home directory in which a login could be kept\nhint: set KEYROW_URL and KEYROW_TOKEN; or HOME or XDG_CONFIG_HOME to an absolute path\n",
        exitCode: 1,
      });
    }
    const env = { HOME, KEYROW_URL: server.url, KEYROW_TOKEN: token };
    t.like(await keyrow(["whoami"], { env, cwd: home }), { exitCode: 0 });
  }
});

test("logout says what keeps it from removing a login, and is done where there can be none", async (t) => {
  const { home } = await somebody(t);
  mkdirSync(join(home, "keyrow/login.json"), { recursive: true });
  const { stderr, exitCode } = await keyrow(["logout"], { env: { XDG_CONFIG_HOME: home } });
  t.regex(stderr, /^error: .*login\.json can't be removed \(E[A-Z]+\)\nhint: look at the mode of its directory\n$/);
  t.is(exitCode, 1);
  t.like(await keyrow(["logout"], { env: { XDG_CONFIG_HOME: "/dev/null" } }), { stdout: "there was no login\n" });
});

(process.getuid?.() === 0 ? test : test.skip)("another user's login is refused, however its mode is", async (t) => {
  const { env, token, kept } = await somebody(t);
  await keyrow(["login", server.url], { env, input: token });
  chownSync(kept, 12345, 12345);
  const { stderr, exitCode } = await keyrow(["whoami"], { env });
  t.regex(stderr, /^error: .*login\.json is another user's\nhint: run `keyrow login` as this user, or set KEYROW_URL/);
  t.is(exitCode, 1);
});
