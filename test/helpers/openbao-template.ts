import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync } from "node:fs";
import { appendFile, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { TransitKey } from "../../src/cipher/openbao/access.ts";
import { CONFIGURATION, SOCKET } from "../../src/embedded/openbao/configuration.ts";
import { completeFirstStart, OPENBAO, prepareHome } from "../../src/embedded/openbao/home.ts";
import { clientOf, writeConfiguration } from "../../src/embedded/openbao/process.ts";
import { socketDirectory } from "../../src/embedded/socket.ts";
import { testCluster } from "./cluster.ts";
import { holding, openBaoProgram } from "./openbao-program.ts";

const testTransitKey: TransitKey = { mount: "transit", key: "keyrow" };

/** The token of somebody who may do everything. */
export const ROOT_TOKEN = "root-of-the-tests";

// Tests rotate, revoke and remove, which the credentials that Keyrow keeps may not.
const rootToken = `
initialize "tests" {
  request "root" {
    operation = "update"
    path = "auth/token/create"
    data = {
      id = "${ROOT_TOKEN}"
      policies = ["root"]
      no_parent = true
    }
  }
}
`;

/** An OpenBao's directory that has been started once; made by the first test of a run that needs it. */
export function openBaoTemplate(): Promise<string> {
  prepared ??= prepareTemplate();
  return prepared;
}
let prepared: Promise<string> | undefined;

async function prepareTemplate(): Promise<string> {
  // Throws without the runner, which removes its temporary directory in the end.
  testCluster();
  const parent = join(tmpdir(), "keyrow-openbao");
  const made = join(parent, OPENBAO);
  const path = await openBaoProgram();
  return holding(parent, async () => {
    if (existsSync(made)) return made;
    const making = join(parent, "making");
    rmSync(making, { recursive: true, force: true });
    await makeTemplate(making, path);
    await rename(making, made);
    return made;
  });
}

/** Makes the directory of an OpenBao that knows ROOT_TOKEN, and that is not running. */
export async function makeTemplate(home: string, program: string): Promise<void> {
  const { credentials } = await prepareHome(home, testTransitKey);
  const socket = socketOf(home);
  await writeConfiguration({ home, program, socket, setUpFor: credentials });
  await appendFile(join(home, CONFIGURATION), rootToken);
  const child = spawn(program, ["server", `-config=${CONFIGURATION}`], { cwd: home, stdio: "ignore" });
  const exited = once(child, "exit");
  const client = clientOf(socket);
  try {
    for (const deadline = Date.now() + 60_000; ; await sleep(20)) {
      const isUp = await client.call({ method: "GET", path: "sys/health" }).then(
        () => true,
        () => false,
      );
      if (isUp) break;
      if (child.exitCode !== null || Date.now() > deadline) throw new Error("the tests' OpenBao does not start");
    }
    await completeFirstStart(home);
  } finally {
    await client.close();
    child.kill("SIGTERM");
    await exited;
  }
}

/** The path of the socket of an OpenBao in that directory. */
export const socketOf = (home: string): string => join(socketDirectory(home, SOCKET), SOCKET);
