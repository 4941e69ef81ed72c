import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { acquireLock } from "./embedded/lock.ts";
import { OPENBAO } from "./embedded/openbao/home.ts";
import { type EmbeddedOpenBao, startEmbeddedOpenBao } from "./embedded/openbao/server.ts";
import { type EmbeddedDatabase, openDatabaseIn } from "./embedded-database.ts";
import { KeyrowError } from "./errors.ts";

/** What `keyrow start` runs beside itself. */
export interface EmbeddedParts {
  readonly database: EmbeddedDatabase;
  /** Where one is asked for, or the data directory has one. */
  readonly openBao: EmbeddedOpenBao | undefined;
  stop(): Promise<void>;
}

/**
 * Takes the data directory and starts what it has, all at once; `withOpenBao` makes it have an OpenBao. Throws codes of
 * the start, and leaves nothing running then.
 */
export async function openEmbeddedParts(
  config: Config,
  withOpenBao: boolean,
  progress: (line: string) => void,
): Promise<EmbeddedParts> {
  if (withOpenBao && config.openBao !== undefined) {
    throw new KeyrowError("CONFIG_INVALID", {
      message: "BAO_ADDR: it is set, and --openbao asks for an OpenBao of one's own; leave one of them out",
      hint: "`keyrow help config` lists every setting.",
    });
  }
  const lock = await acquireLock(config.dataDirectory);
  try {
    // Values that it has sealed need it, whatever this start was asked for, unless another was named.
    const wanted = withOpenBao || (config.openBao === undefined && existsSync(join(config.dataDirectory, OPENBAO)));
    const [database, openBao] = await together(
      openDatabaseIn(config, progress),
      wanted ? startEmbeddedOpenBao(config, progress) : undefined,
    );
    const stop = async () => {
      await Promise.all([openBao?.stop(), database.stop()]).finally(() => lock.release());
    };
    return { database, openBao, stop };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Waits for both; where one fails the other is stopped, and the first failure thrown. */
async function together(
  ...[database, openBao]: [Promise<EmbeddedDatabase>, Promise<EmbeddedOpenBao> | undefined]
): Promise<[EmbeddedDatabase, EmbeddedOpenBao | undefined]> {
  const outcomes = await Promise.allSettled([database, openBao]);
  const failure = outcomes.find((outcome) => outcome.status === "rejected");
  if (failure === undefined) return [await database, await openBao];
  for (const outcome of outcomes) if (outcome.status === "fulfilled") await outcome.value?.stop();
  throw failure.reason;
}
