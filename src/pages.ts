import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionSetNode,
  type ValueNode,
} from "postgraphile/graphql";

/** A list of a document: what its page is given, and the lists in each of its rows. */
interface Page {
  readonly first: ValueNode | undefined;
  readonly last: ValueNode | undefined;
  readonly inside: readonly Page[];
}

/** The lists of an operation, and what its variables are by default. */
interface Pages {
  readonly pages: readonly Page[];
  readonly defaults: ReadonlyMap<string, ValueNode>;
}

/** Rows of a list where nobody says, and at most. */
export interface PageSizes {
  readonly standard: number;
  readonly most: number;
}

/**
 * Counts the rows that a valid document asks for, by its variables: each list a page, and one in another list a page for
 * each of its rows. Of several operations the dearest counts.
 */
export function rowCounter(
  schema: GraphQLSchema,
  document: DocumentNode,
  sizes: PageSizes,
): (variables: Readonly<Record<string, unknown>> | null | undefined) => number {
  const operations = document.definitions.filter((one) => one.kind === Kind.OPERATION_DEFINITION);
  const known = operations.map((operation) => pagesOf(schema, document, operation));
  return (variables) =>
    Math.max(0, ...known.map(({ pages, defaults }) => rows(pages, (node) => size(node, variables ?? {}, defaults))));

  function rows(pages: readonly Page[], sizeOf: (node: ValueNode | undefined) => number | undefined): number {
    return pages.reduce((sum, { first, last, inside }) => {
      const asked = sizeOf(last) ?? sizeOf(first) ?? sizes.standard;
      // A page that can't be is refused where it is planned, with its own reason.
      return sum + Math.min(Math.max(asked, 0), sizes.most) * (1 + rows(inside, sizeOf));
    }, 0);
  }
}

function size(
  node: ValueNode | undefined,
  variables: Readonly<Record<string, unknown>>,
  defaults: Pages["defaults"],
): number | undefined {
  if (node?.kind === Kind.INT) return Number(node.value);
  if (node?.kind !== Kind.VARIABLE) return undefined;
  const name = node.name.value;
  const given = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (given === undefined) return size(defaults.get(name), {}, defaults);
  return typeof given === "number" ? given : undefined;
}

function pagesOf(schema: GraphQLSchema, { definitions }: DocumentNode, operation: OperationDefinitionNode): Pages {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const one of definitions) if (one.kind === Kind.FRAGMENT_DEFINITION) fragments.set(one.name.value, one);

  function inSelections(type: GraphQLNamedType | undefined, set: SelectionSetNode | undefined): Page[] {
    return (set?.selections ?? []).flatMap((one) => {
      if (one.kind === Kind.FRAGMENT_SPREAD) {
        const { typeCondition, selectionSet } = fragments.get(one.name.value) as FragmentDefinitionNode;
        return inSelections(schema.getType(typeCondition.name.value), selectionSet);
      }
      if (one.kind === Kind.INLINE_FRAGMENT) {
        const narrower = one.typeCondition && schema.getType(one.typeCondition.name.value);
        return inSelections(narrower ?? type, one.selectionSet);
      }
      const field = isObjectType(type) ? type.getFields()[one.name.value] : undefined;
      const inside = inSelections(field && getNamedType(field.type), one.selectionSet);
      if (!field?.args.some(({ name }) => name === "first")) return inside;
      const given = (name: string) => one.arguments?.find((argument) => argument.name.value === name)?.value;
      return [{ first: given("first"), last: given("last"), inside }];
    });
  }

  const pages = inSelections(schema.getRootType(operation.operation) ?? undefined, operation.selectionSet);
  const defaults = new Map<string, ValueNode>();
  for (const { variable, defaultValue } of operation.variableDefinitions ?? []) {
    if (defaultValue !== undefined) defaults.set(variable.name.value, defaultValue);
  }
  return { pages, defaults };
}
