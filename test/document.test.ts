import test from "ava";
import { buildSchema, getIntrospectionQuery, parse } from "postgraphile/graphql";
import { readConfig } from "../src/config.ts";
import { createPreparer } from "../src/document.ts";
import { KeyrowError } from "../src/errors.ts";
import { documentCache, ENTRY_CELLS, FIELD_CELLS, MAX_ENTRIES, MAX_JSON_DEPTH, MAX_TOKENS } from "../src/limits.ts";
import { measureDocument } from "../src/measure.ts";

const schema = buildSchema(`
  scalar Any
  input Filter { not: Filter, any: Any }
  input Flat { a: Any, b: Int }
  type Query { a(l: [Int]): Query, b(x: Any, f: Filter, l: [Int], o: [Flat]): Query }
`);
const allLimits = readConfig({}).limits;
const { document: limits } = allLimits;
const prepare = createPreparer({ limits: allLimits, introspection: true });
const checkDocument = (query: string) => prepare(schema, query);

const measure = (query: string) => measureDocument(parse(query));
/** Why variables of a document are refused; undefined where they are not. */
function refusal(query: string, variables?: Record<string, unknown>): KeyrowError | undefined {
  try {
    const { check, errors } = checkDocument(query);
    if (check === undefined) throw errors[0];
    check(variables);
    return undefined;
  } catch (error) {
    if (error instanceof KeyrowError) return error;
    throw error;
  }
}

const nested = (depth: number) => `${"{ a ".repeat(depth)}${"}".repeat(depth)}`;
const many = (fields: number) => `{ ${"a ".repeat(fields)} }`;
const aliased = (aliases: number) => `{ ${Array.from({ length: aliases }, (_, i) => `x${i}: a`).join(" ")} }`;

/** Fragments of which each spreads the next ten times: 10 to the power of their number fields. */
function bomb(fragments: number): string {
  const bodies = Array.from({ length: fragments }, (_, i) => `fragment f${i} on T { ${`...f${i + 1} `.repeat(10)} }`);
  return `{ ...f0 } ${bodies.join(" ")} fragment f${fragments} on T { a }`;
}

test("fields, aliases and depth are counted through fragments", (t) => {
  const query = "{ x: a { ...f } b { ... on T { c } } } fragment f on T { y: d { e } d }";
  t.like(measure(query), { fields: 6, aliases: 2, depth: 3 });
});

test("every operation of a document counts", (t) => {
  t.is(measure("query a { a } query b { a b }").fields, 3);
});

test("a fragment that spreads itself ends", (t) => {
  t.like(measure("{ ...f } fragment f on T { a ...f }"), { fields: 1, aliases: 0, depth: 1 });
});

test("the standard introspection fits", (t) => {
  t.notThrows(() => checkDocument(getIntrospectionQuery()));
});

const edges: Array<[what: string, make: (size: number) => string, limit: number]> = [
  ["depth", nested, limits.depth],
  ["fields", many, limits.fields],
  ["aliases", aliased, limits.aliases],
];
for (const [what, make, limit] of edges) {
  test(`${what}: as much as the limit passes, one more is refused with the limit named`, (t) => {
    t.notThrows(() => checkDocument(make(limit)));
    const error = t.throws(() => checkDocument(make(limit + 1)), { instanceOf: KeyrowError });
    t.is(error.code, "LIMIT_EXCEEDED");
    t.regex(error.message, new RegExp(String(limit)));
  });
}

const bombs: Array<[what: string, query: string]> = [
  ["a bomb of fragments", bomb(12)],
  ["a document of too many characters", `{ a } #${"x".repeat(limits.characters)}`],
  ["a document of too many tokens", `{ a(l: [${"1 ".repeat(MAX_TOKENS)}]) }`],
];
for (const [what, query] of bombs) {
  test(`${what} is refused`, (t) => {
    t.is(t.throws(() => checkDocument(query), { instanceOf: KeyrowError }).code, "LIMIT_EXCEEDED");
  });
}

test("what is no GraphQL, or does not fit the schema, comes back with its errors", (t) => {
  t.is(checkDocument("{ nope").errors?.length, 1);
  t.is(checkDocument("{ nope }").errors?.length, 1);
  t.is(checkDocument("[".repeat(10_000)).errors?.length, 1);
});

test("a small document is prepared once, a large one each time, and a new schema begins anew", (t) => {
  const small = "{ a { b { __typename } } }";
  t.is(checkDocument(small), checkDocument(small));
  const large = `{ a { __typename } } #${"x".repeat(documentCache.characters)}`;
  t.not(checkDocument(large), checkDocument(large));
  const other = buildSchema("type Query { a: Int }");
  t.is(prepare(other, small).errors?.length, 1);
});

const list = (length: number) => Array.from({ length }, () => 1);
const nest = (depth: number): unknown =>
  Array.from({ length: depth }).reduce((inner, _, i) => (i % 2 ? [inner] : { not: inner }), 1);
const literal = (depth: number) => `${"{ not: ".repeat(depth)}1${"}".repeat(depth)}`;
const argumentOf = { Any: "x", Filter: "f", "[Int]": "l", "[Flat]": "o" };
const using = (times: number, type: keyof typeof argumentOf = "[Int]") =>
  `query ($v: ${type}) { ${Array.from({ length: times }, (_, i) => `x${i}: b(${argumentOf[type]}: $v) { __typename }`).join(" ")} }`;
// With its brackets and numbers it counts as a text of so many characters.
const characters = (count: number) => list(count - 1);

// What one has of it at the edge and one beyond, by how much of it there is.
const inputs: Array<
  [what: string, ask: (size: number) => [query: string, variables?: Record<string, unknown>], most: number]
> = [
  ["a variable's depth", (size) => [using(1, "Filter"), { v: nest(size) }], limits.depth],
  ["the depth of JSON in a variable", (size) => [using(1, "Any"), { v: nest(size) }], MAX_JSON_DEPTH],
  ["the depth of JSON within a variable", (size) => [using(1, "Filter"), { v: { any: nest(size) } }], MAX_JSON_DEPTH],
  [
    "the characters of JSON, ten times",
    (size) => [using(10, "Any"), { v: characters(size * 1_000 - 1) }],
    MAX_ENTRIES / 10,
  ],
  [
    "the characters of JSON within a variable, ten times",
    (size) => [using(10, "Filter"), { v: { any: characters(size * 1_000 - 1) } }],
    MAX_ENTRIES / 10 - 1,
  ],
  ["a literal's depth", (size) => [`{ b(x: ${literal(size)}) { __typename } }`], limits.depth],
  [
    "the depth of what a variable is by default",
    (size) => [`query ($v: Any = ${literal(size)}) { b(x: $v) { __typename } }`],
    limits.depth,
  ],
  ["the entries of a variable", (size) => [using(1), { v: list(size - 1) }], MAX_ENTRIES],
  [
    "the objects of nothing but scalars, each an entry,",
    (size) => [using(1, "[Flat]"), { v: Array.from({ length: size - 1 }, () => ({ a: [1, 2], b: 3 })) }],
    MAX_ENTRIES,
  ],
  [
    "the entries of such an object, which has none of so many fields,",
    (size) => [
      using(1, "[Flat]"),
      { v: [Object.fromEntries(Array.from({ length: size - 2 }, (_, i) => [`a${i}`, 1]))] },
    ],
    MAX_ENTRIES,
  ],
  [
    "the characters of JSON in such an object, ten times",
    (size) => [using(10, "[Flat]"), { v: [{ a: characters(size * 1_000 - 1) }] }],
    MAX_ENTRIES / 10 - 1,
  ],
  [
    "the entries of a variable that is not used",
    (size) => ["{ a { __typename } }", { v: list(size - 1) }],
    MAX_ENTRIES,
  ],
  ["the entries of a variable, ten times", (size) => [using(10), { v: list(size - 1) }], MAX_ENTRIES / 10],
  [
    "the entries of a variable in a fragment that is spread ten times",
    (size) => [
      `query ($v: [Int]) { ${Array.from({ length: 10 }, (_, i) => `x${i}: a { ...f }`).join(" ")} } fragment f on Query { b(l: $v) { __typename } }`,
      { v: list(size - 1) },
    ],
    MAX_ENTRIES / 10,
  ],
  [
    "the entries of a literal in a fragment that is spread ten times",
    (size) => [
      `{ ${Array.from({ length: 10 }, (_, i) => `x${i}: a { ...f }`).join(" ")} } fragment f on Query { b(x: [${list(size - 1)}]) { __typename } }`,
    ],
    MAX_ENTRIES / 10,
  ],
  [
    "the entries of what a variable is by default, ten times",
    (size) => [using(10).replace("[Int]", `[Int] = [${list(size - 1)}]`)],
    MAX_ENTRIES / 10,
  ],
  [
    "the characters of a text, ten times",
    (size) => [using(10, "Any"), { v: "x".repeat(size * 1_000 - 1) }],
    MAX_ENTRIES / 10,
  ],
];
for (const [what, ask, most] of inputs) {
  test(`${what}: as much as the limit passes, one more is refused`, (t) => {
    t.is(refusal(...ask(most)), undefined);
    t.is(refusal(...ask(most + 1))?.code, "LIMIT_EXCEEDED");
  });
}

test("work is counted in cells, with each field and each entry of input as so many", (t) => {
  const { check } = checkDocument(using(2));
  t.is(check?.({ v: list(9) }), 2 + 2 + 4 * FIELD_CELLS + 2 * 10 * ENTRY_CELLS);
  const plain = checkDocument("{ a { a { __typename } } }");
  t.is(plain.check?.({}), 3 + 3 * FIELD_CELLS);
});

test("a thousand ids may be used twice, and there may be no variables at all", (t) => {
  t.is(refusal(using(2), { v: list(1_000) }), undefined);
  t.is(refusal("{ a { __typename } }"), undefined);
});
