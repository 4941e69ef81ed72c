import type pg from "pg";
import type { Place } from "../plugins/encrypted-columns/seal.ts";
import { credentialPlace } from "./credential-place.ts";
import { createPool } from "./database.ts";
import { KeyrowError } from "./errors.ts";
import { refuseExcess, working } from "./excess.ts";
import { checkSchema } from "./schema-version.ts";
import { unreachable } from "./unreachable.ts";

/** The database as the worker sees it. */
export interface WorkerDatabase {
  readonly pool: pg.Pool;
  readonly place: Place;
}

// A batch of two hundred values of 64 KiB is no short statement.
const STATEMENT_MS = 60_000;

/**
 * Connects as the worker; the caller ends the pool. Throws DATABASE_UNREACHABLE, DATABASE_RIGHTS for any other login than
 * keyrow_worker, whose changes would be taken for somebody's, and SCHEMA_BEHIND.
 */
export async function openWorkerDatabase(url: string): Promise<WorkerDatabase> {
  const pool = createPool(url, {
    max: 2,
    application_name: "keyrow worker",
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + 5_000,
  });
  try {
    await checkWorker(pool);
    await checkSchema(pool);
    const client = await pool.connect();
    try {
      return { pool, place: await credentialPlace(client) };
    } finally {
      client.release();
    }
  } catch (error) {
    await pool.end();
    throw unreachable(url, error) ?? error;
  }
}

async function checkWorker(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ login: string }>("select session_user as login");
  const [{ login } = { login: "" }] = rows;
  if (login === working.login) return refuseExcess(pool, working);
  throw new KeyrowError("DATABASE_RIGHTS", {
    message: `The worker can't run as the login ${login}.`,
    hint: "Connect as keyrow_worker, which `keyrow setup --print` makes.",
  });
}
