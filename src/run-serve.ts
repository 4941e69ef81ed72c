import { readKeyFile } from "./cipher/keyfile.ts";
import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";
import { listedIssuers } from "./issuers/file.ts";
import { createLog, redirectConsole } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { createRing } from "./ring.ts";
import { serve } from "./serve.ts";
import { interruption } from "./signals.ts";
import { readSigningKey } from "./signing-key.ts";

/** Runs the server on a database of one's own, until a signal ends it. */
export async function runServe(config: Config): Promise<void> {
  const interrupted = interruption();
  const { databaseUrl, jwt } = config;
  // The configuration of this mode has it.
  if (databaseUrl === undefined) throw new KeyrowError("CONFIG_INVALID");
  const issuers = listedIssuers(jwt);
  const signingKey = config.signingKeyFile === undefined ? undefined : await readSigningKey(config.signingKeyFile);
  const keyFile = config.keyFile.needed ? config.keyFile.path : undefined;
  const localKeys = keyFile === undefined ? [] : await readKeyFile(keyFile);
  const log = createLog(config.logLevel);
  redirectConsole(log);
  const metrics = createMetrics();
  const { openBao: access, transitKey: place, fallback } = config;
  const ring = createRing({
    localKeys,
    keyFile,
    openBao: access && { access, place },
    fallback,
    log,
    meters: metrics,
  });
  try {
    const rules = jwt.key && { ...jwt, key: jwt.key };
    const serving = await serve(config, { databaseUrl, ring, metrics, rules, issuers, signingKey, log });
    log.info({ host: config.host, port: serving.port }, "ready");
    await interrupted;
    log.info("stopping");
    await serving.stop();
  } finally {
    await ring.close();
  }
}
