// A process that runs the OpenBao of a data directory as `keyrow start --openbao` does, for tests that kill it or that
// give it another PATH: it says UP when it can be used, and prints code, message and hint when it can't start.
import { resolve } from "node:path";
import { acquireLock } from "../../src/embedded/lock.ts";
import { startEmbeddedOpenBao } from "../../src/embedded/openbao/server.ts";
import { KeyrowError } from "../../src/errors.ts";

const [directory = ""] = process.argv.slice(2);
const { BAO_BIN } = process.env;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
// Whoever reads this may be gone first.
process.stdout.on("error", () => {});

try {
  const lock = await acquireLock(directory);
  const openBao = await startEmbeddedOpenBao(
    {
      dataDirectory: directory,
      openBaoProgram: BAO_BIN === undefined ? undefined : resolve(BAO_BIN),
      transitKey: { mount: "transit", key: "keyrow" },
      transitTimeoutMs: 20_000,
    },
    (line) => say(`# ${line}`),
  );
  say("UP");
  // Standard input is open for as long as the test wants it to run.
  for await (const _ of process.stdin);
  await openBao.stop();
  lock.release();
  say("STOPPED");
} catch (error) {
  if (!(error instanceof KeyrowError)) throw error;
  say(`${error.code} ${error.message} ${error.hint}`);
  process.exitCode = 1;
}
