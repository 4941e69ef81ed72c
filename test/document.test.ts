import test from "ava";
import { buildSchema, getIntrospectionQuery, parse } from "postgraphile/graphql";
import { readConfig } from "../src/config.ts";
import { checkVariables, createPreparer, measureDocument } from "../src/document.ts";
import { KeyrowError } from "../src/errors.ts";
import { documentCache, MAX_TOKENS, MAX_VARIABLE_ENTRIES } from "../src/limits.ts";

const schema = buildSchema("type Query { a(l: [Int]): Query, b: Query }");
const { document: limits } = readConfig({}).limits;
const prepare = createPreparer({ limits, introspection: true });
const checkDocument = (query: string) => prepare(schema, query);

const measure = (query: string) => measureDocument(parse(query));

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
  t.deepEqual(measure(query), { fields: 6, aliases: 2, depth: 3 });
});

test("every operation of a document counts", (t) => {
  t.is(measure("query a { a } query b { a b }").fields, 3);
});

test("a fragment that spreads itself ends", (t) => {
  t.deepEqual(measure("{ ...f } fragment f on T { a ...f }"), { fields: 1, aliases: 0, depth: 1 });
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

test("variables have so many entries and no more, nested ones counted", (t) => {
  const entries = (count: number) => ({ a: { b: Array.from({ length: count - 2 }, () => 1) } });
  t.notThrows(() => checkVariables(entries(MAX_VARIABLE_ENTRIES)));
  const error = t.throws(() => checkVariables(entries(MAX_VARIABLE_ENTRIES + 1)), { instanceOf: KeyrowError });
  t.is(error.code, "LIMIT_EXCEEDED");
  t.notThrows(() => checkVariables(null));
});
