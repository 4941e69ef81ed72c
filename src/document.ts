import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  NoSchemaIntrospectionCustomRule,
  parse,
  specifiedRules,
  validate,
} from "postgraphile/graphql";
import { cellCounter } from "./cells.ts";
import { KeyrowError } from "./errors.ts";
import { type DocumentLimits, documentCache, ENTRY_CELLS, FIELD_CELLS, type Limits, MAX_TOKENS } from "./limits.ts";
import { type Measure, measureDocument } from "./measure.ts";
import { inputCounter } from "./variables.ts";

/** A document that may be executed, or why it may not. */
export type Prepared =
  | { readonly document: DocumentNode; readonly check: Check; readonly errors?: undefined }
  | { readonly document?: undefined; readonly check?: undefined; readonly errors: readonly GraphQLError[] };

/** How much work is asked for, in cells; throws LIMIT_EXCEEDED where variables, as the document uses them, ask for too much. */
export type Check = (variables: Variables) => number;

type Variables = Readonly<Record<string, unknown>> | null | undefined;

/** What documents may be. */
export interface PreparerOptions {
  readonly limits: Pick<Limits, "document" | "page">;
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

function prepare(schema: GraphQLSchema, query: string, options: PreparerOptions): Prepared {
  const { document: limits, page } = options.limits;
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
  const measure = checkSize(document, limits);
  const rules = options.introspection ? specifiedRules : [...specifiedRules, NoSchemaIntrospectionCustomRule];
  const errors = validate(schema, document, rules, { hideSuggestions: !options.introspection });
  if (errors.length > 0) return { errors };
  const countEntries = inputCounter(schema, document, measure.input, limits.depth);
  const countCells = cellCounter(schema, document, page);
  return {
    document,
    check(variables) {
      const entries = countEntries(variables);
      const cells = countCells(variables);
      if (cells > limits.cells) throw tooManyCells(limits.cells);
      return cells + entries * ENTRY_CELLS + measure.fields * FIELD_CELLS;
    },
  };
}

/** Measures a document, and refuses one of too many fields or aliases, or one that is too deep, or a literal in it. */
function checkSize(document: DocumentNode, limits: DocumentLimits): Measure {
  const measure = measureDocument(document);
  for (const what of ["depth", "fields", "aliases"] as const) {
    if (measure[what] > limits[what]) throw exceeded(what, limits[what]);
  }
  if (measure.input.depth > limits.depth) throw exceeded("depth", limits.depth);
  return measure;
}

function tooManyCells(limit: number): KeyrowError {
  return new KeyrowError("LIMIT_EXCEEDED", {
    message: `The document asks for more than ${limit} cells: rows and their fields, a page for each row of a page.`,
    hint: "say with `first` how many rows the lists have",
  });
}

function exceeded(what: string, limit: number): KeyrowError {
  const counted = what === "depth" ? `deeper than ${limit} levels` : `over the limit of ${limit} ${what}`;
  return new KeyrowError("LIMIT_EXCEEDED", { message: `The document is ${counted}.` });
}
