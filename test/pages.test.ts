import test from "ava";
import { buildSchema, type GraphQLObjectType, parse, validate } from "postgraphile/graphql";
import { rowCounter } from "../src/pages.ts";

const schema = buildSchema(`
  type Query { things(first: Int, last: Int): Things, thing(id: Int): Thing }
  type Mutation { makeThing: Thing }
  type Things { nodes: [Thing], totalCount: Int }
  interface Named { name: String }
  type Thing implements Named { name: String, things(first: Int, last: Int): Things, tags: [String] }
`);
const { tags } = (schema.getType("Thing") as GraphQLObjectType).getFields();
if (tags !== undefined) tags.extensions = { countsAsRows: 10 };
const sizes = { standard: 100, most: 1_000 };

/** The rows that a document asks for. */
function rows(query: string, variables?: Record<string, unknown>): number {
  const document = parse(query);
  const errors = validate(schema, document);
  if (errors[0] !== undefined) throw errors[0];
  return rowCounter(schema, document, sizes)(variables);
}

const counted: Array<[what: string, query: string, rows: number, variables?: Record<string, unknown>]> = [
  ["no list", "{ thing { name } }", 0],
  ["a large field", "{ thing { tags } }", 10],
  ["a large field of each row, by each alias", "{ things(first: 3) { nodes { name tags a: tags } } }", 3 * 21],
  [
    "a large field of each row of each row",
    "{ things(first: 3) { nodes { things(first: 2) { nodes { tags } } } } }",
    3 * 23,
  ],
  ["a list, where nobody says", "{ things { totalCount } }", 100],
  ["a list of so many", "{ things(first: 3) { totalCount } }", 3],
  ["the last of a list", "{ things(last: 4) { totalCount } }", 4],
  ["a list of none", "{ things(first: 0) { nodes { things { totalCount } } } }", 0],
  ["a list of null", "{ things(first: null) { totalCount } }", 100],
  ["lists side by side", "{ a: things(first: 3) { totalCount } b: things(last: 4) { totalCount } }", 7],
  ["a list in a list", "{ things(first: 3) { nodes { things(first: 5) { totalCount } } } }", 3 + 3 * 5],
  ["a list in a list, where nobody says", "{ things { nodes { things { totalCount } } } }", 10_100],
  [
    "lists in lists in lists",
    `{ things(first: 2) { nodes { things(last: 3) { nodes { things(first: 4) { totalCount } } } } } }`,
    32,
  ],
  ["a list behind a row", "{ thing { things(first: 6) { totalCount } } }", 6],
  ["a list in a mutation", "mutation { makeThing { things(first: 6) { totalCount } } }", 6],
  [
    "lists in fragments",
    "{ ...q } fragment q on Query { things(first: 2) { nodes { ...t ... on Named { ... on Thing { ...t } } } } } fragment t on Thing { things(first: 5) { totalCount } }",
    2 + 2 * 10,
  ],
  ["a page by variable", "query ($n: Int) { things(first: $n) { totalCount } }", 7, { n: 7 }],
  ["a page by a variable that is null", "query ($n: Int = 3) { things(first: $n) { totalCount } }", 100, { n: null }],
  ["a page by a variable that is not given", "query ($n: Int) { things(first: $n) { totalCount } }", 100],
  ["a page by a variable's default", "query ($n: Int = 9) { things(last: $n) { totalCount } }", 9],
  [
    "the dearest of several operations",
    "query a { things { totalCount } } query b { things(first: 5) { totalCount } }",
    100,
  ],
  [
    "a page beyond the largest, which is refused elsewhere",
    "{ things(first: 2000) { nodes { things(first: 1) { totalCount } } } }",
    2_000,
  ],
  ["a page below none, which is refused elsewhere", "{ things(first: -5) { totalCount } }", 0],
  ["the schema", "{ __schema { types { fields { args { name } } } } }", 0],
];
for (const [what, query, expected, variables] of counted) {
  test(`counts ${what}`, (t) => t.is(rows(query, variables), expected));
}
