import test from "ava";
import { buildSchema, type GraphQLObjectType, parse, validate } from "postgraphile/graphql";
import { cellCounter } from "../src/cells.ts";

const schema = buildSchema(`
  type Query { things(first: Int, last: Int): Things, thing(id: Int): Thing }
  type Mutation { makeThing: Thing, makeThings: [Thing!] }
  type Things { nodes: [Thing], edges: [Edge]!, totalCount: Int, pageInfo: Page }
  type Edge { node: Thing }
  type Page { more: Boolean, less: Boolean }
  interface Named { name: String }
  type Thing implements Named { name: String, things(first: Int, last: Int): Things, thing: Thing, tags: [String] }
`);
const { tags } = (schema.getType("Thing") as GraphQLObjectType).getFields();
if (tags !== undefined) tags.extensions = { cells: 10, cellsWithin: 30 };
const sizes = { standard: 100, most: 1_000 };

/** The cells that a document asks for. */
function cells(query: string, variables?: Record<string, unknown>): number {
  const document = parse(query);
  const errors = validate(schema, document);
  if (errors[0] !== undefined) throw errors[0];
  return cellCounter(schema, document, sizes)(variables);
}

// A list counts itself, a cell for each of its rows, and for each row what is asked of it.
const counted: Array<[what: string, query: string, cells: number, variables?: Record<string, unknown>]> = [
  ["an object and its field", "{ thing { name } }", 2],
  ["objects in objects", "{ thing { thing { thing { name } } } }", 4],
  ["aliases", "{ thing { name a: name b: thing { name } } }", 5],
  ["a large field", "{ thing { tags } }", 1 + 10],
  ["a list of so many", "{ things(first: 3) { nodes { name } } }", 1 + 3 * (1 + 2)],
  ["its edges", "{ things(first: 3) { edges { node { name } } } }", 1 + 3 * (1 + 3)],
  ["both", "{ things(first: 3) { nodes { name } edges { node { name } } } }", 1 + 3 * (1 + 2 + 3)],
  ["what is there once for a list once", "{ things(first: 3) { totalCount pageInfo { more less } } }", 1 + 3 + 4],
  ["an object of each row", "{ things(first: 3) { nodes { thing { name } } } }", 1 + 3 * (1 + 3)],
  ["a large field of each row, by each alias", "{ things(first: 3) { nodes { tags a: tags } } }", 1 + 3 * (2 + 20)],
  [
    "a large field of each row of each row, as more",
    "{ things(first: 3) { nodes { things(first: 2) { nodes { tags } } } } }",
    1 + 3 * (2 + 1 + 2 * (2 + 30)),
  ],
  [
    "a large field of a list in an object, as more",
    "{ thing { things(first: 2) { nodes { tags } } } }",
    2 + 2 * (2 + 30),
  ],
  ["a list, where nobody says", "{ things { totalCount } }", 1 + 100 + 1],
  ["the last of a list", "{ things(last: 4) { nodes { name } } }", 1 + 4 * 3],
  ["a list of none", "{ things(first: 0) { nodes { things { totalCount } } } }", 1],
  ["a list of null", "{ things(first: null) { totalCount } }", 102],
  ["lists side by side", "{ a: things(first: 3) { nodes { name } } b: things(last: 4) { totalCount } }", 10 + 6],
  [
    "a list in a list",
    "{ things(first: 3) { nodes { things(first: 5) { nodes { name } } } } }",
    1 + 3 * (2 + 1 + 5 * 3),
  ],
  ["a list in a list, where nobody says", "{ things { nodes { things { totalCount } } } }", 1 + 100 * (2 + 102)],
  ["a list in a mutation", "mutation { makeThing { things(first: 6) { totalCount } } }", 1 + 8],
  ["a list that has no page as the largest", "mutation { makeThings { name thing { name } } }", 1_000 * 4],
  ["the schema's lists once", "{ __schema { types { fields { name } } } }", 4],
  [
    "what fragments hold, where they are spread",
    "{ ...q } fragment q on Query { things(first: 2) { nodes { ...t ... on Named { ... on Thing { ...t } } } } } fragment t on Thing { a: name b: thing { name } }",
    1 + 2 * (2 + 2 * 3),
  ],
  ["what a fragment on an interface holds", "{ thing { ... on Named { name } } }", 2],
  ["a page by variable", "query ($n: Int) { things(first: $n) { totalCount } }", 9, { n: 7 }],
  ["a page by a variable that is null", "query ($n: Int = 3) { things(first: $n) { totalCount } }", 102, { n: null }],
  ["a page by a variable that is not given", "query ($n: Int) { things(first: $n) { totalCount } }", 102],
  ["a page by a variable's default", "query ($n: Int = 9) { things(last: $n) { totalCount } }", 11],
  [
    "the dearest of several operations",
    "query a { things { totalCount } } query b { things(first: 5) { totalCount } }",
    102,
  ],
  [
    "a page beyond the largest, which is refused elsewhere, as the largest",
    "{ things(first: 2000) { nodes { name } } }",
    1 + 1_000 * 3,
  ],
  ["a page below none, which is refused elsewhere, as none", "{ things(first: -5) { totalCount } }", 2],
];
for (const [what, query, expected, variables] of counted) {
  test(`counts ${what}`, (t) => t.is(cells(query, variables), expected));
}
