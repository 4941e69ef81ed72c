// A process that holds a data directory as `keyrow start` does, for tests that kill it: it says UP when it can be used,
// and prints code and message when it can't start.
import pg from "pg";
import { acquireLock } from "../../src/embedded/lock.ts";
import { startEmbedded } from "../../src/embedded/server.ts";
import { KeyrowError } from "../../src/errors.ts";

const [directory = "", statement] = process.argv.slice(2);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
// Whoever reads this may be gone first.
process.stdout.on("error", () => {});

try {
  const lock = await acquireLock(directory);
  const settings = { fsync: "off" };
  const progress = (line: string): void => say(`# ${line}`);
  const embedded = await startEmbedded({ directory, password: "se'cret /%", settings, progress });
  if (statement) {
    const login = { user: embedded.superuser, password: embedded.password };
    const client = new pg.Client({ connectionString: embedded.url(login, "postgres") });
    await client.connect();
    await client.query(statement);
    await client.end();
  }
  say("UP");
  // Standard input is open for as long as the test wants it to run.
  for await (const _ of process.stdin);
  await embedded.stop();
  lock.release();
} catch (error) {
  if (!(error instanceof KeyrowError)) throw error;
  say(`${error.code} ${error.message} ${error.hint}`);
  process.exitCode = 1;
}
