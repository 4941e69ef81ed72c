import type { Context } from "../../src/cipher/context.ts";

/** A term of the context: a column, or a column whose value says which other column counts, if any. */
export interface ContextTerm {
  readonly column: string;
  readonly choices?: ReadonlyMap<string, string | undefined>;
}

/** Where a column's value comes from on insert when the input has none. */
export type InsertDefault = { readonly literal: string } | { readonly setting: string };

/** What the smart tag `@encrypted` says of a column. */
export interface EncryptedTag {
  /** The virtual GraphQL field that takes and gives the value. */
  readonly field: string;
  /** The column for what may be shown of the value. */
  readonly mask: string | undefined;
  /** The column for the id of the key. */
  readonly key: string;
  readonly context: readonly ContextTerm[];
  /** The function that records and returns ciphertexts: schema and name. */
  readonly reveal: readonly [schema: string, name: string];
  readonly insert: ReadonlyMap<string, InsertDefault>;
}

const syntax =
  "@encrypted <field> key:<column> reveal:<schema>.<function> [mask:<column>] [context:<column>,<column>(<VALUE>=<column>,<VALUE>)] [insert:<column>=<literal or $setting>]";

/** Reads the text of an `@encrypted` tag; throws an Error that names the part it can't read. */
export function parseTag(text: string): EncryptedTag {
  const [field, ...rest] = text.trim().split(/\s+/);
  const args = new Map(rest.map((arg) => splitOnce(arg, ":")));
  const unknown = [...args.keys()].filter((name) => !["key", "reveal", "mask", "context", "insert"].includes(name));
  const key = args.get("key");
  const [schema, name, ...more] = args.get("reveal")?.split(".") ?? [];
  if (!field || !/^[_a-zA-Z]\w*$/.test(field) || unknown.length > 0 || !key || !schema || !name || more.length > 0) {
    throw new Error(`can't read the tag "@encrypted ${text}"; its form is: ${syntax}`);
  }
  return {
    field,
    key,
    mask: args.get("mask"),
    reveal: [schema, name],
    context: splitTop(args.get("context")).map(parseTerm),
    insert: new Map(
      splitTop(args.get("insert")).map((pair) => {
        const [column, value] = splitOnce(pair, "=");
        return [column, value.startsWith("$") ? { setting: value.slice(1) } : { literal: value }];
      }),
    ),
  };
}

/** The columns that the context is made of. */
export function contextColumns(tag: EncryptedTag): string[] {
  const named = tag.context.flatMap((term) => [term.column, ...(term.choices?.values() ?? [])]);
  return [...new Set(named.filter((column) => column !== undefined))];
}

/** The context of a row: table, column and id, then the tag's terms; a choice adds the chosen column's value or null. */
export function contextOf(
  tag: EncryptedTag,
  place: { readonly table: string; readonly column: string; readonly id: string },
  row: Readonly<Record<string, string | null>>,
): Context {
  const terms = tag.context.flatMap(({ column, choices }) => {
    const value = row[column] ?? null;
    if (choices === undefined) return [value];
    // A value that the tag doesn't know would be bound to nothing.
    if (value === null || !choices.has(value)) throw new Error(`the tag has no choice for this value of ${column}`);
    const chosen = choices.get(value);
    return [value, chosen === undefined ? null : (row[chosen] ?? null)];
  });
  return [place.table, place.column, place.id, ...terms];
}

function parseTerm(text: string): ContextTerm {
  const choice = /^(\w+)\((.+)\)$/.exec(text);
  if (choice === null) return { column: text };
  const [, column = "", list = ""] = choice;
  const choices = list.split(",").map((pair) => splitOnce(pair, "="));
  return { column, choices: new Map(choices.map(([value, chosen]) => [value, chosen || undefined])) };
}

/** Splits at the commas that stand outside brackets. */
function splitTop(text = ""): string[] {
  return text === "" ? [] : text.split(/,(?![^(]*\))/);
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}
