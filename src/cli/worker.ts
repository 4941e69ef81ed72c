import { command, examples } from "./command.ts";

/** `keyrow worker`: healing, beside the servers. */
export const worker = command(
  "worker",
  "Moves what servers sealed under local keys to OpenBao's Transit whenever it is there. Several may run.",
)
  .addHelpText(
    "after",
    examples([
      "WORKER_DATABASE_URL=... BAO_ADDR=... BAO_ROLE_ID=... BAO_SECRET_ID=... KEYROW_KEY_FILE=... keyrow worker",
      "as the login keyrow_worker",
    ]),
  )
  .addHelpText(
    "after",
    "\n`keyrow start` does the same by itself. `keyrow keys status` shows what waits; `keyrow help config` lists every setting.",
  )
  .action(async () => {
    const { readConfig } = await import("../config.ts");
    const config = readConfig();
    const { runWorker } = await import("../run-worker.ts");
    await runWorker(config);
    process.exit();
  });
