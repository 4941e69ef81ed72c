import pg from "pg";
import { firstOf } from "../first-of.ts";
import { isPrintable, printable, rewritten } from "../printable.ts";
import type { Column, Facts, Table } from "./facts.ts";

/** How much a finding matters: it stands in the way, somebody has to run SQL, or it is good to know. */
export type Severity = "in the way" | "to run" | "note";

/** Something that the check found. */
export interface Finding {
  /** What it is about, for scripts: `column.users.id`. */
  readonly name: string;
  readonly severity: Severity;
  readonly what: string;
  readonly remedy: string;
  /** What the application's owner runs for it. */
  readonly sql?: readonly string[];
  /** The rows that it is about: how many, and the ids of the first. */
  readonly rows?: { readonly count: number; readonly ids: readonly string[] };
}

/** The remedy of what the script for the application's owner does. */
export const BY_OWNER = "the application's owner runs the SQL below (`keyrow adopt --sql before`)";

/** The search path of a request. */
export const USUAL_PATH = "pg_catalog, public, pg_temp";

/** The table of a name; undefined where it is missing, or is no table. */
export function tableOf({ tables }: Facts, name: string): Table | undefined {
  return tables.find((one) => one.name === name && one.ordinary);
}

/** The column of a table; undefined where either is missing. */
export function columnOf(facts: Facts, table: string, column: string): Column | undefined {
  return tableOf(facts, table)?.columns.find(({ name }) => name === column);
}

/**
 * A name as SQL takes it, quoted unless it is one that can be no keyword: psql and the server both read to the closing
 * quote. What can't be printed is written by its number, so that no line is another than it looks.
 */
export function identifier(name: string): string {
  const plain = /^(id|public|action|details|(?!current_|session_|system_)[a-z]+(_[a-z0-9]+)+)$/.test(name);
  if (plain) return name;
  if (isPrintable(name)) return pg.escapeIdentifier(name);
  const numbered = rewritten(name.replaceAll("\\", "\\\\"), (one) => `\\+${one.toString(16).padStart(6, "0")}`);
  return `U&${pg.escapeIdentifier(numbered)}`;
}

/**
 * A script as psql takes it. In an encoding such as SJIS, the last byte of a name would take the quote after it, and psql
 * would go on where the name goes on: so the encoding comes first.
 */
export const inUtf8 = (script: string) => `set client_encoding = 'UTF8';\n${script}`;

/** Text as an SQL literal. */
export const literal = pg.escapeLiteral;

/** Names from the database for a comment or a terminal: nothing in them may end the one or steer the other. */
export function shown(names: string | readonly string[], most = 20): string {
  const list = [names].flat().map((name) => printable(name).replaceAll("*/", "?"));
  return firstOf(list, most);
}
