import { randomUUID } from "node:crypto";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import test from "ava";
import jwt from "jsonwebtoken";
import { readConfig } from "../../src/config.ts";
import { catalogue } from "../../src/errors.ts";
import { asAdmin, makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";

let server: TestServer;
let ana: string;
let id: string;
test.before(async () => {
  // All of its tests run at once, as one user.
  server = await startTestServer({ env: { KEYROW_MAX_USER_REQUESTS: "1000" } });
  ana = await makeUser(server.database);
  const { data } = await server.query(
    ana,
    `mutation { setUserCredential(input: { provider: "p", name: "n", value: "v" }) { userCredential { id } } }`,
  );
  id = data.setUserCredential.userCredential.id;
});
test.after("no canary of this file came into the log, not even later", (t) => {
  t.true(noted.size > 0);
  for (const canary of noted) t.false(server.log().includes(canary));
});
test.after.always(() => server?.stop());

const { bodyBytes } = readConfig({}).limits;

/** A string that stands nowhere else. */
const canaryOf = () => `canary${randomUUID().replaceAll("-", "")}`;

interface Sent {
  readonly method?: string;
  readonly path?: string;
  readonly headers?: Record<string, string | string[] | undefined>;
  readonly body?: string | Buffer;
}
interface Got {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

/** One request as it is written here, byte for byte: fetch would mend some of them. */
function send({ method = "POST", path = "/graphql", headers = {}, body }: Sent): Promise<Got> {
  const { port } = new URL(server.url);
  const all = { "content-type": "application/json", authorization: `Bearer ${server.token(ana)}`, ...headers };
  const given = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ port, host: "127.0.0.1", method, path, headers: given as never }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text: Buffer.concat(chunks).toString("utf8"),
        }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const graphql = (query: string, variables: unknown = {}, headers: Sent["headers"] = {}, more: object = {}) =>
  send({ body: JSON.stringify({ query, variables, ...more }), headers });

/** The codes of an answer, each in the catalogue. */
function codesOf({ text }: Got): string[] {
  const { errors } = JSON.parse(text) as { errors?: Array<{ extensions: { code: string }; message: string }> };
  const codes = (errors ?? []).map(({ extensions }) => extensions.code);
  for (const code of codes) if (!Object.hasOwn(catalogue, code)) throw new Error(`not in the catalogue: ${code}`);
  return codes;
}

// Where a canary stands: in the document, a variable, a name. Each answers VALIDATION unless it says otherwise, and
// neither the answer nor the log repeats it.
const positions: Array<[title: string, send: (canary: string) => Promise<Got>, codes?: string[]]> = [
  ["a string where a UUID belongs", (c) => graphql(`{ userCredential(id: "${c}") { id } }`)],
  ["an unquoted word where a string belongs", (c) => graphql(setting(c))],
  ["an unquoted word where an enum belongs", (c) => graphql(`{ userCredentials(orderBy: [${c}]) { totalCount } }`)],
  [
    "an enum in a variable",
    (c) => graphql("query ($o: [UserCredentialOrderBy!]) { userCredentials(orderBy: $o) { totalCount } }", { o: [c] }),
  ],
  ["a block string where a number belongs", (c) => graphql(`{ userCredentials(first: """${c}""") { totalCount } }`)],
  [
    "a string where a boolean belongs",
    (c) => graphql(`{ userCredentials(filter: { isActive: { equalTo: "${c}" } }) { totalCount } }`),
  ],
  ["a string where an object belongs", (c) => graphql(`{ userCredentials(filter: "${c}") { totalCount } }`)],
  ["an object where a string belongs", (c) => graphql(setting(`{ a: "${c}" }`))],
  ["a list where a string belongs", (c) => graphql(setting(`["${c}"]`))],
  ["a string that does not end", (c) => graphql(`{ userCredential(id: "${c}) { id } }`)],
  ["a block string that does not end", (c) => graphql(setting(`"""${c}`))],
  ["a string with a bad escape", (c) => graphql(setting(`"\\q${c}"`))],
  ["a string with a half surrogate escape", (c) => graphql(setting(`"\\uD800${c}"`))],
  ["a value without quotation marks that is no name", (c) => graphql(setting(`12${c}`))],
  ["a value where a name belongs", (c) => graphql(`{ "${c}" }`)],
  ["a comment in a document that does not parse", (c) => graphql(`{ # ${c}\n`)],
  ["a directive's argument", (c) => graphql(`{ userCredentials { totalCount @include(if: "${c}") } }`)],
  ["an unknown directive's argument", (c) => graphql(`{ userCredentials { totalCount @nothing(if: "${c}") } }`)],
  ["an argument that is not known", (c) => graphql(`{ userCredentials(nothing: "${c}") { totalCount } }`)],
  ["an input field that is not known", (c) => graphql(setting(`"v", nothing: "${c}"`))],
  [
    "a missing field's neighbour",
    (c) => graphql(`mutation { setUserCredential(input: { name: "${c}", value: "${c}" }) { created } }`),
  ],
  ["an argument twice", (c) => graphql(setting(`"${c}", value: "${c}"`))],
  [
    "fields that conflict",
    (c) =>
      graphql(
        `{ a: userCredentials(filter: { name: { equalTo: "${c}" } }) { totalCount } a: userCredentials { totalCount } }`,
      ),
  ],
  [
    "a variable's default of the wrong type",
    (c) => graphql(`query ($n: Int = "${c}") { userCredentials(first: $n) { totalCount } }`),
  ],
  [
    "a variable of the wrong type",
    (c) => graphql("query ($n: Int) { userCredentials(first: $n) { totalCount } }", { n: c }),
  ],
  ["a variable that is no UUID", (c) => graphql("query ($id: UUID!) { userCredential(id: $id) { id } }", { id: c })],
  [
    "a field of a variable that is not known",
    (c) => graphql(setVariable, { i: { provider: "p", name: "n", value: "v", nothing: c } }),
  ],
  [
    "a field of a variable of the wrong type",
    (c) => graphql(setVariable, { i: { provider: "p", name: "n", value: { a: c } } }),
  ],
  [
    "a field's name in a variable",
    (c) => graphql(setVariable, { i: { provider: "p", name: "n", value: "v", [c]: 1 } }),
  ],
  ["a date that is none", (c) => graphql(setVariable, { i: { provider: "p", name: "n", value: "v", expiresAt: c } })],
  [
    "a date in a filter",
    (c) => graphql(`{ userCredentials(filter: { createdAt: { lessThan: "${c}" } }) { totalCount } }`),
  ],
  [
    "a name that is too long, which PostgreSQL refuses",
    (c) => graphql(setVariable, { i: { provider: "p", name: c.repeat(10), value: "v" } }),
  ],
  [
    "a name with NUL, which PostgreSQL refuses",
    (c) => graphql(setVariable, { i: { provider: "p", name: `${c}\0`, value: "v" } }),
  ],
  [
    "metadata with NUL, which PostgreSQL refuses",
    (c) => graphql(setVariable, { i: { provider: "p", name: "n", value: "v", metadata: { a: `${c}\0` } } }),
  ],
  [
    "a value over the limit",
    (c) => graphql(setVariable, { i: { provider: "p", name: "n", value: c.repeat(2000) } }),
    ["LIMIT_EXCEEDED"],
  ],
  [
    "a value with a half surrogate",
    (c) => graphql(setVariable, { i: { provider: "p", name: "n", value: `${c}\uD800` } }),
  ],
  ["a cursor", (c) => graphql(`{ userCredentials(after: "${c}") { totalCount nodes { id } } }`)],
  [
    "a cursor of the right form",
    (c) =>
      graphql("query ($c: Cursor) { userCredentials(before: $c) { nodes { id } } }", {
        c: Buffer.from(JSON.stringify(["x", c, c])).toString("base64"),
      }),
  ],
  ["the id of an entry of the log", (c) => graphql(`{ activityLog(id: "${c}", createdAt: "${c}") { id } }`)],
  ["the operation's name", (c) => graphql("query A { currentUser { id } }", {}, {}, { operationName: c })],
  ["the operation's name, of the wrong type", (c) => graphql("{ currentUser { id } }", {}, {}, { operationName: [c] })],
  ["a name of more than 64 characters", (c) => graphql(`{ ${c}${c} }`)],
  [
    "a variable's name of more than 64 characters",
    (c) =>
      graphql(`query ($${c}${c}: Int) { userCredentials(first: $${c}${c}) { totalCount } }`, { [`${c}${c}`]: "x" }),
  ],
  ["variables that are a list", (c) => graphql("{ currentUser { id } }", [c])],
  ["a query that is no string", (c) => send({ body: JSON.stringify({ query: { a: c } }) })],
  ["a batch", (c) => send({ body: JSON.stringify([{ query: `{ ${c} }` }]) })],
  ["a body that is a string", (c) => send({ body: JSON.stringify(c) })],
  ["a body that is not JSON", (c) => send({ body: `{"query": ${c}` })],
  ["a body that is no UTF-8", (c) => send({ body: Buffer.from(`{"query":"${c}\xff"}`, "latin1") })],
  ["a key that stands twice", (c) => send({ body: `{"query":"{ currentUser { id } }","query":"${c}"}` })],
  [
    "a key that stands twice in the variables",
    (c) => send({ body: `{"query":"{ currentUser { id } }","variables":{"a":1,"\\u0061":"${c}"}}` }),
  ],
  ["a row that is there already", (c) => conflict(c), ["CONFLICT"]],
  [
    "a workspace that is not there",
    (c) => graphql(setVariable, { i: { provider: c, name: c, value: c, workspaceId: randomUUID() } }),
    ["FORBIDDEN"],
  ],
  ["a subscription", (c) => graphql(`subscription { ${c} }`)],
  [
    "an empty filter",
    (c) => graphql(`{ a: userCredentials(filter: { and: [{ name: { equalTo: "${c}" } }, {}] }) { totalCount } }`),
  ],
];

function setting(value: string): string {
  return `mutation { setUserCredential(input: { provider: "p", name: "n", value: ${value} }) { created } }`;
}

const setVariable = "mutation ($i: SetUserCredentialInput!) { setUserCredential(input: $i) { created } }";

async function conflict(canary: string): Promise<Got> {
  const create = `mutation ($c: UserCredentialInput!) { createUserCredential(input: { userCredential: $c }) { userCredential { id } } }`;
  const c = { provider: canary, name: canary, type: "API_KEY", value: canary, description: canary };
  await graphql(create, { c });
  return graphql(create, { c });
}

const noted = new Set<string>();

for (const [title, position, codes = ["VALIDATION"]] of positions) {
  test(`${title} is answered with ${codes}, and neither answer nor log repeats it`, async (t) => {
    const canary = canaryOf();
    noted.add(canary);
    const got = await position(canary);
    t.deepEqual(codesOf(got), codes, got.text);
    t.false(got.text.includes(canary), got.text);
    t.false(JSON.stringify(got.headers).includes(canary));
    t.false(server.log().includes(canary), "the log");
    t.is(got.headers["cache-control"], "no-store");
    t.regex(String(got.headers["x-request-id"]), /^[0-9a-f-]{36}$/);
  });
}

// A name stands where no value can: what is typed there by mistake for a value is an enum to GraphQL, and not repeated.
test("a field, argument or type that does not exist is named, so that it can be found", async (t) => {
  for (const [document, message] of [
    ["{ userCredentialz { totalCount } }", /Cannot query field "userCredentialz" on type "Query".*"userCredentials"/],
    ["{ userCredentials(frist: 1) { totalCount } }", /Unknown argument "frist".*"first"/],
    ["{ ...Nothing }", /Unknown fragment "Nothing"/],
    ["query ($a: Nothing) { currentUser { id } }", /Unknown type "Nothing"/],
    ["{ currentUser @nothing { id } }", /Unknown directive "@nothing"/],
    ["{ currentUser }", /must have a selection/],
    [
      `mutation { setUserCredential(input: { provider: "p", value: "v" }) { created } }`,
      /"SetUserCredentialInput.name" of required type/,
    ],
    [`mutation { setUserCredential(input: { vlaue: "v" }) { created } }`, /required type|"vlaue" is not defined/],
  ] as const) {
    const got = await graphql(document);
    t.true(codesOf(got).includes("VALIDATION"));
    t.regex(got.text.replaceAll('\\"', '"'), message);
  }
});

const literals: Array<[document: string, type: string]> = [
  ['{ userCredential(id: "CANARY") { id } }', "UUID"],
  ["{ userCredential(id: CANARY) { id } }", "UUID"],
  ["{ userCredentials(after: CANARY) { totalCount } }", "Cursor"],
  ["{ userCredential(id: null) { id } }", "UUID!"],
  ['{ userCredentials(first: "CANARY") { totalCount } }', "Int"],
  ["{ userCredentials(first: 99999999999) { totalCount } }", "Int"],
  ['{ userCredentials(filter: { createdAt: "CANARY" }) { totalCount } }', "DatetimeFilter"],
  ["{ userCredentials(filter: { name: { equalTo: 7 } }) { totalCount } }", "String"],
  ["{ userCredentials(filter: { type: { equalTo: CANARY } }) { totalCount } }", "CredentialType"],
  ['{ userCredentials(filter: { type: { equalTo: "CANARY" } }) { totalCount } }', "CredentialType"],
  ["{ userCredentials(filter: { metadata: { contains: { a: [CANARY] } } }) { totalCount } }", "JSON"],
  [
    'mutation { setUserCredential(input: { provider: "p", name: "n", value: "v", metadata: { a: CANARY } }) { created } }',
    "JSON",
  ],
  ["{ userCredentials(filter: { metadata: { contains: { a: [CANARY, 1e999] } } }) { totalCount } }", "JSON"],
  [`{ userCredentials(filter: { metadata: { contains: 1${"0".repeat(400)} } }) { totalCount } }`, "JSON"],
];
for (const [document, type] of literals) {
  test(`a literal that does not fit is told by its type: ${document}`, async (t) => {
    const canary = canaryOf();
    noted.add(canary);
    const got = await graphql(document.replace("CANARY", canary));
    const [error, ...more] = JSON.parse(got.text).errors;
    t.is(error.message, `A value of the document does not fit its type "${type}".`);
    t.is(error.extensions.code, "VALIDATION");
    // Scalars of PostGraphile's own know no place.
    t.is(error.locations?.length ?? 1, 1);
    t.deepEqual(more, []);
    t.false(got.text.includes(canary));
  });
}

test("an operation that the document does not have, and one of several without a name, are told as what they are", async (t) => {
  const two = "query A { currentUser { id } } query B { currentUser { id } }";
  const messages = async (document: string, more: object) => {
    const got = await graphql(document, {}, {}, more);
    return JSON.parse(got.text).errors.map(({ message }: { message: string }) => message);
  };
  t.deepEqual(await messages(two, { operationName: "C" }), [
    "The document has no operation of the name that operationName gives.",
  ]);
  t.deepEqual(await messages(two, {}), ["The document has several operations: operationName must say which one."]);
  t.deepEqual(codesOf(await graphql(two, {}, {}, { operationName: "B" })), []);
});

test("a variable that does not fit is named, with its place in the document", async (t) => {
  const got = await graphql("query ($id: UUID!) { userCredential(id: $id) { id } }", { id: 7 });
  t.deepEqual(JSON.parse(got.text).errors, [
    {
      message: 'Variable "$id" does not fit its type.',
      locations: [{ line: 1, column: 8 }],
      extensions: { code: "VALIDATION" },
    },
  ]);
});

test("a number that would be read as infinite, and written as null, is refused", async (t) => {
  const query = "query ($m: JSON!) { userCredentials(filter: { metadata: { contains: $m } }) { totalCount } }";
  const ask = (m: string) => send({ body: `{"query":"${query}","variables":{"m":${m}}}` });
  for (const m of ["1e400", '{"a":[-1e400]}', `1${"0".repeat(400)}`]) {
    const answer = await ask(m);
    t.deepEqual(codesOf(answer), ["VALIDATION"], m);
    t.regex(answer.text, /"A variable has a number beyond those of double precision\."/);
  }
  t.deepEqual(codesOf(await ask("1e308")), []);
});

test("a document or a variable that is nested without end is LIMIT_EXCEEDED, and the server goes on", async (t) => {
  const deep = (open: string, close: string) => open.repeat(50_000) + close.repeat(50_000);
  for (const query of [
    deep("{a", "}"),
    `{ userCredentials(filter: { metadata: { contains: ${deep("[", "]")} } }) { totalCount } }`,
    `query ($a: ${deep("[", "]")}) { currentUser { id } }`,
  ]) {
    t.deepEqual(codesOf(await graphql(query)), ["LIMIT_EXCEEDED"]);
  }
  const query = "query ($m: JSON!) { userCredentials(filter: { metadata: { contains: $m } }) { totalCount } }";
  const body = `{"query":"${query}","variables":{"m":${deep("[", "]")}}}`;
  t.deepEqual(codesOf(await send({ body })), ["LIMIT_EXCEEDED"]);
  t.deepEqual(codesOf(await graphql("{ currentUser { id } }")), []);
});

const JSON_TYPE = "application/json";
const RESPONSE_TYPE = "application/graphql-response+json";

for (const [title, document, status] of [
  ["a document that does not parse", "{", 400],
  ["a document that does not validate", "{ nothing }", 400],
  ["an error of a field", `{ userCredential(id: "00000000-0000-4000-8000-000000000000") { id } }`, 200],
  ["an answer without error", "{ currentUser { id } }", 200],
] as const) {
  test(`${title} is 200 as ${JSON_TYPE}, and ${status} as ${RESPONSE_TYPE}`, async (t) => {
    const asJson = await graphql(document, {}, { accept: JSON_TYPE });
    t.is(asJson.status, 200);
    t.is(asJson.headers["content-type"], `${JSON_TYPE}; charset=utf-8`);
    const asResponse = await graphql(document, {}, { accept: RESPONSE_TYPE });
    t.is(asResponse.status, status);
    t.is(asResponse.headers["content-type"], `${RESPONSE_TYPE}; charset=utf-8`);
    t.is(asJson.text, asResponse.text);
  });
}

for (const [accept, status] of [
  [undefined, 200],
  ["*/*", 200],
  ["application/*", 200],
  ["text/html, application/json;q=0.5", 200],
  ["APPLICATION/JSON", 200],
  ["application/json;charset=utf-8;q=0.001", 200],
  ["application/graphql-response+json;q=0, application/json", 200],
  ["application/json;q=much", 200],
  // Blanks may stand around the semicolon, and none around the equals sign.
  ["application/json ; q=0", 406],
  ["application/json\t;\tq=0.5", 200],
  ["application/json; q = 0", 200],
  ["application/json; q= 0", 200],
  ['application/json; x=";q=0"', 200],
  ['text/html; x="a, */*"', 406],
  ['text/html; x="a\\", */*"', 406],
  ["application/json;q=0", 406],
  ["application/graphql-response+json; q=0.000, application/json;q=0, */*", 406],
  ["*/*;q=0", 406],
  ["text/html", 406],
  ["image/png, text/*", 406],
] as const) {
  test(`Accept: ${accept} is answered with ${status}`, async (t) => {
    const got = await graphql("{ currentUser { id } }", {}, { accept });
    t.is(got.status, status);
    t.deepEqual(codesOf(got), status === 200 ? [] : ["VALIDATION"]);
  });
}

for (const [accept, type] of [
  ["*/*", JSON_TYPE],
  ["application/*", JSON_TYPE],
  ["text/html, */*;q=0.8", JSON_TYPE],
  [`${JSON_TYPE}, ${RESPONSE_TYPE}`, RESPONSE_TYPE],
  [`${RESPONSE_TYPE};q=0.9, ${JSON_TYPE};q=0.8`, RESPONSE_TYPE],
  [`${RESPONSE_TYPE};q=0.8, ${JSON_TYPE};q=0.9`, JSON_TYPE],
  [`${RESPONSE_TYPE};q=0.8, */*`, JSON_TYPE],
  [`${RESPONSE_TYPE};q=0, */*;q=0.1`, JSON_TYPE],
  [`${JSON_TYPE};q=0, */*;q=0.1`, RESPONSE_TYPE],
] as const) {
  test(`Accept: ${accept} is answered as ${type}`, async (t) => {
    const got = await graphql("{ currentUser { id } }", {}, { accept });
    t.deepEqual([got.status, got.headers["content-type"]], [200, `${type}; charset=utf-8`]);
  });
}

for (const [coding, status] of [
  ["identity", 200],
  ["Identity", 200],
  ["gzip", 415],
  ["br, identity", 415],
  ["", 415],
] as const) {
  test(`Content-Encoding: ${coding || "of no name"} is answered with ${status}`, async (t) => {
    const got = await graphql("{ currentUser { id } }", {}, { "content-encoding": coding });
    t.is(got.status, status);
    t.is(got.headers["accept-encoding"], status === 415 ? "identity" : undefined);
    t.deepEqual(codesOf(got), status === 200 ? [] : ["VALIDATION"]);
  });
}

for (const [extensions, status] of [
  [null, 200],
  [{}, 200],
  [{ persistedQuery: { version: 1 } }, 200],
  ["x", 400],
  [[], 400],
  [1, 400],
  [false, 400],
] as const) {
  test(`the extensions ${JSON.stringify(extensions)} of a request are answered with ${status}`, async (t) => {
    const got = await send({ body: JSON.stringify({ query: "{ currentUser { id } }", extensions }) });
    t.is(got.status, status);
    if (status === 400) t.regex(got.text, /\\"extensions\\" must be an object\./);
  });
}

for (const [type, status] of [
  ["application/json", 200],
  ["application/json; charset=utf-8", 200],
  ['Application/JSON; Charset="UTF-8"', 200],
  ['application/json; charset="utf-8', 415],
  ['application/json; charset=utf-8"', 415],
  ["application/json; charset=latin1", 415],
  ["application/json; charset=utf-16", 415],
  ["application/graphql", 415],
  ["text/plain", 415],
  ["application/x-www-form-urlencoded", 415],
  ["multipart/form-data; boundary=x", 415],
  [undefined, 415],
  ["Application/JSON ; Charset=UTF-8", 200],
  ['application/json; charset="utf-8"', 200],
  ['application/json; charset="ut\\f-8"', 200],
  ['application/json; x="; charset=utf-16"', 200],
  ['application/json; x="a\\"; charset=utf-16"', 200],
  ['application/json; x="a;b"; charset=utf-16', 415],
  ["application/json; charset = utf-8", 415],
  ["application/json; charset", 415],
  ["application/json; charset=utf-8; charset=utf-16", 415],
] as const) {
  test(`Content-Type: ${type} is answered with ${status}`, async (t) => {
    const got = await graphql("{ currentUser { id } }", {}, { "content-type": type });
    t.is(got.status, status);
    t.deepEqual(codesOf(got), status === 200 ? [] : ["VALIDATION"]);
  });
}

// As long as they may be, and one character longer.
const longest: Array<[header: string, make: (blanks: string) => string, status: number]> = [
  ["content-type", (blanks) => `application/json;${blanks}charset=utf-8`, 415],
  ["accept", (blanks) => `application/json,${blanks}*/*`, 406],
  ["content-encoding", (blanks) => `identity,${blanks}identity`, 415],
];
for (const [header, make, status] of longest) {
  test(`${header} is read up to 4096 characters, and beyond that answered ${status}`, async (t) => {
    for (const [length, expected] of [
      [4_096, 200],
      [4_097, status],
    ] as const) {
      const value = make(" ".repeat(length - make("").length));
      t.is((await graphql("{ currentUser { id } }", {}, { [header]: value })).status, expected);
    }
  });
}

for (const method of ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"]) {
  test(`${method} is no way to ask: 405 with Allow, and the query in the address goes nowhere`, async (t) => {
    const canary = canaryOf();
    const got = await send({ method, path: `/graphql?query=${canary}` });
    t.is(got.status, 405);
    t.is(got.headers.allow, "POST");
    t.is(got.headers["cache-control"], "no-store");
    if (method !== "HEAD") {
      t.deepEqual(codesOf(got), ["VALIDATION"]);
      t.regex(got.text, /"Only POST is answered here\."/);
    }
    t.false((got.text + server.log()).includes(canary));
  });
}

for (const path of [
  "/",
  "/graphql/",
  "/GRAPHQL",
  "/graphiql",
  "/ruru-static/x.js",
  "/__proto__",
  "/constructor",
  "//graphql",
  "/.env",
]) {
  test(`${path} is no address: 404, in JSON`, async (t) => {
    const got = await send({ method: "GET", path });
    t.is(got.status, 404);
    t.deepEqual(codesOf(got), ["NOT_FOUND"]);
  });
}

for (const path of ["/healthz", "/readyz"]) {
  test(`${path} is asked by GET or HEAD, and says so`, async (t) => {
    const got = await send({ method: "POST", path });
    t.deepEqual([got.status, got.headers.allow, codesOf(got)], [405, "GET, HEAD", ["VALIDATION"]]);
    t.regex(got.text, /"Only GET and HEAD are answered here\."/);
    t.is((await send({ method: "HEAD", path })).status, 200);
  });
}

test("where GraphiQL is served, its page is asked by GET, and says so", async (t) => {
  const other = await startTestServer({ env: { KEYROW_GRAPHIQL: "on" } });
  t.teardown(() => other.stop());
  const got = await fetch(`${other.url}/graphiql`, { method: "POST", body: "{}" });
  t.deepEqual([got.status, got.headers.get("allow")], [405, "GET"]);
  t.regex(await got.text(), /"code":"VALIDATION"/);
  t.is((await fetch(`${other.url}/graphiql`)).status, 200);
});

test("an address is neither repeated nor logged", async (t) => {
  const canary = canaryOf();
  const got = await send({ method: "GET", path: `/${canary}?a=${canary}` });
  t.is(got.status, 404);
  t.false((got.text + server.log()).includes(canary));
});

test("a body over the limit is 413, whether it says its length or not", async (t) => {
  const canary = canaryOf();
  const body = JSON.stringify({
    query: "{ currentUser { id } }",
    padding: canary.repeat(bodyBytes / canary.length + 1),
  });
  for (const headers of [{}, { "transfer-encoding": "chunked" }]) {
    const got = await send({ body, headers });
    t.is(got.status, 413);
    t.deepEqual(codesOf(got), ["LIMIT_EXCEEDED"]);
    t.regex(got.text, new RegExp(`\\b${bodyBytes}\\b`));
    t.is(got.headers.connection, "close");
    t.false((got.text + server.log()).includes(canary));
  }
});

test("a body whose sender goes away is the sender's fault, and not the database's", async (t) => {
  const id = randomUUID();
  const { hostname, port } = new URL(server.url);
  const headers = ["host: x", `authorization: Bearer ${server.token(ana)}`, "content-type: application/json"];
  const head = ["POST /graphql HTTP/1.1", ...headers, `x-request-id: ${id}`, "content-length: 100", "", ""];
  const socket = connect(Number(port), hostname, () => {
    socket.write(`${head.join("\r\n")}{"query":`, () => socket.resetAndDestroy());
  });
  const lines = () =>
    server
      .log()
      .split("\n")
      .filter((line) => line.includes(id));
  await until(() => lines().length > 0);
  // The answer is made after the connection is gone.
  await server.query(ana, "{ __typename }");
  t.deepEqual(
    lines().filter((line) => line.includes("database")),
    [],
  );
  t.false(
    lines().some((line) => line.includes('"status":503')),
    lines().join(),
  );
  t.true(lines().length > 0);
});

test("a header is neither repeated nor logged", async (t) => {
  const canary = canaryOf();
  const got = await graphql(
    "{ currentUser { id } }",
    {},
    {
      ...{ "x-canary": canary, "user-agent": canary, cookie: canary, referer: canary, origin: canary },
      ...{ "x-forwarded-for": canary, "content-type": `application/json; x=${canary}`, accept: `*/*; x=${canary}` },
    },
  );
  t.is(got.status, 200);
  t.false((got.text + JSON.stringify(got.headers) + server.log()).includes(canary));
});

test("a request's id that has a harmless form goes through answer and log, any other is replaced", async (t) => {
  const given = `trace.${randomUUID()}`;
  const kept = await graphql("{", {}, { "x-request-id": given });
  t.is(kept.headers["x-request-id"], given);
  t.true(logged(given).some(({ msg }) => msg === "request"));
  for (const other of ["a".repeat(65), "a b", 'a"b', "a/b", ""]) {
    const got = await graphql("{ currentUser { id } }", {}, { "x-request-id": other });
    t.regex(String(got.headers["x-request-id"]), /^[0-9a-f-]{36}$/);
    if (other !== "") t.false(server.log().includes(other));
  }
});

/** The lines of the log of one request. */
function logged(requestId: string): Array<Record<string, unknown>> {
  return server
    .log()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line))
    .filter(({ request }) => request === requestId);
}

test("the request's id is in the activity log as well", async (t) => {
  const got = await graphql("query ($id: UUID!) { userCredential(id: $id) { value } }", { id });
  const { rows } = await asAdmin(
    server.database,
    "select details->>'request' as request from public.activity_logs where entity_id = $1 order by id desc limit 1",
    [id],
  );
  t.is(rows[0].request, got.headers["x-request-id"]);
});

test("an unexpected error is INTERNAL, in the log with the request's id, its name and place, and no text", async (t) => {
  const other = await startTestServer();
  try {
    const bo = await makeUser(other.database);
    await other.database.pool("postgres").query(`
      create function public.break() returns trigger language plpgsql as
        $$ begin raise exception 'it was %', new.name using errcode = 'P0001', detail = new.encrypted_value; end $$;
      create trigger break before insert on public.user_credentials for each row execute function public.break()`);
    const canary = canaryOf();
    const got = await other.query(bo, setVariable, { i: { provider: canary, name: canary, value: canary } });
    t.deepEqual(got.codes, ["INTERNAL"]);
    t.is(got.errors[0]?.message, catalogue.INTERNAL.message);
    const requestId = got.headers.get("x-request-id");
    const lines = other
      .log()
      .split("\n")
      .filter((line) => line.includes('"level":"error"'));
    t.is(lines.length, 1);
    const { request, error } = JSON.parse(lines[0] ?? "");
    t.is(request, requestId);
    t.like(error, { name: "DatabaseError", code: "P0001" });
    t.true(error.at.length > 0);
    t.false((got.text + other.log()).includes(canary));
    t.notRegex(got.text + other.log(), /it was|raise|plpgsql/);
  } finally {
    await other.stop();
  }
});

test("a database that takes no connection is UNAVAILABLE, and says nothing of where it was", async (t) => {
  const other = await startTestServer();
  try {
    const bo = await makeUser(other.database);
    const superuser = other.database.pool("postgres");
    await superuser.query(`alter database ${other.database.name} connection limit 0`);
    await superuser.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and usename = 'keyrow_authenticator'",
      [other.database.name],
    );
    const got = await other.query(bo, "{ currentUser { id } }");
    t.deepEqual(got.codes, ["UNAVAILABLE"]);
    t.false((got.text + other.log()).includes(other.database.name));
  } finally {
    await other.stop();
  }
});

const signed = (claims: object, secret = server.secret, options: jwt.SignOptions = { expiresIn: 600 }) =>
  jwt.sign({ aud: "keyrow", ...claims }, secret, options);

const unauthenticated: Array<[title: string, authorization: () => string | string[] | undefined]> = [
  ["no token", () => undefined],
  ["an empty header", () => ""],
  ["another scheme", () => "Basic YTpi"],
  ["a token without a scheme", () => server.token(ana)],
  ["no JWT", () => "Bearer nothing"],
  ["an expired token", () => `Bearer ${signed({ sub: ana }, server.secret, { expiresIn: -60 })}`],
  ["a token without an end", () => `Bearer ${signed({ sub: ana }, server.secret, {})}`],
  ["another secret's token", () => `Bearer ${signed({ sub: ana }, "x".repeat(48))}`],
  ["another audience's token", () => `Bearer ${signed({ sub: ana, aud: "other" })}`],
  [
    "a token that is not signed",
    () => `Bearer ${jwt.sign({ sub: ana, aud: "keyrow" }, "", { algorithm: "none", expiresIn: 60 })}`,
  ],
  ["a user that is no UUID", () => `Bearer ${signed({ sub: "not-a-uuid" })}`],
  ["no user", () => `Bearer ${signed({})}`],
  ["two headers", () => [`Bearer ${server.token(ana)}`, `Bearer ${server.token(ana)}`]],
];

for (const [title, authorization] of unauthenticated) {
  test(`${title} is one 401, the same for each, and nothing else`, async (t) => {
    const header = authorization();
    for (const query of ["{ currentUser { id } }", "{ __schema { types { name } } }", "{ nothing }", "{"]) {
      const got = await graphql(query, {}, { authorization: header });
      t.is(got.status, 401);
      t.is(got.headers["www-authenticate"], 'Bearer realm="keyrow", error="invalid_token"');
      t.is(got.headers["cache-control"], "no-store");
      t.deepEqual(JSON.parse(got.text), {
        errors: [{ message: catalogue.UNAUTHENTICATED.message, extensions: { code: "UNAUTHENTICATED" } }],
      });
      const token = String(header).split(" ").at(-1) ?? "";
      if (token.length > 10) t.false(server.log().includes(token), "the log");
    }
  });
}

test("without a token nothing is read of the request: no body is too large, no type wrong", async (t) => {
  const got = await send({
    headers: { authorization: undefined, "content-type": "text/plain", accept: "image/png" },
    body: "x",
  });
  t.is(got.status, 401);
});
