import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  isIntrospectionType,
  isListType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
  type ValueNode,
} from "postgraphile/graphql";

/** A field, as far as it counts. */
interface Field {
  readonly cells: number;
  /** What says how many rows it has, where it is a connection. */
  readonly page?: { readonly first: ValueNode | undefined; readonly last: ValueNode | undefined };
  /** Whether it is a list of objects: in a connection, of its rows. */
  readonly isList: boolean;
  readonly fields: readonly Field[];
}

/** An operation's fields, and what its variables are by default. */
interface Operation {
  readonly fields: readonly Field[];
  readonly defaults: ReadonlyMap<string, ValueNode>;
}

type SizeOf = (node: ValueNode | undefined) => number | undefined;

/** Rows of a list where nobody says, and at most. */
export interface PageSizes {
  readonly standard: number;
  readonly most: number;
}

/**
 * Counts the cells that a valid document asks for, by its variables: one for each row of a list, and one for each field of
 * it, objects and aliases included. A page counts as full, and so does each in another; a list that has none as the
 * largest, but for those of the schema, which is always the same. A field's extension `cells` says
 * as how many it counts, and `cellsWithin` as how many in a list that is not the operation's own. Of several operations
 * the dearest counts.
 */
export function cellCounter(
  schema: GraphQLSchema,
  document: DocumentNode,
  sizes: PageSizes,
): (variables: Readonly<Record<string, unknown>> | null | undefined) => number {
  const operations = document.definitions.filter((one) => one.kind === Kind.OPERATION_DEFINITION);
  const known = operations.map((operation) => readOperation(schema, document, operation));
  return (variables) =>
    Math.max(
      0,
      ...known.map(({ fields, defaults }) => sum(fields, sizes.most, (node) => size(node, variables ?? {}, defaults))),
    );

  function sum(fields: readonly Field[], rowsAround: number, sizeOf: SizeOf): number {
    return fields.reduce((total, { cells, page, isList, fields: inner }) => {
      const rows = page && rowsOf(page, sizeOf);
      const all = cells + (rows ?? 0) + sum(inner, rows ?? sizes.most, sizeOf);
      return total + all * (isList ? rowsAround : 1);
    }, 0);
  }

  function rowsOf({ first, last }: NonNullable<Field["page"]>, sizeOf: SizeOf): number {
    const asked = sizeOf(last) ?? sizeOf(first) ?? sizes.standard;
    // A page that can't be is refused where it is planned, with its own reason.
    return Math.min(Math.max(asked, 0), sizes.most);
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
  const root = schema.getRootType(operation.operation) ?? undefined;

  function ofSet(type: GraphQLNamedType | undefined, set: SelectionSetNode | undefined, within: boolean): Field[] {
    return (set?.selections ?? []).flatMap((one) => ofSelection(type, one, within));
  }

  function ofSelection(type: GraphQLNamedType | undefined, one: SelectionNode, within: boolean): Field[] {
    if (one.kind === Kind.FRAGMENT_SPREAD) {
      const { typeCondition, selectionSet } = fragments.get(one.name.value) as FragmentDefinitionNode;
      return ofSet(schema.getType(typeCondition.name.value), selectionSet, within);
    }
    if (one.kind === Kind.INLINE_FRAGMENT) {
      const narrower = one.typeCondition && schema.getType(one.typeCondition.name.value);
      return ofSet(narrower ?? type, one.selectionSet, within);
    }
    const field = isObjectType(type) ? type.getFields()[one.name.value] : undefined;
    const of = field && getNamedType(field.type);
    const isPage = field?.args.some(({ name }) => name === "first") ?? false;
    const given = (name: string) => one.arguments?.find((argument) => argument.name.value === name)?.value;
    const { cells, cellsWithin } = field?.extensions ?? {};
    const counted = (within ? cellsWithin : undefined) ?? cells;
    return [
      {
        cells: typeof counted === "number" ? counted : 1,
        ...(isPage && { page: { first: given("first"), last: given("last") } }),
        isList:
          field !== undefined &&
          isListType(getNullableType(field.type)) &&
          isObjectType(of) &&
          !isIntrospectionType(of),
        fields: ofSet(of, one.selectionSet, within || (isPage && type !== root)),
      },
    ];
  }

  const defaults = new Map<string, ValueNode>();
  for (const { variable, defaultValue } of operation.variableDefinitions ?? []) {
    if (defaultValue !== undefined) defaults.set(variable.name.value, defaultValue);
  }
  return { fields: ofSet(root, operation.selectionSet, false), defaults };
}
