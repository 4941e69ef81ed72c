import test from "ava";
import { readConfig } from "../../src/config.ts";
import { asAdmin, makeUser, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
let ana: string;
const { page, document } = readConfig({}).limits;
const ROWS = page.most + 1;

test.before(async () => {
  server = await startTestServer();
  ana = await makeUser(server.database);
  await asAdmin(
    server.database,
    `insert into public.user_credentials (user_id, provider, name, type, encrypted_value)
     select $1, 'p', n::text, 'SECRET', 'vault:v1:AAAA' from generate_series(1, $2::int) n`,
    [ana, ROWS],
  );
});
test.after.always(() => server?.stop());

const list = (args: string) => `{ userCredentials${args} { nodes { name } pageInfo { hasNextPage } } }`;
const nested = (args: string) => `{ currentUser { userCredentials${args} { nodes { name } } } }`;

const sizes: Array<[args: string, rows: number]> = [
  ["", page.standard],
  ["(first: null)", page.standard],
  ["(first: 3)", 3],
  ["(first: 0)", 0],
  ["(last: 2)", 2],
  [`(first: ${page.most})`, page.most],
  [`(last: ${page.most})`, page.most],
];
for (const [args, rows] of sizes) {
  test(`a list${args} has ${rows} rows, a nested one too`, async (t) => {
    const { data, codes } = await server.query(ana, list(args));
    t.deepEqual([data.userCredentials.nodes.length, codes], [rows, []]);
    t.is((await server.query(ana, nested(args))).data.currentUser.userCredentials.nodes.length, rows);
  });
}

const refused: Array<[args: string, code: string]> = [
  [`(first: ${page.most + 1})`, "LIMIT_EXCEEDED"],
  [`(last: ${page.most + 1})`, "LIMIT_EXCEEDED"],
  ["(first: -1)", "VALIDATION"],
  ["(last: -1)", "VALIDATION"],
  ["(first: 1, last: 1)", "VALIDATION"],
];
for (const [args, code] of refused) {
  test(`a list${args} is refused with ${code}, a nested one too`, async (t) => {
    t.deepEqual((await server.query(ana, list(args))).codes, [code]);
    t.deepEqual((await server.query(ana, nested(args))).codes, [code]);
  });
}

test("the page size may be a variable", async (t) => {
  const query = "query ($n: Int) { userCredentials(first: $n) { nodes { name } } }";
  t.is((await server.query(ana, query, { n: 5 })).data.userCredentials.nodes.length, 5);
  t.deepEqual((await server.query(ana, query, { n: page.most + 1 })).codes, ["LIMIT_EXCEEDED"]);
  t.is((await server.query(ana, query)).data.userCredentials.nodes.length, page.standard);
});

test("cells of a list in a list count a page for each of its rows, and too many are refused before anything is asked for", async (t) => {
  const both = (outer: number, inner: number) => `{
    userCredentials(first: ${outer}) { nodes { user { ...u } } }
  } fragment u on User { userCredentials(first: ${inner}) { nodes { name } } }`;
  t.deepEqual((await server.query(ana, both(1, 1_000))).codes, []);
  // For each row of the one itself, its list's, its user's and the other list's cell, and three for each row of that.
  const inner = 1_000;
  const fits = Math.floor((document.cells - 1) / (4 + inner * 3));
  t.deepEqual((await server.query(ana, both(fits, inner))).codes, []);
  for (const outer of [fits + 1, 1_000])
    t.deepEqual((await server.query(ana, both(outer, inner))).codes, ["LIMIT_EXCEEDED"]);
  const lists = "{ workspaces { nodes { workspaceMembers { totalCount } userCredentials { totalCount } } } }";
  t.deepEqual((await server.query(ana, lists)).codes, []);
});

test("objects of each row count as cells, and so many that an answer would hold the process are refused", async (t) => {
  const users = (count: number) => Array.from({ length: count }, (_, i) => `a${i}: user { __typename }`).join(" ");
  const wide = (first: number) => `{
    userCredentials(first: 1000) { nodes { user { userCredentials(first: ${first}) { nodes { ${users(48)} } } } } }
  }`;
  t.deepEqual((await server.query(ana, wide(1))).codes, []);
  for (const first of [3, 24]) t.deepEqual((await server.query(ana, wide(first))).codes, ["LIMIT_EXCEEDED"]);
});

test("the largest page with every field of a credential, its user and its workspace may be asked for", async (t) => {
  const fields = `id provider name type scope description metadata maskedValue isActive expiresAt lastUsedAt rotatedAt
    createdAt updatedAt userId workspaceId user { id name } workspace { id name createdAt updatedAt }`;
  const page = `userCredentials(first: 1000) { nodes { ${fields} } pageInfo { hasNextPage endCursor } totalCount }`;
  for (const query of [`{ ${page} }`, `{ currentUser { ${page} } }`]) {
    t.deepEqual((await server.query(ana, query)).codes, []);
  }
  const workspaces = `{ workspaces { nodes { id name
    workspaceMembers { nodes { role user { id name } } } userCredentials { nodes { id provider name type } } } } }`;
  t.deepEqual((await server.query(ana, workspaces)).codes, []);
});

test("requests of many cells of one user run one after the other, and all are answered", async (t) => {
  const many =
    "{ userCredentials(first: 1000) { nodes { ...f user { ...u } workspace { id } } } } fragment f on UserCredential { id provider name type scope isActive createdAt updatedAt } fragment u on User { id name }";
  const answers = await Promise.all(Array.from({ length: 8 }, () => server.query(ana, many)));
  for (const { codes, data } of answers) t.deepEqual([codes, data.userCredentials.nodes.length], [[], 1_000]);
});

test("a description or metadata counts as sixty cells in a list that is in something else", async (t) => {
  const nestedIn = (outer: number) => `{
    userCredentials(first: ${outer}) { nodes { user { userCredentials { nodes { description } } } } }
  }`;
  const fits = Math.floor((document.cells - 1) / (4 + 100 * 62));
  t.deepEqual((await server.query(ana, nestedIn(fits))).codes, []);
  t.deepEqual((await server.query(ana, nestedIn(fits + 1))).codes, ["LIMIT_EXCEEDED"]);
});

test("a bomb of fragments is refused before it is planned", async (t) => {
  const bodies = Array.from({ length: 12 }, (_, i) => `fragment f${i} on User { ${`...f${i + 1} `.repeat(10)} }`);
  const query = `{ currentUser { ...f0 } } ${bodies.join(" ")} fragment f12 on User { id }`;
  const { codes, status } = await server.query(ana, query);
  t.deepEqual([codes, status], [["LIMIT_EXCEEDED"], 200]);
});

test("more fragments than can be checked against each other are a limit, and no fault of the schema", async (t) => {
  const names = Array.from({ length: 450 }, (_, i) => `f${i}`);
  const bodies = names.map((name) => `fragment ${name} on User { id }`);
  const query = `{ currentUser { ${names.map((name) => `...${name}`).join(" ")} } } ${bodies.join(" ")}`;
  const { errors } = await server.query(ana, query);
  t.deepEqual(errors, [
    {
      message: "The document has too many fragments or fields in one place to be checked.",
      extensions: { code: "LIMIT_EXCEEDED" },
    },
  ]);
});

test("a filter that is nested deeply, or used many times, is refused before anything is built of it", async (t) => {
  const lists = Array.from({ length: 50 }, (_, i) => `a${i}: userCredentials(filter: $f, first: 1) { totalCount }`);
  const used = (times: number) => `query ($f: UserCredentialFilter) { ${lists.slice(0, times).join(" ")} }`;
  const one = { name: { equalTo: "1" } };
  const deep = Array.from({ length: 4_900 }).reduce((inner) => ({ not: inner }), one);
  t.deepEqual((await server.query(ana, used(50), { f: deep })).codes, ["LIMIT_EXCEEDED"]);
  const wide = { or: Array.from({ length: 1_000 }, () => one) };
  t.deepEqual((await server.query(ana, used(50), { f: wide })).codes, ["LIMIT_EXCEEDED"]);
  t.is((await server.query(ana, used(1), { f: wide })).data.a0.totalCount, 1);
});

test("a thousand ids may be asked for, twice", async (t) => {
  const { rows } = await asAdmin(
    server.database,
    "select id from public.user_credentials where user_id = $1 and provider = 'p' limit 1000",
    [ana],
  );
  const both = `query ($ids: [UUID!]) {
    a: userCredentials(filter: { id: { in: $ids } }) { totalCount }
    b: userCredentials(filter: { id: { notIn: $ids }, provider: { equalTo: "p" } }) { totalCount }
  }`;
  const { data } = await server.query(ana, both, { ids: rows.map(({ id }) => id) });
  t.deepEqual(data, { a: { totalCount: 1_000 }, b: { totalCount: ROWS - 1_000 } });
});

const columns = ["PROVIDER", "NAME", "CREATED_AT", "EXPIRES_AT", "DESCRIPTION", "UPDATED_AT"];
const orders: Array<[what: string, orderBy: readonly string[], codes: string[]]> = [
  ["by five columns", columns.slice(0, 5).map((column) => `${column}_ASC`), []],
  ["by six columns", columns.map((column) => `${column}_DESC`), ["LIMIT_EXCEEDED"]],
  ["by one column twice", ["NAME_ASC", "NAME_ASC"], ["VALIDATION"]],
  ["by one column both ways", ["NAME_ASC", "PROVIDER_ASC", "NAME_DESC"], ["VALIDATION"]],
  ["by 1,600 columns", Array.from({ length: 1_600 }, (_, i) => `${columns[i % 5]}_ASC`), ["VALIDATION"]],
];
for (const [what, orderBy, codes] of orders) {
  test(`a list that is ordered ${what} is ${codes[0] ? `refused with ${codes[0]}` : "given"}, after a cursor too`, async (t) => {
    const literal = `{ userCredentials(first: 1, orderBy: [${orderBy}]) { edges { cursor } } }`;
    const answer = await server.query(ana, literal);
    t.deepEqual(answer.codes, codes);
    const after = answer.data?.userCredentials?.edges[0].cursor ?? Buffer.from('["x"]').toString("base64");
    const query = `query ($o: [UserCredentialOrderBy!], $c: Cursor) {
      userCredentials(first: 2, orderBy: $o, after: $c) { nodes { name } }
    }`;
    t.deepEqual((await server.query(ana, query, { o: orderBy, c: after })).codes, codes);
    t.notRegex(server.log(), /unexpected error/);
  });
}

const set = (name: string, fields: string) =>
  `mutation { setUserCredential(input: { provider: "q", name: "${name}", value: "v", ${fields} }) { created } }`;

test("metadata and description have 16384 bytes each, and not one more", async (t) => {
  const text = (bytes: number) => "x".repeat(bytes);
  t.deepEqual((await server.query(ana, set("a", `description: "${text(16_384)}"`))).codes, []);
  t.deepEqual((await server.query(ana, set("b", `description: "${text(16_385)}"`))).codes, ["LIMIT_EXCEEDED"]);
  // As stored: {"k": "x..."}.
  t.deepEqual((await server.query(ana, set("c", `metadata: { k: "${text(16_384 - 9)}" }`))).codes, []);
  t.deepEqual((await server.query(ana, set("d", `metadata: { k: "${text(16_384 - 8)}" }`))).codes, ["LIMIT_EXCEEDED"]);
});

test("metadata of 16384 bytes is taken whatever it is made of, and given back", async (t) => {
  const query = `mutation ($m: JSON) {
    setUserCredential(input: { provider: "q", name: "m", value: "v", metadata: $m }) { userCredential { metadata } }
  }`;
  // As stored: [1, 1, 1].
  const ones = Array.from({ length: 16_384 / 3 }, () => 1);
  const nested = (levels: number) => Array.from({ length: levels }).reduce((inner) => [inner], 1);
  for (const m of [ones, nested(1_000)]) {
    const { data, codes } = await server.query(ana, query, { m });
    t.deepEqual([codes, data.setUserCredential.userCredential.metadata], [[], m]);
  }
  for (const m of [[...ones, 1], nested(1_001)]) {
    t.deepEqual((await server.query(ana, query, { m })).codes, ["LIMIT_EXCEEDED"]);
  }
});

test("an expiry is a date: no infinity, no word", async (t) => {
  const no = [
    "infinity",
    "-infinity",
    "today",
    "epoch",
    "0044-03-15 BC",
    "290000-01-01",
    "May 5 2030",
    "2030-02-30",
    "",
  ];
  for (const expiresAt of no) {
    t.deepEqual((await server.query(ana, set("e", `expiresAt: "${expiresAt}"`))).codes, ["VALIDATION"], expiresAt);
  }
  for (const expiresAt of ["2030-01-31", "2030-01-31T18:00", "2030-01-31 18:00:00.123456+01", "9999-12-31T23:59:59Z"]) {
    t.deepEqual((await server.query(ana, set("e", `expiresAt: "${expiresAt}"`))).codes, [], expiresAt);
  }
});

test("provider and name can't be empty", async (t) => {
  t.deepEqual((await server.query(ana, set("", ""))).codes, ["VALIDATION"]);
});
