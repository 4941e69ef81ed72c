import {
  type ArgumentNode,
  type DirectiveNode,
  type DocumentNode,
  Kind,
  type SelectionSetNode,
  type ValueNode,
} from "postgraphile/graphql";

/** The size of a document: what all its operations hold, fragments counted where they are spread. */
export interface Measure {
  readonly fields: number;
  readonly aliases: number;
  readonly depth: number;
  readonly input: InputMeasure;
}

/** What fields and directives are given, as far as the document says it. */
export interface InputMeasure {
  /** Literals, nested ones counted, and those that variables have by default, as often as they are used. */
  readonly entries: number;
  /** How deep a literal is nested. */
  readonly depth: number;
  /** How often each variable is used. */
  readonly uses: ReadonlyMap<string, number>;
}

type Sum<T> = { -readonly [K in keyof T]: T[K] };
type InputSum = Sum<Omit<InputMeasure, "uses">> & { readonly uses: Map<string, number> };
type MeasureSum = Sum<Omit<Measure, "input">> & { readonly input: InputSum };
type Arguments = { readonly arguments?: readonly ArgumentNode[]; readonly directives?: readonly DirectiveNode[] };

// A text counts once more for each so many characters.
const CHARACTERS_PER_ENTRY = 1_000;

/** How many entries a text of so many characters is: it may be long, and used as often as a list. */
export function entriesOfText(characters: number): number {
  return 1 + Math.floor(characters / CHARACTERS_PER_ENTRY);
}

/** Measures a document, each fragment once. A fragment that spreads itself counts as empty: validation refuses it. */
export function measureDocument({ definitions }: DocumentNode): Measure {
  const bodies = new Map<string, SelectionSetNode>();
  for (const one of definitions) {
    if (one.kind === Kind.FRAGMENT_DEFINITION) bodies.set(one.name.value, one.selectionSet);
  }
  const measured = new Map<string, Measure>();

  function ofFragment(name: string): Measure {
    const known = measured.get(name);
    if (known !== undefined) return known;
    measured.set(name, nothing());
    const result = ofSelections(bodies.get(name));
    measured.set(name, result);
    return result;
  }

  function ofSelections(set: SelectionSetNode | undefined): Measure {
    const sum = nothing();
    for (const one of set?.selections ?? []) {
      const isField = one.kind === Kind.FIELD;
      const inner = one.kind === Kind.FRAGMENT_SPREAD ? ofFragment(one.name.value) : ofSelections(one.selectionSet);
      sum.fields += inner.fields + (isField ? 1 : 0);
      sum.aliases += inner.aliases + (isField && one.alias !== undefined ? 1 : 0);
      sum.depth = Math.max(sum.depth, inner.depth + (isField ? 1 : 0));
      addInput(sum.input, inner.input);
      addArguments(sum.input, one);
    }
    return sum;
  }

  const total = nothing();
  for (const one of definitions) {
    if (one.kind !== Kind.OPERATION_DEFINITION) continue;
    const { fields, aliases, depth, input } = ofSelections(one.selectionSet);
    total.fields += fields;
    total.aliases += aliases;
    total.depth = Math.max(total.depth, depth);
    addInput(total.input, input);
    for (const { variable, defaultValue } of one.variableDefinitions ?? []) {
      if (defaultValue === undefined) continue;
      const standard = { entries: 0, depth: 0, uses: new Map() };
      addLiteral(standard, defaultValue, 0);
      total.input.entries += standard.entries * (input.uses.get(variable.name.value) ?? 0);
      total.input.depth = Math.max(total.input.depth, standard.depth);
    }
  }
  return total;
}

function nothing(): MeasureSum {
  return { fields: 0, aliases: 0, depth: 0, input: { entries: 0, depth: 0, uses: new Map() } };
}

function addInput(sum: InputSum, { entries, depth, uses }: InputMeasure): void {
  sum.entries += entries;
  sum.depth = Math.max(sum.depth, depth);
  for (const [name, count] of uses) addUses(sum, name, count);
}

function addUses({ uses }: InputSum, name: string, count: number): void {
  uses.set(name, (uses.get(name) ?? 0) + count);
}

function addArguments(sum: InputSum, { arguments: given = [], directives = [] }: Arguments): void {
  for (const { value } of given) addLiteral(sum, value, 0);
  for (const directive of directives) addArguments(sum, directive);
}

function addLiteral(sum: InputSum, node: ValueNode, depth: number): void {
  if (node.kind === Kind.VARIABLE) {
    addUses(sum, node.name.value, 1);
    return;
  }
  sum.entries += node.kind === Kind.STRING ? entriesOfText(node.value.length) : 1;
  const nested =
    node.kind === Kind.LIST
      ? node.values
      : node.kind === Kind.OBJECT
        ? node.fields.map(({ value }) => value)
        : undefined;
  if (nested === undefined) return;
  sum.depth = Math.max(sum.depth, depth + 1);
  for (const one of nested) addLiteral(sum, one, depth + 1);
}
