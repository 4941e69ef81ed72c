import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { execa } from "execa";
import { CONFIGURATION, PID_FILE } from "../../src/embedded/openbao/configuration.ts";
import { makeTemporaryDirectory, removeWithServers } from "./cluster.ts";
import { openBaoProgram } from "./openbao-program.ts";
import { until } from "./until.ts";

/** Whether `openssl` is there, to make certificates with: Node can't. */
export const canHaveCertificates = ((): boolean => {
  try {
    execFileSync("openssl", ["version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** An OpenBao as somebody else runs it, on a port, and with nothing of Keyrow's in it. */
export interface OwnOpenBao {
  readonly address: string;
  /** The authority that signed its certificate; undefined where it has none. */
  readonly caFile: string | undefined;
  /** A directory for whoever works with it. */
  readonly directory: string;
  /** The environment of somebody who may do everything, with `bao` on PATH. */
  admin(): Record<string, string>;
  /** Waits until a command of `bao` succeeds, with these settings. */
  until(env: Record<string, string>, ...args: string[]): Promise<void>;
  kill(): Promise<void>;
  /** Its data are gone, and it begins anew; what unseals it is left. */
  loseData(): Promise<void>;
}

/** Starts one, with TLS or without, and initializes it; it ends with the test. */
export async function startOwnOpenBao(t: ExecutionContext, { tls }: { tls: boolean }): Promise<OwnOpenBao> {
  const directory = makeTemporaryDirectory("keyrow-own-openbao-");
  t.teardown(() => removeWithServers(directory));
  const program = await openBaoProgram();
  mkdirSync(join(directory, "bin"));
  symlinkSync(program, join(directory, "bin/bao"));
  const home = join(directory, "server");
  mkdirSync(join(home, "raft"), { recursive: true });
  writeFileSync(join(home, "seal.key"), randomBytes(32), { mode: 0o600 });
  if (tls) makeCertificate(home);
  const port = await freePort();
  const address = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
  writeFileSync(join(home, CONFIGURATION), configuration(address, tls));
  const caFile = tls ? join(home, "ca.pem") : undefined;
  const { PATH = "" } = process.env;
  const env = {
    PATH: `${join(directory, "bin")}:${PATH}`,
    HOME: directory,
    BAO_ADDR: address,
    ...(caFile && { BAO_CACERT: caFile }),
  };
  let server: ChildProcess | undefined;
  let token = "";
  const bao = (args: readonly string[], as: Record<string, string>) =>
    execa(program, args, { env: as, extendEnv: false, reject: false, timeout: 30_000 });
  const admin = () => ({ ...env, BAO_TOKEN: token });
  /** Waits until a command ends with this code; gives what it printed. */
  function ending(code: number, args: readonly string[], as: Record<string, string> = admin()): Promise<string> {
    return until(
      async () => {
        const { exitCode, stdout } = await bao(args, as);
        return exitCode === code && stdout;
      },
      () => `bao ${args.join(" ")} to end with ${code}`,
    );
  }
  async function start(): Promise<void> {
    server = spawn(program, ["server", `-config=${join(home, CONFIGURATION)}`], { cwd: home, stdio: "ignore" });
    // 2: it answers, and is not initialized.
    await ending(2, ["status"]);
    const how = ["-recovery-shares=1", "-recovery-threshold=1", "-format=json"];
    token = JSON.parse(await ending(0, ["operator", "init", ...how])).root_token;
    await ending(0, ["secrets", "list"]);
  }
  async function kill(): Promise<void> {
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const exited = once(server, "exit");
    server.kill("SIGKILL");
    await exited;
  }

  t.teardown(kill);
  await start();
  return {
    address,
    caFile,
    directory,
    admin,
    async until(as, ...args) {
      await ending(0, args, as);
    },
    kill,
    async loseData() {
      await kill();
      rmSync(join(home, "raft"), { recursive: true });
      mkdirSync(join(home, "raft"));
      await start();
    },
  };
}

function configuration(address: string, tls: boolean): string {
  return `api_addr = "${address}"
cluster_addr = "https://127.0.0.1:0"
pid_file = "${PID_FILE}"

storage "raft" {
  path = "raft"
  node_id = "own"
  performance_multiplier = 1
}

seal "static" {
  current_key_id = "own"
  current_key = "file://seal.key"
}

listener "tcp" {
  address = "${new URL(address).host}"
  cluster_address = "127.0.0.1:0"
  ${tls ? 'tls_cert_file = "tls.pem"\n  tls_key_file = "tls.key"' : "tls_disable = true"}
}
`;
}

/** An authority, and a certificate of it for 127.0.0.1. */
function makeCertificate(directory: string): void {
  const openssl = (args: string) => execFileSync("openssl", args.split(" "), { cwd: directory, stdio: "ignore" });
  const key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
  writeFileSync(join(directory, "extensions"), "subjectAltName = IP:127.0.0.1\n");
  openssl(`req -x509 ${key} -days 2 -keyout ca.key -out ca.pem -subj /CN=an-authority`);
  openssl(`req ${key} -keyout tls.key -out tls.csr -subj /CN=an-openbao`);
  openssl("x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out tls.pem");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
