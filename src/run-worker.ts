import { readKeyFile } from "./cipher/keyfile.ts";
import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";
import { createLog, redirectConsole } from "./log.ts";
import { startHealing } from "./reseal/heal.ts";
import { createRing } from "./ring.ts";
import { interruption } from "./signals.ts";
import { openWorkerDatabase } from "./worker-database.ts";

/**
 * Heals in the background until a signal ends it. Throws CONFIG_INVALID, TRANSIT_UNBOUND, TRANSIT_CONVERGENT, and what the
 * database throws.
 */
export async function runWorker(config: Config): Promise<void> {
  const interrupted = interruption();
  const { workerDatabaseUrl, openBao: access, transitKey: place, keyFile, fallback } = config;
  const missing = [
    workerDatabaseUrl === undefined &&
      "WORKER_DATABASE_URL: it is not set; give the address for the login keyrow_worker",
    access === undefined && "BAO_ADDR: it is not set; without an OpenBao there is nowhere to move values to",
    keyFile.mayCreate && "KEYROW_KEY_FILE: it is not set; give the path of the key file that the servers have",
  ].filter((problem) => typeof problem === "string");
  if (workerDatabaseUrl === undefined || access === undefined || missing.length > 0) {
    throw new KeyrowError("CONFIG_INVALID", {
      message: missing.join("\n"),
      hint: "`keyrow help config` lists every setting.",
    });
  }
  const log = createLog(config.logLevel);
  redirectConsole(log);
  const localKeys = await readKeyFile(keyFile.path);
  const ring = createRing({ localKeys, keyFile: keyFile.path, openBao: { access, place }, fallback, log });
  try {
    await ring.check();
    const database = await openWorkerDatabase(workerDatabaseUrl);
    const healing = startHealing({ ...database, ring, log });
    log.info("ready");
    await interrupted;
    log.info("stopping");
    await healing.stop();
    await database.pool.end();
  } finally {
    await ring.close();
  }
}
