import { type DocumentNode, Kind, parse, type SelectionSetNode } from "postgraphile/graphql";
import { KeyrowError } from "./errors.ts";
import { documentLimits } from "./limits.ts";

/** The size of a document: fields and aliases of all its operations, fragments counted where they are spread. */
export interface Measure {
  readonly fields: number;
  readonly aliases: number;
  readonly depth: number;
}

// Documents repeat: those that passed once need not be read again.
const MAX_KEPT = 500;
const passed = new Set<string>();

/**
 * Refuses a document that is larger than it may be, before it is validated or planned: a kilobyte of fragments that
 * spread each other can stand for millions of fields. Throws LIMIT_EXCEEDED; what is no GraphQL is left to the parser.
 */
export function checkDocument(query: string): void {
  if (passed.has(query)) return;
  if (query.length > documentLimits.length) throw exceeded("characters", documentLimits.length);
  const document = parseLimited(query);
  if (document === undefined) return;
  const measure = measureDocument(document);
  for (const what of ["depth", "fields", "aliases"] as const) {
    if (measure[what] > documentLimits[what]) throw exceeded(what, documentLimits[what]);
  }
  if (passed.size >= MAX_KEPT) passed.clear();
  passed.add(query);
}

function parseLimited(query: string): DocumentNode | undefined {
  try {
    return parse(query, { noLocation: true, maxTokens: documentLimits.tokens });
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    if (/contains more tha[nt] \d+ tokens/.test(message)) throw exceeded("tokens", documentLimits.tokens);
    return undefined;
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
