import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkEmbedded } from "./admin-database.ts";
import { readKeyFile } from "./cipher/keyfile.ts";
import type { OpenBaoAccess, TransitKey } from "./cipher/openbao/access.ts";
import { type FaultKind, OpenBaoFault } from "./cipher/openbao/fault.ts";
import type { Config } from "./config.ts";
import { OPENBAO } from "./embedded/openbao/home.ts";
import { lastOpenBao, type OpenBaoCoordinates } from "./embedded/openbao/server.ts";
import { runningDatabase } from "./embedded-database.ts";
import { openEmbeddedParts } from "./embedded-parts.ts";
import { KeyrowError } from "./errors.ts";
import { createLog } from "./log.ts";
import { createRing, type Ring } from "./ring.ts";

/** The OpenBao of a command: as a server reaches it, and as an operator does. */
export interface CommandOpenBao {
  readonly access: OpenBaoAccess;
  readonly operator: OpenBaoAccess;
  readonly place: TransitKey;
}

/** The ring of an operator's or a DB admin's command, and the OpenBao in it. */
export interface CommandRing extends Ring {
  readonly openBao: CommandOpenBao | undefined;
}

/**
 * Runs `work` with the keys that the servers have; it never makes one. `external`: the setting that names a database
 * elsewhere, where it is set. Throws CONFIG_INVALID, KEY_FILE_INVALID, and DATA_DIRECTORY where nothing was started yet.
 */
export async function withCommandRing<T>(
  config: Config,
  external: "ADMIN_DATABASE_URL" | "WORKER_DATABASE_URL",
  work: (ring: CommandRing) => Promise<T>,
): Promise<T> {
  const elsewhere = external === "ADMIN_DATABASE_URL" ? config.adminDatabaseUrl : config.workerDatabaseUrl;
  const given = config.openBao && { access: config.openBao, operator: config.openBao, place: config.transitKey };
  if (elsewhere === undefined) {
    await checkEmbedded(config);
    if (given !== undefined) return withRing(config, true, given, work);
    return withEmbeddedOpenBao(config, (own) => withRing(config, true, own, work));
  }
  // Another database's values don't belong under the keys that happen to lie in the data directory.
  if (config.keyFile.mayCreate && given === undefined) {
    throw new KeyrowError("CONFIG_INVALID", {
      message: `KEYROW_KEY_FILE: it is not set; with ${external} give the path of the key file that the servers have`,
      hint: "Values are sealed and opened here, so the command runs where the keys are.",
    });
  }
  return withRing(config, !config.keyFile.mayCreate, given, work);
}

// Of an OpenBao that BAO_ADDR names: what is wrong with it, and the remedy, where the fault tells.
const reasons: Readonly<Partial<Record<FaultKind, readonly [what: string, remedy: string]>>> = {
  certificate: [
    "has a certificate that does not fit",
    "Check BAO_CACERT and the host in BAO_ADDR, and how long the certificate is good",
  ],
  timeout: [
    "does not answer in time",
    "See that it runs; where it is far away or busy, give it longer by KEYROW_TRANSIT_TIMEOUT",
  ],
  "no-key": [
    "does not have the Transit key that is asked for",
    "Check KEYROW_TRANSIT_MOUNT and KEYROW_TRANSIT_KEY: docs/openbao.md says how a key is made",
  ],
};

/** What stops a command for want of OpenBao, with the remedy: for one that BAO_ADDR names, or the embedded one. */
function openBaoAway(named: boolean, cause: KeyrowError): KeyrowError {
  const fault = cause.cause instanceof OpenBaoFault ? cause.cause : undefined;
  const [what, remedy] = (named && fault && reasons[fault.kind]) || [
    "does not answer as it should",
    named
      ? "See that it runs and is unsealed, and that its login is good"
      : "Look into its log in the data directory, and start `npm start -- --openbao` again",
  ];
  return new KeyrowError("CIPHER_UNAVAILABLE", {
    message: `The ${named ? "OpenBao that BAO_ADDR names" : "embedded OpenBao"} ${what}, so values can't be sealed or opened.`,
    hint: `${remedy}; then run this again. What was done stays done.`,
    cause,
  });
}

async function withRing<T>(
  { keyFile, fallback, openBao: given }: Config,
  withLocal: boolean,
  openBao: CommandOpenBao | undefined,
  work: (ring: CommandRing) => Promise<T>,
): Promise<T> {
  const localKeys = withLocal ? await readKeyFile(keyFile.path) : [];
  const ring = createRing({ localKeys, keyFile: keyFile.path, openBao, fallback, log: createLog("silent") });
  const named = given !== undefined;
  try {
    return await work({ ...ring, openBao });
  } catch (error) {
    const isAway = openBao !== undefined && error instanceof KeyrowError && error.code === "CIPHER_UNAVAILABLE";
    throw isAway ? openBaoAway(named, error) : error;
  } finally {
    await ring.close();
  }
}

/** Runs `work` beside the data directory's own OpenBao, where it has one: the running one, or one for as long as it takes. */
async function withEmbeddedOpenBao<T>(
  config: Config,
  work: (openBao: CommandOpenBao | undefined) => Promise<T>,
): Promise<T> {
  const { dataDirectory } = config;
  if (!existsSync(join(dataDirectory, OPENBAO))) return work(undefined);
  const found = ({ access, operatorAccess, transitKey }: OpenBaoCoordinates) =>
    work({ access, operator: operatorAccess, place: transitKey });
  const last = await lastOpenBao(config);
  // Beside a running server it is the server that starts it again.
  if (last !== undefined && (await runningDatabase(dataDirectory)) !== undefined) return found(last);
  const { openBao, stop } = await openEmbeddedParts(config, false, () => undefined);
  try {
    return openBao === undefined ? await work(undefined) : await found(openBao);
  } finally {
    await stop();
  }
}
