import type { WithPgClient } from "postgraphile/@dataplan/pg";
import { flagError } from "postgraphile/grafast";
import { sql } from "postgraphile/pg-sql2";
import type { Bound } from "../../src/cipher/cipher.ts";
import type { Context } from "../../src/cipher/context.ts";
import { catalogue, type ErrorCode, KeyrowError } from "../../src/errors.ts";
import type { EncryptedColumn } from "./column.ts";
import type { EncryptedColumnsOptions, RevealedRow, Settings } from "./options.ts";
import { forRequest } from "./patience.ts";
import { contextOf } from "./tag.ts";

/** What PostGraphile's executor knows of a request. */
export interface RequestContext {
  readonly pgSettings: Settings | null;
  readonly withPgClient: WithPgClient;
}

/** What a request has asked for and got so far. */
interface Spent {
  /** Values asked for. */
  count: number;
  /** Bytes of values opened. */
  bytes: number;
  /** Its last step: how much room is left is known when that is over. */
  last: Promise<unknown>;
}

// By request: its settings are one object from first to last.
const spentBy = new WeakMap<object, Spent>();

/**
 * Makes the loader of a column's values: ids in, values or errors out, in order. All ids of a call are one call of the
 * reveal function, whose transaction is committed before anything is opened, and one call of the cipher.
 */
export function revealLoader(encrypted: EncryptedColumn, options: EncryptedColumnsOptions) {
  return async function reveal(ids: readonly string[], { shared: context }: { shared: RequestContext }) {
    const settings = context.pgSettings ?? {};
    const spent = spentBy.get(settings) ?? { count: 0, bytes: 0, last: Promise.resolve() };
    spentBy.set(settings, spent);
    if (spent.count + ids.length > options.maxReveals) {
      throw new KeyrowError("LIMIT_EXCEEDED", {
        message: `A request may reveal at most ${options.maxReveals} values.`,
        hint: "ask for fewer at once, page by page",
      });
    }
    spent.count += ids.length;
    const before = spent.last;
    const opening = before.then(async () => {
      const room = Math.max(0, Math.floor(options.maxCiphertext(settings, ids.length, spent.bytes)));
      const rows = await recorded(encrypted, ids, room, context);
      const opened = await openAll(encrypted, [...rows.values()], settings, forRequest(options, context.pgSettings));
      for (const value of opened.values()) if (typeof value === "string") spent.bytes += Buffer.byteLength(value);
      return opened;
    });
    spent.last = opening.catch(() => undefined);
    const opened = await opening;
    const missing = ids.filter((id) => !opened.has(id));
    const visible = missing.length === 0 ? new Set<string>() : await visibleIds(encrypted, missing, context);
    // A flagged error is the error of its field alone.
    return ids.map((id): string => {
      const code: ErrorCode = visible.has(id) ? "FORBIDDEN" : "NOT_FOUND";
      const outcome = opened.get(id) ?? new KeyrowError(code);
      return typeof outcome === "string" ? outcome : (flagError(outcome) as unknown as string);
    });
  };
}

/** Calls the reveal function; returns after its transaction is committed. Rows that were not asked for are left out. */
async function recorded(
  { tag }: EncryptedColumn,
  ids: readonly string[],
  room: number,
  { pgSettings, withPgClient }: RequestContext,
): Promise<Map<string, RevealedRow>> {
  const { text } = sql.compile(sql`select * from ${sql.identifier(...tag.reveal)}($1, $2)`);
  const call = withPgClient(pgSettings, (client) =>
    client.query<RevealedRow>({ text, values: [ids, room], name: `reveal ${tag.reveal.join(".")}` }),
  );
  const { rows } = await call.catch((cause) => {
    // Policies hide rows, and raise nothing: what is not permitted here is the record, and that is no caller's fault.
    throw (cause as { code?: unknown }).code === "42501" ? new KeyrowError("INTERNAL", { cause }) : cause;
  });
  const wanted = new Set(ids);
  return new Map(rows.filter((row) => wanted.has(row.id)).map((row) => [row.id, row]));
}

/** Which of the rows the caller can see, though their values were not revealed. */
async function visibleIds(
  { from, primaryKey, types }: EncryptedColumn,
  ids: readonly string[],
  { pgSettings, withPgClient }: RequestContext,
): Promise<Set<string>> {
  const key = sql.identifier(primaryKey);
  const type = types.get(primaryKey) ?? sql`text`;
  const { text } = sql.compile(sql`select ${key}::text as id from ${from} where ${key} = any ($1::${type}[])`);
  const { rows } = await withPgClient(pgSettings, (client) => client.query<{ id: string }>({ text, values: [ids] }));
  return new Set(rows.map((row) => row.id));
}

async function openAll(
  { tag, table, column }: EncryptedColumn,
  rows: readonly RevealedRow[],
  settings: Settings,
  options: EncryptedColumnsOptions,
): Promise<Map<string, string | KeyrowError>> {
  const outcomes = new Map<string, string | KeyrowError>();
  const open: Array<Bound & { readonly id: string }> = [];
  for (const row of rows) {
    const context = row.recorded && options.mayOpen(row, settings) ? contextIn(row) : undefined;
    if (row.refusal !== null) outcomes.set(row.id, refusalOf(row.refusal));
    else if (context === undefined) outcomes.set(row.id, new KeyrowError("CANNOT_OPEN"));
    else open.push({ id: row.id, context, encrypted: String(row[column]), keyId: String(row[tag.key]) });
  }
  if (open.length === 0) return outcomes;
  const values = await options.cipher.open(open);
  for (const [index, { id }] of open.entries()) outcomes.set(id, values[index] ?? new KeyrowError("CANNOT_OPEN"));
  options.onRevealed(open.map(({ id }) => id).filter((id) => typeof outcomes.get(id) === "string"));
  return outcomes;

  function contextIn(row: RevealedRow): Context | undefined {
    try {
      return contextOf(tag, { table, column, id: row.id }, row as unknown as Record<string, string | null>);
    } catch {
      // A row that the tag can't read is that row's failure alone.
      return undefined;
    }
  }
}

/** A refusal as the catalogue has it; one that it doesn't have tells nothing. */
function refusalOf(refusal: string): KeyrowError {
  if (refusal === "LIMIT_EXCEEDED") {
    return new KeyrowError(refusal, {
      message: "The values are too large for one answer. None of them was revealed.",
      hint: "ask for fewer at once, page by page",
    });
  }
  return new KeyrowError(Object.hasOwn(catalogue, refusal) ? (refusal as ErrorCode) : "CANNOT_OPEN");
}
