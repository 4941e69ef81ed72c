import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { createKeyFile } from "../../src/cipher/keyfile.ts";
import { secretKey } from "../../src/jwt-key.ts";
import { createSigner } from "../../src/token.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { cli, surroundings } from "../helpers/command.ts";
import { addressIn } from "../helpers/until.ts";

const JWT_SECRET = "a-secret-of-forty-eight-bytes-for-these-tests-only";
const sign = createSigner({ key: secretKey(JWT_SECRET), audience: "keyrow", issuer: undefined, userClaim: "sub" });

/** A process of `keyrow serve`. */
export interface Served {
  readonly url: string;
  /** A token of a day, or of so many seconds. */
  token(userId: string, expiresIn?: number): string;
  /** What it logged so far. */
  log(): string;
  /** Moves the clock of a server that `./clock.ts` was loaded into, to so many ms from the true time. */
  moveClock(ms: number): Promise<void>;
  isRunning(): boolean;
  /** Ends it in order; gives its exit code. */
  end(): Promise<number | NodeJS.Signals>;
}

/**
 * Runs `keyrow serve` with everything logged; `preload` is the path of a module that is loaded before it, `script` a shell's
 * that becomes the server in the end.
 */
export async function serve(
  t: ExecutionContext,
  databaseUrl: string,
  { env = {}, preload, script }: { env?: Record<string, string>; preload?: string; script?: string } = {},
): Promise<Served> {
  const directory = makeTemporaryDirectory("keyrow-serve-");
  t.teardown(() => removeWithServers(directory));
  const keys = join(directory, "keys.json");
  await createKeyFile(keys);
  const [command, ...args] =
    script === undefined
      ? [process.execPath, ...(preload ? ["--import", preload] : []), cli, "serve"]
      : ["bash", "--norc", "-euc", script];
  const child = spawn(command as string, args, {
    env: {
      ...surroundings,
      DATABASE_URL: databaseUrl,
      KEYROW_KEY_FILE: keys,
      JWT_SECRET,
      PORT: "0",
      LOG_LEVEL: "trace",
      ...env,
    },
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  const ended = once(child, "close").then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  t.teardown(async () => {
    if (isRunning()) child.kill("SIGKILL");
    await ended;
  });
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (chunk: string) => {
    log += chunk;
  });
  return {
    url: await addressIn(() => log),
    token: (userId, expiresIn = 24 * 60 * 60) => sign({ userId, expiresIn }),
    log: () => log,
    async moveClock(ms) {
      const moved = once(child, "message");
      child.send(ms);
      await moved;
    },
    isRunning,
    async end() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}
