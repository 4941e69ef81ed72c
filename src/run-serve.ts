import { readKeyFile } from "./cipher/keyfile.ts";
import { createKeyring } from "./cipher/keyring.ts";
import { createLocalCipher } from "./cipher/local.ts";
import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";
import { createLog, redirectConsole } from "./log.ts";
import { serve } from "./serve.ts";
import { interruption } from "./signals.ts";

/** Runs the server on a database of one's own, until a signal ends it. */
export async function runServe(config: Config): Promise<void> {
  const interrupted = interruption();
  const { databaseUrl, jwt } = config;
  // The configuration of this mode has both.
  if (databaseUrl === undefined || jwt.key === undefined) throw new KeyrowError("CONFIG_INVALID");
  const cipher = createKeyring((await readKeyFile(config.keyFile.path)).map(createLocalCipher));
  const log = createLog(config.logLevel);
  redirectConsole(log);
  const serving = await serve(config, { databaseUrl, cipher, rules: { ...jwt, key: jwt.key }, log });
  log.info({ host: config.host, port: serving.port }, "ready");
  await interrupted;
  log.info("stopping");
  await serving.stop();
}
