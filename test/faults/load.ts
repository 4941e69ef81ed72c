import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { ExecutionContext } from "ava";
import { withConnection } from "../../src/setup.ts";
import { type Answer, post } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";
import type { Postgres } from "./postgres.ts";
import type { Served } from "./serving.ts";

const USERS = 4;
// One page holds a user's credentials, and one request may reveal as many.
const MOST_CREATED = 400;
// Whoever forgets to settle it is not kept busy for ever.
const MOST_MS = 5 * 60_000;
const PAUSE_MS = 20;

const mutations = {
  create: `mutation ($name: String!, $value: String!) {
    createUserCredential(input: { userCredential: { provider: "load", name: $name, value: $value, type: SECRET } }) {
      userCredential { id }
    }
  }`,
  set: `mutation ($name: String!, $value: String!) {
    setUserCredential(input: { provider: "load", name: $name, value: $value }) { userCredential { id value } }
  }`,
};
const reveal = "query ($id: UUID!) { userCredential(id: $id) { name value } }";

/** What one credential was given: what was acknowledged last, and what may or may not have arrived. */
interface Written {
  id?: string;
  acknowledged?: string;
  readonly unanswered: Set<string>;
}

/** A value that was answered, and by which request. */
interface Revealed {
  readonly request: string;
  readonly id: string;
}

/** An answer with an error. */
export interface Refusal {
  readonly status: number;
  readonly codes: readonly string[];
  readonly ms: number;
}

/** Users who write and reveal until they are told to stop, and a ledger of what they were told. */
export interface Load {
  readonly refusals: readonly Refusal[];
  /** Answers without an error, so far. */
  served(): number;
  /** Resolves when so many more answers without an error have come. */
  more(answers: number): Promise<void>;
  /** Resolves when so many more answers with an error have come. */
  refused(answers: number): Promise<void>;
  /** Stops it, and asserts that all that was acknowledged is there, and all that was revealed is on the record. */
  settle(): Promise<void>;
}

/** Begins a load on a server; its users are made in the database. */
export async function startLoad(t: ExecutionContext, postgres: Postgres, served: Served): Promise<Load> {
  const users = await makeUsers(postgres, USERS);
  const ledgers = users.map((user) => ({ user, written: new Map<string, Written>() }));
  const revealed: Revealed[] = [];
  const wrong: string[] = [];
  const refusals: Refusal[] = [];
  let answers = 0;
  let stopped = false;

  /** Asks once and takes down what was answered; the answer where it has data. */
  async function ask(user: string, query: string, variables: Record<string, unknown>): Promise<Answer["data"]> {
    const started = performance.now();
    // biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
    const answer: Answer<any> = await post(served.url, served.token(user), { query, variables });
    const ms = performance.now() - started;
    if (answer.codes.length > 0) refusals.push({ status: answer.status, codes: answer.codes, ms });
    else answers += 1;
    const { id = variables.id, value } =
      answer.data?.setUserCredential?.userCredential ?? answer.data?.userCredential ?? {};
    const request = answer.headers.get("x-request-id") ?? "";
    if (value != null) revealed.push({ request, id });
    if (answer.codes.length > 0) await delay(PAUSE_MS);
    return answer.data;
  }

  async function write(ledger: (typeof ledgers)[number], kind: keyof typeof mutations, name: string): Promise<void> {
    const value = `value-${randomBytes(12).toString("hex")}`;
    const entry = ledger.written.get(name) ?? { unanswered: new Set() };
    ledger.written.set(name, entry);
    entry.unanswered.add(value);
    // biome-ignore lint/suspicious/noExplicitAny: one of two forms.
    const data: any = await ask(ledger.user, mutations[kind], { name, value });
    const id = (data?.createUserCredential ?? data?.setUserCredential)?.userCredential?.id;
    if (id === undefined) return;
    entry.unanswered.delete(value);
    Object.assign(entry, { id, acknowledged: value });
  }

  async function look(ledger: (typeof ledgers)[number], name: string): Promise<void> {
    const entry = ledger.written.get(name);
    if (entry?.id === undefined) return;
    // biome-ignore lint/suspicious/noExplicitAny: the form that the query asks for.
    const data: any = await ask(ledger.user, reveal, { id: entry.id });
    const value = data?.userCredential?.value;
    if (value != null && value !== entry.acknowledged && !entry.unanswered.has(value)) wrong.push(name);
  }

  const deadline = Date.now() + MOST_MS;
  const running = ledgers.map(async (ledger) => {
    for (let round = 0; !stopped && Date.now() < deadline; round++) {
      if (round < MOST_CREATED) await write(ledger, "create", `once-${round}`);
      await write(ledger, "set", `again-${round % 3}`);
      await look(ledger, round % 2 === 0 ? `once-${Math.floor(round / 2) % MOST_CREATED}` : `again-${round % 3}`);
    }
  });
  // Whoever waits for it hears of it in `settle`.
  for (const one of running) one.catch(() => undefined);

  const state = () =>
    `${answers} answers, ${refusals.length} refusals, the last ${JSON.stringify(refusals.slice(-4))}; ${served.log().slice(-2_000)}`;
  return {
    refusals,
    served: () => answers,
    more: (wanted) => grown(() => answers, wanted, "served", state),
    refused: (wanted) => grown(() => refusals.length, wanted, "refused", state),
    async settle() {
      stopped = true;
      await Promise.all(running);
      t.deepEqual(wrong, [], "no reveal answered anything else than what was written");
      t.true(served.isRunning(), "the server never ended");
      for (const ledger of ledgers) await holdsAll(t, served, ledger);
      await onRecord(t, postgres, revealed);
      const log = served.log();
      t.deepEqual(
        log.split("\n").filter((line) => line.includes('"level":"error"')),
        [],
        "nothing was unexpected",
      );
      const values = ledgers.flatMap(({ written }) =>
        [...written.values()].flatMap(({ acknowledged, unanswered }) => [acknowledged ?? "", ...unanswered]),
      );
      t.deepEqual(
        values.filter((value) => value !== "" && log.includes(value)),
        [],
        "no value is in the log",
      );
    },
  };
}

/** Makes users in the database; gives their ids. */
export async function makeUsers(postgres: Postgres, count: number): Promise<string[]> {
  const users = Array.from({ length: count }, () => randomUUID());
  await withConnection(postgres.url("postgres"), (client) =>
    client.query("insert into public.users (id, name) select id, 'load' from unnest($1::uuid[]) id", [users]),
  );
  return users;
}

/** Waits until a count has grown by so many; `state` is told where it has not. */
async function grown(count: () => number, wanted: number, what: string, state: () => string): Promise<void> {
  const aim = count() + wanted;
  await until(
    () => count() >= aim,
    () => `${aim - count()} more requests that are ${what}: ${state()}`,
  );
}

/** Asserts that each acknowledged write of a user's is there and opens to its value. */
async function holdsAll(
  t: ExecutionContext,
  served: Served,
  { user, written }: { user: string; written: Map<string, Written> },
): Promise<void> {
  const query = "{ userCredentials(first: 1000) { nodes { name value } } }";
  const { data, codes } = await post(served.url, served.token(user), { query });
  t.deepEqual(codes, []);
  const there = new Map<string, string>(
    data.userCredentials.nodes.map(({ name, value }: { name: string; value: string }) => [name, value]),
  );
  const lost = [...written].filter(([name, { acknowledged, unanswered }]) => {
    const value = there.get(name);
    return acknowledged !== undefined && value !== acknowledged && !(value !== undefined && unanswered.has(value));
  });
  t.deepEqual(lost, [], "every acknowledged write is there");
}

/** Asserts that each value that was answered has its entry in the log, under the request that answered it. */
async function onRecord(t: ExecutionContext, postgres: Postgres, revealed: readonly Revealed[]): Promise<void> {
  const { rows } = await withConnection(postgres.url("postgres"), (client) =>
    client.query(
      `select details ->> 'request' || ' ' || entity_id as entry from public.activity_logs where action = 'CREDENTIAL_ACCESSED'`,
    ),
  );
  const entries = new Set(rows.map(({ entry }) => entry));
  t.true(revealed.length > 0, "something was revealed");
  t.deepEqual(
    revealed.filter(({ request, id }) => !entries.has(`${request} ${id}`)),
    [],
    "every revealed value is on the record",
  );
}

/** Asserts that the server answers a reveal again before the deadline; call it when the database is back. */
export async function isBack(t: ExecutionContext, load: Load, ms = 5_000): Promise<void> {
  const before = load.served();
  const deadline = Date.now() + ms;
  while (load.served() === before && Date.now() < deadline) await delay(5);
  const last = JSON.stringify(load.refusals.slice(-4));
  t.true(load.served() > before, `served again within ${ms} ms; the last refusals: ${last}`);
}

/** Asserts as `isBack` does, for somebody who asks now and did not before: others may wait for what never comes. */
export async function isBackFor(t: ExecutionContext, postgres: Postgres, served: Served, ms = 5_000): Promise<void> {
  const [user] = await makeUsers(postgres, 1);
  const deadline = Date.now() + ms;
  const query = "{ userCredentials { nodes { name } } }";
  const ask = async () => (await post(served.url, served.token(user ?? ""), { query })).codes;
  let codes = await ask();
  while (codes.length > 0 && Date.now() < deadline) codes = await ask();
  t.deepEqual(codes, []);
  t.true(Date.now() < deadline, `served again within ${ms} ms`);
}

/** Asserts that nothing was refused but for want of the database. */
export function onlyUnavailable(t: ExecutionContext, refusals: readonly Refusal[]): void {
  const others = refusals.filter(
    ({ status, codes }) => ![200, 503].includes(status) || codes.some((code) => code !== "UNAVAILABLE"),
  );
  t.deepEqual(others, [], "every refusal is UNAVAILABLE");
}
