import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  Kind,
  NoSchemaIntrospectionCustomRule,
  parse,
  type SelectionSetNode,
  specifiedRules,
  validate,
} from "postgraphile/graphql";
import { KeyrowError } from "./errors.ts";
import { type DocumentLimits, documentCache, MAX_TOKENS, MAX_VARIABLE_ENTRIES } from "./limits.ts";

/** The size of a document: fields and aliases of all its operations, fragments counted where they are spread. */
export interface Measure {
  readonly fields: number;
  readonly aliases: number;
  readonly depth: number;
}

/** A document that may be executed, or why it may not. */
export type Prepared =
  | { readonly document: DocumentNode; readonly errors?: undefined }
  | { readonly document?: undefined; readonly errors: readonly GraphQLError[] };

/** What documents may be. */
export interface PreparerOptions {
  readonly limits: DocumentLimits;
  /** Whether a document may ask for the schema, and an error suggest names of it. */
  readonly introspection: boolean;
}

/**
 * Makes the preparation of documents: parse, measure, validate. A kilobyte of fragments that spread each other can stand
 * for millions of fields, so a document that is larger than it may be is refused before it is validated or planned:
 * throws LIMIT_EXCEEDED. Small documents are kept, for they repeat; of large ones a few would fill the memory.
 */
export function createPreparer(options: PreparerOptions): (schema: GraphQLSchema, query: string) => Prepared {
  let of: GraphQLSchema | undefined;
  const kept = new Map<string, Prepared>();
  return (schema, query) => {
    // While the schema is followed, it changes.
    if (of !== schema) kept.clear();
    of = schema;
    const known = kept.get(query);
    if (known !== undefined) return known;
    const prepared = prepare(schema, query, options);
    if (query.length <= documentCache.characters) {
      if (kept.size >= documentCache.documents) kept.delete(kept.keys().next().value as string);
      kept.set(query, prepared);
    }
    return prepared;
  };
}

function prepare(schema: GraphQLSchema, query: string, { limits, introspection }: PreparerOptions): Prepared {
  if (query.length > limits.characters) throw exceeded("characters", limits.characters);
  let document: DocumentNode;
  try {
    // Without locations a plan that is kept holds on to no token: comments are tokens, too, and no limit counts them.
    const noLocation = query.length > documentCache.characters;
    document = parse(query, { maxTokens: MAX_TOKENS, noLocation });
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    if (/contains more tha[nt] \d+ tokens/.test(error.message)) throw exceeded("tokens", MAX_TOKENS);
    return { errors: [error] };
  }
  checkSize(document, limits);
  const rules = introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  const errors = validate(schema, document, rules, { hideSuggestions: !introspection });
  return errors.length > 0 ? { errors } : { document };
}

/** Refuses a document of too many fields or aliases, or too deep a one. */
function checkSize(document: DocumentNode, limits: DocumentLimits): void {
  const measure = measureDocument(document);
  for (const what of ["depth", "fields", "aliases"] as const) {
    if (measure[what] > limits[what]) throw exceeded(what, limits[what]);
  }
}

/** Refuses variables of too many entries, nested ones counted: each may become a condition of a query. */
export function checkVariables(variables: unknown): void {
  const waiting = [variables];
  for (let entries = 0; waiting.length > 0; ) {
    const value = waiting.pop();
    if (typeof value !== "object" || value === null) continue;
    const inner = Object.values(value);
    entries += inner.length;
    if (entries > MAX_VARIABLE_ENTRIES) {
      throw new KeyrowError("LIMIT_EXCEEDED", {
        message: `The variables are over the limit of ${MAX_VARIABLE_ENTRIES} entries.`,
      });
    }
    waiting.push(...inner);
  }
}

function exceeded(what: string, limit: number): KeyrowError {
  const counted = what === "depth" ? `deeper than ${limit} levels` : `over the limit of ${limit} ${what}`;
  return new KeyrowError("LIMIT_EXCEEDED", { message: `The document is ${counted}.` });
}

/** Measures a document, each fragment once. A fragment that spreads itself counts as empty: validation refuses it. */
export function measureDocument({ definitions }: DocumentNode): Measure {
  const bodies = new Map<string, SelectionSetNode>();
  for (const one of definitions) {
    if (one.kind === Kind.FRAGMENT_DEFINITION) bodies.set(one.name.value, one.selectionSet);
  }
  const measured = new Map<string, Measure>();
  const nothing: Measure = { fields: 0, aliases: 0, depth: 0 };

  function ofFragment(name: string): Measure {
    const known = measured.get(name);
    if (known !== undefined) return known;
    measured.set(name, nothing);
    const result = ofSelections(bodies.get(name));
    measured.set(name, result);
    return result;
  }

  function ofSelections(set: SelectionSetNode | undefined): Measure {
    let { fields, aliases, depth } = nothing;
    for (const one of set?.selections ?? []) {
      const isField = one.kind === Kind.FIELD;
      const inner = one.kind === Kind.FRAGMENT_SPREAD ? ofFragment(one.name.value) : ofSelections(one.selectionSet);
      fields += inner.fields + (isField ? 1 : 0);
      aliases += inner.aliases + (isField && one.alias !== undefined ? 1 : 0);
      depth = Math.max(depth, inner.depth + (isField ? 1 : 0));
    }
    return { fields, aliases, depth };
  }

  const operations = definitions.map((one) =>
    one.kind === Kind.OPERATION_DEFINITION ? ofSelections(one.selectionSet) : nothing,
  );
  return {
    fields: operations.reduce((sum, one) => sum + one.fields, 0),
    aliases: operations.reduce((sum, one) => sum + one.aliases, 0),
    depth: Math.max(0, ...operations.map((one) => one.depth)),
  };
}
