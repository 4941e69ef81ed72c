import { readdir, readFile } from "node:fs/promises";
import type pg from "pg";
import { KeyrowError } from "./errors.ts";
import { firstOf } from "./first-of.ts";
import { migrationsFolder } from "./setup.ts";

/** Which committed migrations a database has, by file name, in order. */
export interface SchemaVersion {
  readonly applied: readonly string[];
  readonly pending: readonly string[];
  /** What the database has and this version does not know. */
  readonly unknown: readonly string[];
}

/** Compares the committed migrations with the database's own record of them, by their hashes. */
export async function schemaVersion(client: Pick<pg.ClientBase, "query">): Promise<SchemaVersion> {
  const files = await committedMigrations();
  const { rows: tables } = await client.query("select to_regclass('graphile_migrate.migrations') is not null as there");
  const { rows } = tables[0].there
    ? await client.query<Recorded>("select hash, filename from graphile_migrate.migrations order by filename")
    : { rows: [] };
  const recorded = new Set(rows.map(({ hash }) => hash));
  const names = (wanted: boolean) =>
    files.filter(({ hash }) => recorded.has(hash) === wanted).map(({ filename }) => filename);
  const known = new Set(files.map(({ hash }) => hash));
  return {
    applied: names(true),
    pending: names(false),
    unknown: rows.filter(({ hash }) => !known.has(hash)).map(({ filename }) => filename),
  };
}

interface Recorded {
  readonly hash: string;
  readonly filename: string;
}

async function committedMigrations(): Promise<Recorded[]> {
  const folder = `${migrationsFolder}/committed`;
  const names = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(
    names.map(async (filename) => {
      const [, hash = ""] = /^--! Hash: (\S+)$/m.exec(await readFile(`${folder}/${filename}`, "utf8")) ?? [];
      return { hash, filename };
    }),
  );
}

const MOST_NAMED = 3;

/** Refuses a schema that is not this version's: throws SCHEMA_BEHIND with what is missing or unknown, and the remedy. */
export async function checkSchema(client: Pick<pg.ClientBase, "query">): Promise<void> {
  const { pending, unknown } = await schemaVersion(client);
  if (pending.length > 0) {
    throw new KeyrowError("SCHEMA_BEHIND", {
      message: `The database lacks ${pending.length === 1 ? "a migration" : "migrations"}: ${firstOf(pending, MOST_NAMED)}.`,
      hint: "Run `keyrow migrate` first, with MIGRATE_DATABASE_URL.",
    });
  }
  refuseUnknown(unknown);
}

/** Refuses a database that a later version has migrated: throws SCHEMA_BEHIND, which names what is not known here. */
export function refuseUnknown(unknown: SchemaVersion["unknown"]): void {
  if (unknown.length === 0) return;
  throw new KeyrowError("SCHEMA_BEHIND", {
    message: `The database has migrations that this version does not know: ${firstOf(unknown, MOST_NAMED)}.`,
    hint: "Run the version of Keyrow that made them, or a later one.",
  });
}
