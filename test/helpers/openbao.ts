import { rmSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { execa } from "execa";
import type { OpenBaoAccess, TransitKey } from "../../src/cipher/openbao/access.ts";
import { OPENBAO, RAFT, readCredentials } from "../../src/embedded/openbao/home.ts";
import { addressOf, logFileOf, type OpenBaoProcess, runOpenBao } from "../../src/embedded/openbao/process.ts";
import { makeTemporaryDirectory, removeWithServers } from "./cluster.ts";
import { callOpenBao, type RawAnswer, type RawCall } from "./openbao-call.ts";
import { canHaveOpenBao, openBaoProgram } from "./openbao-program.ts";
import { openBaoTemplate, ROOT_TOKEN, socketOf } from "./openbao-template.ts";

// A busy machine's OpenBao is slow, and not away.
const PATIENT_MS = 20_000;

type Run = (t: ExecutionContext) => Promise<void>;

const declare =
  (add: typeof test | typeof test.serial) =>
  (title: string, run: Run): void => {
    if (canHaveOpenBao || process.env.CI) add(title, run);
    else add.skip(`${title} (there is NO OPENBAO here, nor pip to install it: apt-get install python3-pip)`, run);
  };

/**
 * A test on a real OpenBao. On a machine that has none, and no pip to install it, it is skipped, aloud, and counted; in CI
 * its absence is a failure.
 */
export const openBaoTest = Object.assign(declare(test), { serial: declare(test.serial) });

/** An OpenBao of a test's own, with the Transit key `keyrow` in `transit`. */
export interface TestOpenBao {
  /** As Keyrow's server: its AppRole. */
  readonly access: OpenBaoAccess;
  /** As `keyrow keys`. */
  readonly operatorAccess: OpenBaoAccess;
  /** As somebody who may do everything. */
  readonly rootAccess: OpenBaoAccess;
  readonly transitKey: TransitKey;
  readonly socket: string;
  /** Its own directory: raft, audit.log, openbao.log and the rest. */
  readonly directory: string;
  readonly logFile: string;
  /** Calls it as somebody who may do everything; throws where the answer is not 2xx. */
  root(call: Omit<RawCall, "token">): Promise<RawAnswer["json"]>;
  /** Of the running process. */
  pid(): number;
  /** Starts it again, after `stop`, `kill` or `seal`. */
  start(): Promise<void>;
  /** Ends it in order. */
  stop(): Promise<void>;
  /** Ends it as kill -9 does. */
  kill(): Promise<void>;
  /** Makes it stand still, until the function that it gives is called. */
  halt(): () => void;
  /** It runs on, and has no key to its storage. */
  seal(): Promise<void>;
  /** It has its key again. */
  unseal(): Promise<void>;
  /** Keeps what it has now, as a backup does; it is killed and started for that. */
  copyData(): Promise<void>;
  /** Puts back what `copyData` kept last, and runs on it. */
  restoreData(): Promise<void>;
}

/** With the patience that servers have where nobody says: for tests of how long one waits. */
export function hasty(access: OpenBaoAccess): OpenBaoAccess {
  return { ...access, timeoutMs: undefined };
}

/** The settings by which Keyrow's processes reach it. */
export function settingsOf({ address, login }: OpenBaoAccess): Record<string, string> {
  if ("token" in login) return { BAO_ADDR: address, BAO_TOKEN: login.token };
  return { BAO_ADDR: address, BAO_ROLE_ID: login.roleId, BAO_SECRET_ID: login.secretId };
}

/** Starts one, and takes it away again when the test has ended. */
export async function startOpenBao(t: Pick<ExecutionContext, "teardown">): Promise<TestOpenBao> {
  const [program, origin] = [await openBaoProgram(), await openBaoTemplate()];
  const temporary = makeTemporaryDirectory("keyrow-openbao-");
  // What runs beside a process does not keep it alive, and a test waits for just that.
  const alive = setInterval(() => undefined, 1_000);
  t.teardown(async () => {
    await removeWithServers(temporary);
    clearInterval(alive);
  });
  const home = join(temporary, OPENBAO);
  await execa("cp", ["-a", origin, home]);
  const socket = socketOf(home);
  const { server, operator, transitKey } = await readCredentials(home);
  const as = (login: OpenBaoAccess["login"]): OpenBaoAccess => {
    return { address: addressOf(socket), login, caFile: undefined, namespace: undefined, timeoutMs: PATIENT_MS };
  };
  let running: OpenBaoProcess | undefined;

  async function start(): Promise<void> {
    running ??= await runOpenBao({ home, program, socket });
  }
  async function end(signal: NodeJS.Signals): Promise<void> {
    const ending = running;
    running = undefined;
    if (ending === undefined) return;
    process.kill(ending.pid, signal);
    await ending.exited;
  }
  async function root(call: Omit<RawCall, "token">): Promise<RawAnswer["json"]> {
    const { status, json } = await callOpenBao(socket, { ...call, token: ROOT_TOKEN });
    if (status < 200 || status > 299) throw new Error(`${call.path}: ${status} ${JSON.stringify(json)}`);
    return json;
  }
  /** Kills it, works on its files, and starts it. */
  async function between(work: () => Promise<unknown>): Promise<void> {
    await end("SIGKILL");
    await work();
    await start();
  }
  const [raft, copy] = [join(home, RAFT), join(temporary, "copy")];

  await start();
  t.teardown(() => end("SIGKILL"));
  return {
    access: as(server),
    operatorAccess: as(operator),
    rootAccess: as({ token: ROOT_TOKEN }),
    transitKey,
    socket,
    directory: home,
    logFile: logFileOf(home),
    root,
    pid: () => running?.pid ?? 0,
    start,
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
    halt() {
      const { pid } = running ?? { pid: 0 };
      process.kill(pid, "SIGSTOP");
      return () => void process.kill(pid, "SIGCONT");
    },
    seal: () => root({ method: "POST", path: "sys/seal" }),
    // Its own key opens it at a start.
    unseal: () => between(async () => undefined),
    copyData: () =>
      between(async () => {
        rmSync(copy, { recursive: true, force: true });
        await execa("cp", ["-a", raft, copy]);
      }),
    restoreData: () =>
      between(async () => {
        rmSync(raft, { recursive: true });
        await execa("cp", ["-a", copy, raft]);
      }),
  };
}
