import type {} from "postgraphile";
import type { PgCodecWithAttributes, PgResource } from "postgraphile/@dataplan/pg";
import type { SQL } from "postgraphile/pg-sql2";
import { contextColumns, type EncryptedTag, parseTag } from "./tag.ts";

/** A column with the tag `@encrypted`, and what is known of its table. */
export interface EncryptedColumn {
  readonly tag: EncryptedTag;
  readonly column: string;
  /** Schema and name, as the context has them: `public.user_credentials`. */
  readonly table: string;
  /** The column of the primary key, a UUID. */
  readonly primaryKey: string;
  readonly from: SQL;
  /** The SQL type of each column. */
  readonly types: ReadonlyMap<string, SQL>;
}

/** The encrypted columns of a codec; throws where a tag can't be read or names what the table doesn't have. */
export function encryptedColumns(codec: PgCodecWithAttributes, resource: PgResource | undefined): EncryptedColumn[] {
  return Object.entries(codec.attributes).flatMap(([column, attribute]) => {
    const tag = tagOf(attribute);
    if (tag === undefined) return [];
    const { schemaName, name } = codec.extensions?.pg ?? {};
    const primary = resource?.uniques.find((unique) => unique.isPrimary);
    const [primaryKey, ...more] = primary?.attributes ?? [];
    if (resource === undefined || primaryKey === undefined || more.length > 0) {
      throw new Error(`${schemaName}.${name} needs a primary key of one column to have an @encrypted one`);
    }
    for (const named of columnsOf(tag)) {
      if (!(named in codec.attributes))
        throw new Error(`@encrypted on ${schemaName}.${name} names no column: ${named}`);
    }
    if (typeof resource.from === "function") throw new Error(`${schemaName}.${name} is a function, not a table`);
    const types = new Map(Object.entries(codec.attributes).map(([name, { codec }]) => [name, codec.sqlType]));
    return [{ tag, column, table: `${schemaName}.${name}`, primaryKey, from: resource.from, types }];
  });
}

/** The tag of a column, if it has one; throws where it is not one text, for then the column would be an ordinary one. */
export function tagOf({ extensions }: PgCodecWithAttributes["attributes"][string]): EncryptedTag | undefined {
  const text = extensions?.tags?.encrypted as unknown;
  if (text === undefined) return undefined;
  return parseTag(typeof text === "string" ? text : "");
}

function columnsOf(tag: EncryptedTag): string[] {
  const named = [tag.key, tag.mask, ...contextColumns(tag), ...tag.insert.keys()];
  return named.filter((column) => column !== undefined);
}
