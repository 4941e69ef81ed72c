import {
  type DocumentNode,
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLSchema,
  getNullableType,
  isInputObjectType,
  isLeafType,
  isListType,
  Kind,
  typeFromAST,
} from "postgraphile/graphql";
import { KeyrowError } from "./errors.ts";
import { MAX_ENTRIES, MAX_JSON_DEPTH } from "./limits.ts";
import { entriesOfText, type InputMeasure } from "./measure.ts";

type Variables = Readonly<Record<string, unknown>> | null | undefined;
type Types = ReadonlyMap<string, GraphQLInputType | undefined>;

/**
 * Makes the count of a valid document's input, by its variables: how many entries they and the literals have, each
 * counted as often as it is used, for each may become a condition of a query. A scalar is no condition but a text, even
 * where it is a tree of JSON, and counts as one; so does an object of nothing but scalars, such as a credential to set,
 * for filters hold lists or objects. The count throws LIMIT_EXCEEDED where there are too many, or where a
 * variable is nested too deeply, and VALIDATION where one has a number that JavaScript does not.
 */
export function inputCounter(
  schema: GraphQLSchema,
  document: DocumentNode,
  { entries, uses }: InputMeasure,
  maxDepth: number,
): (variables: Variables) => number {
  const types = typesOf(schema, document);
  return (variables) => {
    let total = entries;
    for (const [name, value] of Object.entries(variables ?? {})) {
      total += entriesOf(value, types.get(name), maxDepth) * (uses.get(name) ?? 1);
      if (total > MAX_ENTRIES) throw tooMany();
    }
    if (total > MAX_ENTRIES) throw tooMany();
    return total;
  };
}

/** What the document's variables are. Where operations give one name several types, it is nothing in particular. */
function typesOf(schema: GraphQLSchema, { definitions }: DocumentNode): Types {
  const types = new Map<string, GraphQLInputType | undefined>();
  for (const one of definitions) {
    if (one.kind !== Kind.OPERATION_DEFINITION) continue;
    for (const { variable, type: node } of one.variableDefinitions ?? []) {
      const type = typeFromAST(schema, node as never) as GraphQLInputType | undefined;
      const name = variable.name.value;
      types.set(name, types.has(name) && String(types.get(name)) !== String(type) ? undefined : type);
    }
  }
  return types;
}

/** The entries of a variable, itself and nested ones counted. */
function entriesOf(variable: unknown, variableType: GraphQLInputType | undefined, maxDepth: number): number {
  let entries = 0;
  const waiting: Array<[value: unknown, type: GraphQLInputType | undefined, depth: number]> = [
    [variable, variableType, 0],
  ];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [value, given, depth] = next;
    const type = given && getNullableType(given);
    if (typeof value !== "object" || value === null || isLeafType(type)) {
      entries += entriesOfScalar(value);
      continue;
    }
    entries += 1;
    if (depth === maxDepth) throw tooDeep(maxDepth);
    const inner = Object.entries(value);
    if (isFlat(type) && inner.length <= Object.keys(type.getFields()).length) {
      for (const [, one] of inner) entries += entriesOfScalar(one) - 1;
      continue;
    }
    if (entries + inner.length > MAX_ENTRIES) throw tooMany();
    for (const [name, one] of inner) waiting.push([one, innerType(type, name), depth + 1]);
  }
  return entries;
}

/** Whether a type is an input object whose fields are scalars or enums, one and all. */
export function isFlat(type: GraphQLInputType | undefined): type is GraphQLInputObjectType {
  return (
    isInputObjectType(type) && Object.values(type.getFields()).every((field) => isLeafType(getNullableType(field.type)))
  );
}

function innerType(type: GraphQLInputType | undefined, name: string): GraphQLInputType | undefined {
  if (isListType(type)) return type.ofType;
  return isInputObjectType(type) ? type.getFields()[name]?.type : undefined;
}

/** The entries of a scalar: those of a text as long as its texts, names and numbers of things together. */
function entriesOfScalar(scalar: unknown): number {
  if (typeof scalar === "string") return entriesOfText(scalar.length);
  let characters = 0;
  const waiting: Array<[value: unknown, depth: number]> = [[scalar, 0]];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const [value, depth] = next;
    characters += typeof value === "string" ? value.length : 1;
    // Read as infinite, it would be written as null.
    if (typeof value === "number" && !Number.isFinite(value)) throw beyondNumbers();
    if (typeof value !== "object" || value === null) continue;
    if (depth === MAX_JSON_DEPTH) throw tooDeep(MAX_JSON_DEPTH);
    for (const [name, one] of Object.entries(value)) {
      if (!Array.isArray(value)) characters += name.length;
      waiting.push([one, depth + 1]);
    }
  }
  return entriesOfText(characters);
}

function beyondNumbers(): KeyrowError {
  return new KeyrowError("VALIDATION", {
    message: "A variable has a number beyond those of double precision.",
    hint: "give it as a text",
  });
}

function tooDeep(levels: number): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", { message: `A variable is deeper than ${levels} levels.` });
}

function tooMany(): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", {
    message: `Variables and literals are over the limit of ${MAX_ENTRIES} entries, each counted as often as it is used.`,
    hint: "send it in parts",
  });
}
