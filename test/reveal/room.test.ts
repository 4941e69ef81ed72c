import test, { type ExecutionContext } from "ava";
import { makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { type Made, makeCredentials, recordedReveals } from "./credentials.ts";

const ANSWER = 100_000;
// Two of them fit into an answer, three don't.
const VALUE = 40_000;

interface Stage {
  readonly server: TestServer;
  readonly ana: string;
  readonly made: readonly Made[];
}

async function stage(t: ExecutionContext): Promise<Stage> {
  const server = await startTestServer({ env: { KEYROW_MAX_ANSWER: `${ANSWER}` } });
  t.teardown(() => server.stop());
  const ana = await makeUser(server.database);
  const made = await makeCredentials(server, ana, 3);
  const rotate = `mutation ($id: UUID!, $value: String!) {
    rotateUserCredential(input: { id: $id, value: $value }) { userCredential { id } }
  }`;
  for (const { id } of made) {
    t.deepEqual((await server.query(ana, rotate, { id, value: "x".repeat(VALUE) })).codes, []);
  }
  return { server, ana, made };
}

/** Asks, and gives the codes and how many values are on the record. */
async function ask({ server, ana }: Stage, query: string, variables: Record<string, unknown> = {}) {
  const { codes, data, headers } = await server.query(ana, query, variables);
  const recorded = await recordedReveals(server.database, headers.get("x-request-id"));
  return { codes: [...new Set(codes)], data, recorded: recorded.length };
}

test("values that can't fit into an answer are refused before they are on the record", async (t) => {
  const it = await stage(t);
  const list = (first: number) => `{ userCredentials(first: ${first}) { nodes { value } } }`;
  t.like(await ask(it, list(2)), { codes: [], recorded: 2 });
  const refused = await ask(it, list(3));
  t.like(refused, { codes: ["LIMIT_EXCEEDED"], recorded: 0 });
  t.deepEqual(refused.data.userCredentials.nodes, [{ value: null }, { value: null }, { value: null }]);
});

test("what the steps of one request reveal is added up", async (t) => {
  const it = await stage(t);
  // Each mutation is a step of its own.
  const [a, b, c] = it.made.map(({ id }) => id);
  const rotate = (id: string | undefined) =>
    `rotateUserCredential(input: { id: "${id}", value: "${"y".repeat(VALUE)}" }) { userCredential { value } }`;
  const three = await ask(it, `mutation { a: ${rotate(a)} b: ${rotate(b)} c: ${rotate(c)} }`);
  t.like(three, { codes: ["LIMIT_EXCEEDED"], recorded: 2 });
  t.is(three.data.c.userCredential.value, null);
});

test("a value that is asked for under several names is revealed once", async (t) => {
  const it = await stage(t);
  const twice = await ask(it, "{ userCredentials(first: 1) { nodes { a: value b: value } } }");
  t.like(twice, { codes: [], recorded: 1 });
});
