import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { OpenBaoAccess, TransitKey } from "../src/cipher/openbao/access.ts";
import { OPENBAO, readCredentials } from "../src/embedded/openbao/home.ts";
import { addressOf, runOpenBao } from "../src/embedded/openbao/process.ts";
import { callOpenBao, logIn, type RawCall } from "../test/helpers/openbao-call.ts";
import { openBaoProgram } from "../test/helpers/openbao-program.ts";
import { makeTemplate, ROOT_TOKEN, socketOf } from "../test/helpers/openbao-template.ts";

/** An OpenBao as Keyrow's embedded one is set up, raft storage and file audit included. */
export interface BenchOpenBao {
  /** As Keyrow's server: its AppRole. */
  readonly access: OpenBaoAccess;
  readonly transitKey: TransitKey;
  readonly socket: string;
  /** Where its audit.log is. */
  readonly directory: string;
  pid(): number;
  /** Calls it as somebody who may do everything, and gives the answer's JSON; throws where it is not 2xx. */
  root(call: Omit<RawCall, "token">): Promise<unknown>;
}

/** Starts one for one run, in a directory that is removed with all servers in it. */
export async function startOpenBao(directory: string): Promise<BenchOpenBao & { stop(): Promise<void> }> {
  const home = join(directory, OPENBAO);
  const program = await openBaoProgram();
  await makeTemplate(home, program);
  const socket = socketOf(home);
  const { server, transitKey } = await readCredentials(home);
  const { pid, stop } = await runOpenBao({ home, program, socket });
  return {
    access: { address: addressOf(socket), login: server, caFile: undefined, namespace: undefined },
    transitKey,
    socket,
    directory: home,
    pid: () => pid,
    async root(call) {
      const { status, json } = await callOpenBao(socket, { ...call, token: ROOT_TOKEN });
      if (status < 200 || status > 299) throw new Error(`${call.path}: ${status} ${JSON.stringify(json)}`);
      return json;
    },
    stop,
  };
}

/** The settings by which `keyrow serve` and `keyrow rewrap` use it; what it can't seal is an error, and no local key's. */
export function openBaoSettings({ access, transitKey }: BenchOpenBao): Record<string, string> {
  const { login } = access;
  return {
    BAO_ADDR: access.address,
    ...("token" in login ? { BAO_TOKEN: login.token } : { BAO_ROLE_ID: login.roleId, BAO_SECRET_ID: login.secretId }),
    KEYROW_TRANSIT_MOUNT: transitKey.mount,
    KEYROW_TRANSIT_KEY: transitKey.key,
    KEYROW_FALLBACK: "refuse",
  };
}

/** A token of Keyrow's AppRole. */
export function serverToken({ socket, access }: BenchOpenBao): Promise<string> {
  return logIn(socket, access);
}

/** Mounts a KV v2, and gives the token of somebody who may read and write in it and nothing else. */
export async function mountKv(openBao: BenchOpenBao, mount: string): Promise<string> {
  await openBao.root({ path: `sys/mounts/${mount}`, body: { type: "kv", options: { version: "2" } } });
  const policy = JSON.stringify({ path: { [`${mount}/data/*`]: { capabilities: ["create", "update", "read"] } } });
  await openBao.root({ path: `sys/policies/acl/${mount}`, body: { policy } });
  const body = { policies: [mount], no_parent: true, no_default_policy: true, period: "1h" };
  const { auth } = (await openBao.root({ path: "auth/token/create", body })) as { auth: { client_token: string } };
  await kvReady(openBao, mount);
  return auth.client_token;
}

/** A new mount refuses everything for a moment, until it is a KV of the second version. */
async function kvReady(openBao: BenchOpenBao, mount: string): Promise<void> {
  const write = { path: `${mount}/data/ready`, body: { data: { value: "" } } };
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await sleep(50)) {
    const written = await openBao.root(write).catch(() => undefined);
    if (written !== undefined) return;
  }
  throw new Error("the KV is not ready");
}

/** A line of the audit file, as far as it tells of values. */
interface AuditLine {
  readonly type: "request" | "response";
  readonly request: { readonly path: string; readonly data?: { readonly batch_input?: readonly unknown[] } };
}

/** Does work of so many requests with so many values each; throws where not all values are in OpenBao's audit file. */
export async function audited<T extends { readonly requests: number }>(
  { directory }: BenchOpenBao,
  each: number,
  work: () => Promise<T>,
): Promise<T> {
  const path = join(directory, "audit.log");
  const start = statSync(path).size;
  const result = await work();
  let values = 0;
  for await (const line of createInterface(createReadStream(path, { start }))) {
    const { type, request }: AuditLine = JSON.parse(line);
    // What is answered is told once more, with the answer. A KV has no batches; the rest are no values, such as the key's
    // versions.
    if (type === "response") values += request.data?.batch_input?.length ?? (request.path.includes("/data/") ? 1 : 0);
  }
  if (values >= result.requests * each) return result;
  throw new Error(`${result.requests} requests left ${values} values in the audit file`);
}
