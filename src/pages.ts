import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
  type ValueNode,
} from "postgraphile/graphql";

/** What counts of each row: its large fields, and the lists in it. */
interface Row {
  readonly large: number;
  readonly lists: readonly List[];
}

interface List {
  readonly first: ValueNode | undefined;
  readonly last: ValueNode | undefined;
  readonly row: Row;
}

/** An operation as a row, and what its variables are by default. */
interface Operation {
  readonly row: Row;
  readonly defaults: ReadonlyMap<string, ValueNode>;
}

/** Rows of a list where nobody says, and at most. */
export interface PageSizes {
  readonly standard: number;
  readonly most: number;
}

/**
 * Counts the rows that a valid document asks for, by its variables: each list a page, and one in another list a page for
 * each of its rows; a field with the extension `countsAsRows` as so many rows of its own. Of several operations the
 * dearest counts.
 */
export function rowCounter(
  schema: GraphQLSchema,
  document: DocumentNode,
  sizes: PageSizes,
): (variables: Readonly<Record<string, unknown>> | null | undefined) => number {
  const operations = document.definitions.filter((one) => one.kind === Kind.OPERATION_DEFINITION);
  const known = operations.map((operation) => readOperation(schema, document, operation));
  return (variables) =>
    Math.max(0, ...known.map(({ row, defaults }) => rowsIn(row, (node) => size(node, variables ?? {}, defaults))));

  function rowsIn({ large, lists }: Row, sizeOf: (node: ValueNode | undefined) => number | undefined): number {
    return lists.reduce((sum, { first, last, row }) => {
      const asked = sizeOf(last) ?? sizeOf(first) ?? sizes.standard;
      // A page that can't be is refused where it is planned, with its own reason.
      return sum + Math.min(Math.max(asked, 0), sizes.most) * (1 + rowsIn(row, sizeOf));
    }, large);
  }
}

function size(
  node: ValueNode | undefined,
  variables: Readonly<Record<string, unknown>>,
  defaults: Operation["defaults"],
): number | undefined {
  if (node?.kind === Kind.INT) return Number(node.value);
  if (node?.kind !== Kind.VARIABLE) return undefined;
  const name = node.name.value;
  const given = Object.hasOwn(variables, name) ? variables[name] : undefined;
  if (given === undefined) return size(defaults.get(name), {}, defaults);
  return typeof given === "number" ? given : undefined;
}

function readOperation(
  schema: GraphQLSchema,
  { definitions }: DocumentNode,
  operation: OperationDefinitionNode,
): Operation {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const one of definitions) if (one.kind === Kind.FRAGMENT_DEFINITION) fragments.set(one.name.value, one);

  function ofSelections(type: GraphQLNamedType | undefined, set: SelectionSetNode | undefined): Row {
    const rows = (set?.selections ?? []).map((one) => ofSelection(type, one));
    return { large: rows.reduce((sum, { large }) => sum + large, 0), lists: rows.flatMap(({ lists }) => lists) };
  }

  function ofSelection(type: GraphQLNamedType | undefined, one: SelectionNode): Row {
    if (one.kind === Kind.FRAGMENT_SPREAD) {
      const { typeCondition, selectionSet } = fragments.get(one.name.value) as FragmentDefinitionNode;
      return ofSelections(schema.getType(typeCondition.name.value), selectionSet);
    }
    if (one.kind === Kind.INLINE_FRAGMENT) {
      const narrower = one.typeCondition && schema.getType(one.typeCondition.name.value);
      return ofSelections(narrower ?? type, one.selectionSet);
    }
    const field = isObjectType(type) ? type.getFields()[one.name.value] : undefined;
    const row = ofSelections(field && getNamedType(field.type), one.selectionSet);
    if (!field?.args.some(({ name }) => name === "first")) {
      const { countsAsRows: rows } = field?.extensions ?? {};
      return { ...row, large: row.large + (typeof rows === "number" ? rows : 0) };
    }
    const given = (name: string) => one.arguments?.find((argument) => argument.name.value === name)?.value;
    return { large: 0, lists: [{ first: given("first"), last: given("last"), row }] };
  }

  const row = ofSelections(schema.getRootType(operation.operation) ?? undefined, operation.selectionSet);
  const defaults = new Map<string, ValueNode>();
  for (const { variable, defaultValue } of operation.variableDefinitions ?? []) {
    if (defaultValue !== undefined) defaults.set(variable.name.value, defaultValue);
  }
  return { row, defaults };
}
