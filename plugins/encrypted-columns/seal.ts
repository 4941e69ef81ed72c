import { sql } from "postgraphile/pg-sql2";
import { KeyrowError } from "../../src/errors.ts";
import type { EncryptedColumn } from "./column.ts";
import type { EncryptedColumnsOptions, Settings } from "./options.ts";
import type { RequestContext } from "./reveal.ts";
import { contextColumns, contextOf } from "./tag.ts";

/** Column names and what to set them to. */
export type Columns = Record<string, string | null>;

/** The part of the column that sealing needs. */
export type Place = Pick<EncryptedColumn, "tag" | "table" | "column">;

/** A value for a row: its id, and the context's columns as text. */
export interface ToSeal {
  readonly id: string;
  readonly row: Readonly<Columns>;
  readonly value: unknown;
}

type Sealing = Pick<EncryptedColumnsOptions, "cipher" | "mask" | "maxBytes">;

/** Seals values for their rows in one batch: what to set ciphertext, key and mask of each to, in order. */
export async function sealAll(
  { tag, table, column }: Place,
  items: readonly ToSeal[],
  options: Sealing,
): Promise<Columns[]> {
  const plain = items.map(({ value }, index) => {
    const which = items.length === 1 ? `"${tag.field}"` : `"${tag.field}" (${index + 1} of ${items.length})`;
    return checkedValue(value, which, options.maxBytes);
  });
  const sealed = await options.cipher.seal(
    items.map(({ id, row }, index) => ({
      context: contextOf(tag, { table, column, id }, row),
      value: plain[index] as string,
    })),
  );
  return plain.map((value, index) => {
    const one = sealed[index];
    if (one === undefined) throw new KeyrowError("CIPHER_UNAVAILABLE");
    return {
      [column]: one.encrypted,
      [tag.key]: one.keyId,
      ...(tag.mask !== undefined && { [tag.mask]: options.mask(value) }),
    };
  });
}

/** Seals a value for one row, as `sealAll` does. */
export async function sealFor(
  place: Place,
  id: string,
  row: Readonly<Columns>,
  value: unknown,
  options: Sealing,
): Promise<Columns> {
  const [columns = {}] = await sealAll(place, [{ id, row, value }], options);
  return columns;
}

/** The context's columns of a row to be: what the input has, else what the tag says, else null. */
export function rowToInsert({ tag }: Place, input: Readonly<Record<string, unknown>>, settings: Settings): Columns {
  const columns = new Set([...contextColumns(tag), ...tag.insert.keys()]);
  return Object.fromEntries(
    [...columns].map((column) => {
      const given = input[column];
      const otherwise = tag.insert.get(column);
      if (given != null) return [column, String(given)];
      if (otherwise === undefined) return [column, null];
      return [column, "literal" in otherwise ? otherwise.literal : (settings[otherwise.setting] ?? null)];
    }),
  );
}

/** Refuses what can't be a value, without repeating it. Unpaired surrogates would not come back as they went in. */
function checkedValue(value: unknown, which: string, maxBytes: number): string {
  if (typeof value !== "string") {
    throw new KeyrowError("VALIDATION", { message: `${which} can't be null. Leave it out to keep what is there.` });
  }
  if (!value.isWellFormed()) {
    throw new KeyrowError("VALIDATION", { message: `${which} holds an unpaired surrogate, which is no text.` });
  }
  if (Buffer.byteLength(value) > maxBytes) {
    throw new KeyrowError("LIMIT_EXCEEDED", { message: `${which} is over the limit of ${maxBytes} bytes (UTF-8).` });
  }
  return value;
}

/** Reads the context's columns of a row as the caller sees it, by the columns that identify it; NOT_FOUND otherwise. */
export async function readContextRow(
  { tag, from, primaryKey, types }: EncryptedColumn,
  key: Readonly<Record<string, unknown>>,
  { pgSettings, withPgClient }: RequestContext,
): Promise<{ id: string; row: Columns }> {
  const given = Object.values(key);
  if (given.length === 0 || given.some((value) => value == null)) throw new KeyrowError("NOT_FOUND");
  const columns = [...new Set([primaryKey, ...contextColumns(tag)])];
  const selected = columns.map((column) => sql`${sql.identifier(column)}::text`);
  const wanted = Object.entries(key).map(
    ([column, value]) =>
      sql`${sql.identifier(column)} = ${sql.value(String(value))}::${types.get(column) ?? sql`text`}`,
  );
  const query = sql`select ${sql.join(selected, ", ")} from ${from} where ${sql.join(wanted, " and ")}`;
  const { rows } = await withPgClient(pgSettings, (client) => client.query<Columns>(sql.compile(query)));
  const [row] = rows;
  const id = row?.[primaryKey];
  if (row === undefined || id == null) throw new KeyrowError("NOT_FOUND");
  return { id, row };
}

/** Columns as PostGraphile's insert and update take them: a callback on the query's builder. */
export function setAll(columns: Columns): (builder: { set(column: string, value: string | null): void }) => void {
  return (builder) => {
    for (const [column, value] of Object.entries(columns)) builder.set(column, value);
  };
}
