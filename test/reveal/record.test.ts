import test from "ava";
import { asAdmin, makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";
import {
  asRecorded,
  forge,
  listenToTraffic,
  type Made,
  makeCredentials,
  recordedReveals,
  replaceReveal,
  revealOne,
} from "./credentials.ts";

const traffic = listenToTraffic();
let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

interface Counted {
  readonly transactions: string[][];
  /** Calls of the reveal function. */
  readonly reveals: number;
  /** Calls of the cipher, each with its number of values. */
  readonly opened: number[];
  readonly recorded: string[];
  // biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
  readonly data: any;
  readonly codes: readonly string[];
}

/** Runs a query and counts what it took. The cipher counts for the whole server, so these tests run one by one. */
async function count(
  userId: string,
  query: string,
  variables: Record<string, unknown> = {},
  on: TestServer = server,
): Promise<Counted> {
  const before = on.cipherCalls.open.length;
  const { data, codes, headers } = await on.query(userId, query, variables);
  const request = headers.get("x-request-id");
  const transactions = traffic.of(request);
  return {
    data,
    codes,
    transactions,
    reveals: transactions.flat().filter((statement) => statement.includes("reveal_user_credentials")).length,
    opened: on.cipherCalls.open.slice(before),
    recorded: (await recordedReveals(on.database, request)).map(({ entity_id }) => entity_id),
  };
}

const names = (made: readonly Made[]) => made.map(({ name }) => name).sort();
const ids = (made: readonly Made[]) => made.map(({ id }) => id).sort();
const valuesByName = (made: readonly Made[]) => Object.fromEntries(made.map(({ name, value }) => [name, value]));
const revealed = (nodes: ReadonlyArray<{ name: string; value: string }>) =>
  Object.fromEntries(nodes.map(({ name, value }) => [name, value]));

for (const n of [1, 10, 100]) {
  test.serial(`a list of ${n} is one call of the audit, one of the cipher, and two transactions`, async (t) => {
    const ana = await makeUser(server.database);
    const made = await makeCredentials(server, ana, n);
    const counted = await count(ana, "{ userCredentials { nodes { name value } } }");
    t.deepEqual(revealed(counted.data.userCredentials.nodes), valuesByName(made));
    t.is(counted.reveals, 1);
    t.deepEqual(counted.opened, [n]);
    t.deepEqual(
      counted.transactions.map((statements) => statements.at(-1)),
      ["commit", "commit"],
    );
    t.deepEqual(counted.recorded.sort(), ids(made));
  });
}

test.serial("the record of a list is one transaction in the database", async (t) => {
  const ana = await makeUser(server.database);
  await makeCredentials(server, ana, 7);
  const { headers } = await server.query(ana, "{ userCredentials { nodes { value } } }");
  const { rows } = await asAdmin(
    server.database,
    `select count(*)::int as entries, count(distinct created_at)::int as moments, count(distinct xmin::text)::int as transactions
     from public.activity_logs where details ->> 'request' = $1`,
    [headers.get("x-request-id")],
  );
  t.deepEqual(rows, [{ entries: 7, moments: 1, transactions: 1 }]);
});

test.serial("aliases share a call, and a credential asked for twice is recorded and opened once", async (t) => {
  const ana = await makeUser(server.database);
  const made = await makeCredentials(server, ana, 3);
  const fields = made.map(({ id }, index) => `c${index}: userCredential(id: "${id}") { value again: value }`);
  const counted = await count(ana, `{ ${fields.join(" ")} twice: userCredential(id: "${made[0]?.id}") { value } }`);
  t.deepEqual(
    made.map((_, index) => counted.data[`c${index}`]),
    made.map(({ value }) => ({ value, again: value })),
  );
  t.is(counted.data.twice.value, made[0]?.value);
  t.is(counted.reveals, 1);
  t.deepEqual(counted.opened, [3]);
  t.deepEqual(counted.recorded.sort(), ids(made));
});

test.serial("lists of two aliases share a call", async (t) => {
  const ana = await makeUser(server.database);
  const made = await makeCredentials(server, ana, 4);
  const counted = await count(
    ana,
    "{ a: userCredentials(first: 2) { nodes { value } } b: userCredentials(offset: 2) { nodes { value } } }",
  );
  t.is(counted.reveals, 1);
  t.deepEqual(counted.opened, [4]);
  t.deepEqual(counted.recorded.sort(), ids(made));
});

test.serial("the lists nested in a list share a call, however many rows there are above them", async (t) => {
  const ana = await makeUser(server.database);
  const teams = await Promise.all([1, 2, 3].map(() => makeWorkspace(server.database, { [ana]: "OWNER" })));
  const made: Made[] = [];
  for (const team of teams) made.push(...(await makeCredentials(server, ana, 3, team)));
  const counted = await count(ana, "{ workspaces { nodes { userCredentials { nodes { name value } } } } }");
  const nodes = counted.data.workspaces.nodes.flatMap(
    (workspace: { userCredentials: { nodes: Made[] } }) => workspace.userCredentials.nodes,
  );
  t.deepEqual(nodes.map(({ value }: Made) => value).sort(), made.map(({ value }) => value).sort());
  t.is(counted.reveals, 1);
  t.deepEqual(counted.opened, [9]);
  t.deepEqual(counted.recorded.sort(), ids(made));
});

const mutations: Array<[title: string, document: string]> = [
  [
    "created",
    `createUserCredential(input: { userCredential: { provider: "m", name: "created", type: SECRET, value: $value } })`,
  ],
  ["set", `setUserCredential(input: { provider: "m", name: "set", value: $value })`],
  ["rotated", "rotateUserCredential(input: { id: $id, value: $value })"],
  ["updated", "updateUserCredential(input: { id: $id, patch: { value: $value } })"],
];
for (const [title, mutation] of mutations) {
  test.serial(`the value of a credential that was just ${title} is revealed on the record, once`, async (t) => {
    const ana = await makeUser(server.database);
    const [existing] = await makeCredentials(server, ana, 1);
    const variables = { value: `new-${title}`, ...(mutation.includes("$id") && { id: existing?.id }) };
    const parameters = `$value: String!${mutation.includes("$id") ? ", $id: UUID!" : ""}`;
    const counted = await count(
      ana,
      `mutation (${parameters}) { it: ${mutation} { userCredential { id value } } }`,
      variables,
    );
    t.deepEqual(counted.codes, []);
    t.is(counted.data.it.userCredential.value, `new-${title}`);
    t.is(counted.reveals, 1);
    t.deepEqual(counted.opened, [1]);
    t.deepEqual(counted.recorded, [counted.data.it.userCredential.id]);
  });

  test.serial(
    `a credential that was just ${title} is not recorded as revealed where its value is not asked for`,
    async (t) => {
      const ana = await makeUser(server.database);
      const [existing] = await makeCredentials(server, ana, 1);
      const variables = { value: `new-${title}`, ...(mutation.includes("$id") && { id: existing?.id }) };
      const parameters = `$value: String!${mutation.includes("$id") ? ", $id: UUID!" : ""}`;
      const counted = await count(
        ana,
        `mutation (${parameters}) { it: ${mutation} { userCredential { id maskedValue } } }`,
        variables,
      );
      t.deepEqual([counted.codes, counted.reveals, counted.opened, counted.recorded], [[], 0, [], []]);
    },
  );
}

const pages: Array<[page: string, names: string[]]> = [
  ["first: 2", ["n5", "n4"]],
  ["first: 2, offset: 2", ["n3", "n2"]],
  ["offset: 4", ["n1", "n0"]],
  ["last: 1", ["n0"]],
  ["first: 0", []],
  ["offset: 100, first: 5", []],
  ['filter: { name: { equalTo: "n3" } }', ["n3"]],
];
for (const [page, seen] of pages) {
  test.serial(`a page (${page}) records the rows that are seen, and no other`, async (t) => {
    const ana = await makeUser(server.database);
    const made = await makeCredentials(server, ana, 6);
    const counted = await count(
      ana,
      `{ userCredentials(${page}) { nodes { name value } pageInfo { hasNextPage hasPreviousPage } totalCount } }`,
    );
    t.deepEqual(counted.codes, []);
    t.deepEqual(
      counted.data.userCredentials.nodes.map(({ name }: Made) => name),
      seen,
    );
    t.deepEqual(counted.recorded.map((id) => made.find((one) => one.id === id)?.name).sort(), seen.toSorted());
    t.is(counted.reveals, seen.length === 0 ? 0 : 1);
  });
}

test.serial("each revealed value has one entry, with the user, the request, the workspace and the login", async (t) => {
  const ana = await makeUser(server.database);
  const team = await makeWorkspace(server.database, { [ana]: "ADMIN" });
  const [own] = await makeCredentials(server, ana, 1);
  const [shared] = await makeCredentials(server, ana, 1, team);
  const { headers } = await server.query(ana, "{ userCredentials { nodes { value } } }");
  const request = headers.get("x-request-id");
  const entries = await recordedReveals(server.database, request);
  const entry = (credential: Made | undefined, workspace: string | null, scope: string) => ({
    entity_id: credential?.id,
    user_id: ana,
    workspace_id: workspace,
    session_role: "keyrow_authenticator",
    details: { name: credential?.name, scope, provider: "test", request },
  });
  const expected = [entry(own, null, "USER"), entry(shared, team, "WORKSPACE")];
  const byId = (one: { entity_id: string | undefined }) => String(one.entity_id);
  t.deepEqual(
    entries.toSorted((a, b) => byId(a).localeCompare(byId(b))) as unknown,
    expected.toSorted((a, b) => byId(a).localeCompare(byId(b))),
  );
});

test.serial("a caller's own request id is the one on the record", async (t) => {
  const ana = await makeUser(server.database);
  const [made] = await makeCredentials(server, ana, 1);
  const request = `trace-${made?.id}`;
  const response = await fetch(`${server.url}/graphql`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${server.token(ana)}`,
      "x-request-id": request,
    },
    body: JSON.stringify({ query: revealOne, variables: { id: made?.id } }),
  });
  t.is(response.headers.get("x-request-id"), request);
  t.is((await recordedReveals(server.database, request)).length, 1);
});

const unrecorded: Array<[title: string, selection: string]> = [
  ["without value", "{ name maskedValue isActive lastUsedAt metadata }"],
  ["with value skipped", "{ name value @skip(if: $yes) }"],
  ["with value not included", "{ name value @include(if: $no) }"],
  ["with value in a fragment not included", "{ name ... @include(if: $no) { value } }"],
  ["with value skipped by a literal", "{ name value @skip(if: true) }"],
];
for (const [title, selection] of unrecorded) {
  test.serial(`reading ${title} records nothing, and calls neither audit nor cipher`, async (t) => {
    const ana = await makeUser(server.database);
    await makeCredentials(server, ana, 2);
    const document = `query ($yes: Boolean!, $no: Boolean!) {
      __typename @skip(if: $yes) @include(if: $no)
      userCredentials { nodes ${selection} }
    }`;
    const counted = await count(ana, document, { yes: true, no: false });
    t.deepEqual(counted.codes, []);
    t.is(counted.data.userCredentials.nodes.length, 2);
    t.deepEqual([counted.reveals, counted.opened, counted.recorded], [0, [], []]);
  });
}

test.serial("a document that does not fit the schema records nothing, though it asks for values", async (t) => {
  const ana = await makeUser(server.database);
  await makeCredentials(server, ana, 1);
  const counted = await count(ana, "{ userCredentials { nodes { value nonsense } } }");
  t.deepEqual([counted.codes, counted.transactions, counted.recorded], [["VALIDATION"], [], []]);
});

test.serial("what a stranger asks for is not found, and not on the record", async (t) => {
  const ana = await makeUser(server.database);
  const bo = await makeUser(server.database);
  const [made] = await makeCredentials(server, ana, 1);
  const counted = await count(bo, revealOne, { id: made?.id });
  t.deepEqual([counted.codes, counted.opened, counted.recorded], [["NOT_FOUND"], [], []]);
});

test.serial("revoked and expired credentials answer with their codes, the others with their values", async (t) => {
  const ana = await makeUser(server.database);
  const made = await makeCredentials(server, ana, 4);
  const [good, revoked, expired, other] = made;
  await server.query(
    ana,
    `mutation { revokeUserCredential(input: { id: "${revoked?.id}" }) { userCredential { id } } }`,
  );
  await forge(server.database, "update public.user_credentials set expires_at = now() where id = $1", [expired?.id]);
  const { data, errors, headers } = await server.query(
    ana,
    "{ userCredentials(orderBy: NAME_ASC) { nodes { name value } } }",
  );
  t.deepEqual(data.userCredentials.nodes, [
    { name: "n0", value: good?.value },
    { name: "n1", value: null },
    { name: "n2", value: null },
    { name: "n3", value: other?.value },
  ]);
  t.deepEqual(
    errors.map(({ path, extensions }) => [path, extensions.code]),
    [
      [["userCredentials", "nodes", 1, "value"], "CREDENTIAL_REVOKED"],
      [["userCredentials", "nodes", 2, "value"], "CREDENTIAL_EXPIRED"],
    ],
  );
  const recorded = (await recordedReveals(server.database, headers.get("x-request-id"))).map(
    (entry) => entry.entity_id,
  );
  t.deepEqual(recorded.sort(), [good?.id, other?.id].sort() as string[]);
});

test.serial("a credential expires at its moment, and not before", async (t) => {
  const ana = await makeUser(server.database);
  const [made] = await makeCredentials(server, ana, 1);
  await forge(
    server.database,
    "update public.user_credentials set expires_at = now() + interval '1 hour' where id = $1",
    [made?.id],
  );
  t.is((await server.query(ana, revealOne, { id: made?.id })).data.userCredential.value, made?.value);
});

test.serial("who may list but not reveal gets FORBIDDEN for the value, and is not on the record", async (t) => {
  const own = await startTestServer();
  t.teardown(() => own.stop());
  const ana = await makeUser(own.database);
  const auditor = await makeUser(own.database, "auditor");
  const team = await makeWorkspace(own.database, { [ana]: "ADMIN", [auditor]: "GUEST" });
  const [made] = await makeCredentials(own, ana, 1, team);
  await forge(
    own.database,
    `create policy auditors_list on public.user_credentials for select to keyrow_user
     using (scope = 'WORKSPACE' and workspace_id = any (array(select keyrow.member_workspace_ids())))`,
  );
  const counted = await count(auditor, "{ userCredentials { nodes { name value } } }", {}, own);
  t.deepEqual(counted.data, { userCredentials: { nodes: [{ name: made?.name, value: null }] } });
  t.deepEqual([counted.codes, counted.opened, counted.recorded], [["FORBIDDEN"], [], []]);
});

// A request may reveal four values here.
async function startLimited(): Promise<{ limited: TestServer; ana: string; made: Made[] }> {
  const limited = await startTestServer({ env: { KEYROW_MAX_REVEALS: "4" } });
  const ana = await makeUser(limited.database);
  return { limited, ana, made: await makeCredentials(limited, ana, 5) };
}

test.serial(
  "as many values as KEYROW_MAX_REVEALS says are revealed, and the step that asks for one more is refused before its record",
  async (t) => {
    const { limited, ana, made } = await startLimited();
    t.teardown(() => limited.stop());
    const list = "query ($first: Int) { userCredentials(first: $first) { nodes { name value } } }";
    const four = await count(ana, list, { first: 4 }, limited);
    t.deepEqual([four.codes, four.opened, four.recorded.length], [[], [4], 4]);

    const five = await count(ana, list, { first: 5 }, limited);
    t.deepEqual([...new Set(five.codes)], ["LIMIT_EXCEEDED"]);
    t.deepEqual([five.reveals, five.opened, five.recorded], [0, [], []]);

    const [a, b, c, d, e] = made.map(({ id }) => `userCredential(id: "${id}") { value }`);
    const split = await count(ana, `{ a: ${a} b: ${b} c: ${c} d: ${d} e: ${e} }`, {}, limited);
    t.deepEqual([...new Set(split.codes)], ["LIMIT_EXCEEDED"]);
    t.deepEqual([split.reveals, split.opened, split.recorded], [0, [], []]);

    const same = await count(ana, `{ a: ${a} b: ${a} c: ${a} d: ${a} e: ${a} f: ${a} }`, {}, limited);
    t.deepEqual([same.codes, same.opened], [[], [1]], "the same value asked for six times is one reveal");

    const lists = await count(
      ana,
      `{ a: userCredentials(first: 3) { nodes { value } } b: userCredentials(first: 2, offset: 3) { nodes { value } } }`,
      {},
      limited,
    );
    t.deepEqual([...new Set(lists.codes)], ["LIMIT_EXCEEDED"]);
    t.deepEqual([lists.opened, lists.recorded], [[], []]);

    const updates = made.map(
      ({ id }, i) =>
        `u${i}: updateUserCredential(input: { id: "${id}", patch: { description: "d" } }) { userCredential { value } }`,
    );
    const payloads = await count(ana, `mutation { ${updates.join(" ")} }`, {}, limited);
    t.deepEqual([payloads.codes, payloads.opened], [["LIMIT_EXCEEDED"], [1, 1, 1, 1]], "payloads add up");
    t.is(payloads.recorded.length, 4, "what came before the one too many is on the record");

    const mixed = await count(ana, `{ x: userCredentials(first: 3) { nodes { value } } a: ${a} b: ${b} }`, {}, limited);
    t.true(mixed.codes.includes("LIMIT_EXCEEDED"));
    t.true(mixed.opened.reduce((sum, n) => sum + n, 0) <= 4, "steps of one request share the limit");
    t.deepEqual(
      mixed.recorded.length,
      mixed.opened.reduce((sum, n) => sum + n, 0),
    );

    const next = await count(ana, list, { first: 4 }, limited);
    t.deepEqual([next.codes, next.opened], [[], [4]], "the next request begins anew");
  },
);

/** A database that lies: ana's and bo's credentials, and a reveal function that answers what `body` says. */
async function startLying(): Promise<{ liar: TestServer; ana: string; bo: string; mine: Made; bos: Made }> {
  const liar = await startTestServer();
  const ana = await makeUser(liar.database, "ana");
  const bo = await makeUser(liar.database, "bo");
  const [[mine], [bos]] = [await makeCredentials(liar, ana, 1), await makeCredentials(liar, bo, 1)];
  return { liar, ana, bo, mine: mine as Made, bos: bos as Made };
}

test.serial("whatever the database says, a USER credential opens for the verified token's user alone", async (t) => {
  const { liar, ana, bo, mine, bos } = await startLying();
  t.teardown(() => liar.stop());
  // A policy that shows everything, and a function that gives everything.
  await forge(
    liar.database,
    "create policy everything on public.user_credentials for select to keyrow_user using (true)",
  );
  await replaceReveal(liar.database, `return query select ${asRecorded} where c.id = any (ids)`);

  const honest = await count(ana, revealOne, { id: mine.id }, liar);
  t.is(honest.data.userCredential.value, mine.value, "the replaced function works");

  const stolen = await count(ana, revealOne, { id: bos.id }, liar);
  t.deepEqual(
    [stolen.data, stolen.codes, stolen.opened],
    [{ userCredential: { name: "n0", value: null } }, ["CANNOT_OPEN"], []],
  );

  const both = await liar.query(ana, "{ userCredentials { nodes { value } } }");
  t.deepEqual(both.data.userCredentials.nodes.map(({ value }: Made) => value).sort(), [mine.value, null].sort());
  t.deepEqual(both.codes, ["CANNOT_OPEN"]);

  // A SYSTEM credential has no API: not even a policy of a careless admin opens one.
  const system = await asAdmin(
    liar.database,
    `insert into public.user_credentials (user_id, provider, name, type, scope, encrypted_value, key_id)
     values ($1, 'smtp', 'relay', 'PASSWORD', 'SYSTEM', 'aaaaaaaaaaaaaaaa:aaaaaaaaaaaaaaaaaaaaaa==:', 'local:20260101-0000000d') returning id`,
    [ana],
  );
  const ofSystem = await count(ana, revealOne, { id: system.rows[0].id }, liar);
  t.deepEqual([ofSystem.data.userCredential.value, ofSystem.codes, ofSystem.opened], [null, ["CANNOT_OPEN"], []]);
  await asAdmin(liar.database, "delete from public.user_credentials where scope = 'SYSTEM'");

  const lies: Array<[title: string, columns: string]> = [
    [
      "that the row is the asking user's",
      `c.id, null::text, true, c.encrypted_value, c.key_id, c.scope, '${ana}'::uuid, c.workspace_id`,
    ],
    [
      "that the row is a workspace's",
      `c.id, null::text, true, c.encrypted_value, c.key_id, 'WORKSPACE'::public."CredentialScope", c.user_id, c.user_id`,
    ],
    [
      "that the row is the system's",
      `c.id, null::text, true, c.encrypted_value, c.key_id, 'SYSTEM'::public."CredentialScope", c.user_id, null::uuid`,
    ],
    [
      "that the row has no scope",
      "c.id, null::text, true, c.encrypted_value, c.key_id, null, c.user_id, c.workspace_id",
    ],
    [
      "a refusal that there is none of",
      `c.id, 'BECAUSE', true, c.encrypted_value, c.key_id, c.scope, '${ana}'::uuid, c.workspace_id`,
    ],
    [
      "that the key is another",
      `c.id, null::text, true, c.encrypted_value, 'legacy', c.scope, '${ana}'::uuid, c.workspace_id`,
    ],
    [
      "nothing of the ciphertext",
      `c.id, null::text, true, null::text, null::text, c.scope, '${ana}'::uuid, c.workspace_id`,
    ],
  ];
  for (const [title, columns] of lies) {
    await replaceReveal(
      liar.database,
      `return query select ${columns} from public.user_credentials c where c.id = any (ids) and c.user_id = '${bo}'
       union all select ${asRecorded} where c.id = any (ids) and c.user_id = '${ana}'`,
    );
    const { text, codes, data } = await liar.query(ana, "{ userCredentials { nodes { value } } }");
    t.false(text.includes(bos.value), title);
    t.deepEqual(codes, ["CANNOT_OPEN"], title);
    t.true(
      data.userCredentials.nodes.some(({ value }: Made) => value === mine.value),
      `the honest row opens beside: ${title}`,
    );
  }
});

test.serial("a row that was not asked for is not opened, though the database gives it", async (t) => {
  const { liar, ana, mine } = await startLying();
  t.teardown(() => liar.stop());
  const others = await makeCredentials(liar, ana, 3).catch(() => []);
  t.deepEqual(others, [], "names are unique, so there are none with the same");
  const { data } = await liar.query(
    ana,
    `mutation { createUserCredential(input: { userCredential: { provider: "other", name: "unasked", type: SECRET, value: "unasked-value" } }) { userCredential { id } } }`,
  );
  const unasked = data.createUserCredential.userCredential.id;
  await replaceReveal(liar.database, `return query select ${asRecorded} where c.user_id = '${ana}'`);
  const one = await count(ana, revealOne, { id: mine.id }, liar);
  t.is(one.data.userCredential.value, mine.value);
  t.deepEqual(one.opened, [1], "the cipher is not given what nobody asked for");

  await replaceReveal(liar.database, `return query select ${asRecorded} where c.id = '${unasked}'`);
  const instead = await count(ana, revealOne, { id: mine.id }, liar);
  t.is(instead.data.userCredential.value, null);
  t.deepEqual([instead.codes, instead.opened], [["FORBIDDEN"], []]);
});

test.serial("a row that the database did not record is not opened", async (t) => {
  const { liar, ana, mine } = await startLying();
  t.teardown(() => liar.stop());
  for (const recorded of ["false", "null"]) {
    await replaceReveal(
      liar.database,
      `return query select c.id, null::text, ${recorded}::boolean, c.encrypted_value, c.key_id, c.scope, c.user_id, c.workspace_id
       from public.user_credentials c where c.id = any (ids)`,
    );
    const { codes, opened } = await count(ana, revealOne, { id: mine.id }, liar);
    t.deepEqual([codes, opened], [["CANNOT_OPEN"], []], recorded);
  }
});

const forgeries: Array<[title: string, update: string]> = [
  [
    "whose ciphertext is another row's",
    "update public.user_credentials c set encrypted_value = o.encrypted_value from public.user_credentials o where c.id = $1 and o.id = $2",
  ],
  [
    "whose scope was USER",
    "update public.user_credentials set scope = 'WORKSPACE', workspace_id = $3 where id = $1 and $2 is not null",
  ],
  [
    "that was another user's",
    "update public.user_credentials set user_id = $4 where id = $1 and $2 is not null and $3 is not null",
  ],
  ["whose key is another", "update public.user_credentials set key_id = 'local:20200101-00000000' where id = $1"],
  [
    "whose tag has a bit changed",
    "update public.user_credentials set encrypted_value = overlay(encrypted_value placing (case substr(encrypted_value, 18, 1) when 'A' then 'B' else 'A' end) from 18 for 1) where id = $1",
  ],
  [
    "whose value was cut off",
    "update public.user_credentials set encrypted_value = substring(encrypted_value from '^[^:]*:[^:]*:') where id = $1",
  ],
];
for (const [title, update] of forgeries) {
  test.serial(`a row ${title} does not open, and nothing says why`, async (t) => {
    const ana = await makeUser(server.database);
    const bo = await makeUser(server.database);
    const team = await makeWorkspace(server.database, { [ana]: "ADMIN", [bo]: "ADMIN" });
    const [victim, other] = await makeCredentials(server, ana, 2);
    const parameters = [victim?.id, other?.id, team, bo];
    const used = parameters.slice(0, Math.max(...[...update.matchAll(/\$(\d)/g)].map(([, n]) => Number(n))));
    const typed = update.replaceAll(/\$(\d)/g, "$$$1::uuid");
    await forge(server.database, typed, used);
    const reader = title.includes("another user") ? bo : ana;
    const { data, errors, headers } = await server.query(reader, "{ userCredentials { nodes { name value } } }");
    const shown = revealed(data.userCredentials.nodes);
    t.is(shown[victim?.name ?? ""], null as unknown as string);
    if (reader === ana) t.is(shown[other?.name ?? ""], other?.value);
    t.deepEqual(
      errors.map(({ message, extensions }) => [message, extensions]),
      [["This value can't be opened.", { code: "CANNOT_OPEN" }]],
    );
    const entries = await recordedReveals(server.database, headers.get("x-request-id"));
    t.true(
      entries.some(({ entity_id }) => entity_id === victim?.id),
      "that it was asked for is on the record all the same",
    );
  });
}

test.serial(
  "a SYSTEM credential has no API: not listed, found, revealed, made, changed or deleted, by nobody",
  async (t) => {
    const ana = await makeUser(server.database);
    const team = await makeWorkspace(server.database, { [ana]: "OWNER" });
    const [own] = await makeCredentials(server, ana, 1);
    await forge(server.database, "update public.user_credentials set scope = 'SYSTEM' where id = $1", [own?.id]);
    const id = own?.id;
    const value = "x".repeat(20);
    t.deepEqual((await server.query(ana, "{ userCredentials { nodes { id } totalCount } }")).data.userCredentials, {
      nodes: [],
      totalCount: 0,
    });
    const attempts: Array<[what: string, document: string, code: string]> = [
      ["found", `{ userCredential(id: "${id}") { name } }`, "NOT_FOUND"],
      ["revealed", `{ userCredential(id: "${id}") { value } }`, "NOT_FOUND"],
      [
        "rotated",
        `mutation { rotateUserCredential(input: { id: "${id}", value: "${value}" }) { userCredential { id } } }`,
        "NOT_FOUND",
      ],
      [
        "updated",
        `mutation { updateUserCredential(input: { id: "${id}", patch: { description: "x" } }) { userCredential { id } } }`,
        "NOT_FOUND",
      ],
      ["revoked", `mutation { revokeUserCredential(input: { id: "${id}" }) { userCredential { id } } }`, "NOT_FOUND"],
      ["deleted", `mutation { deleteUserCredential(input: { id: "${id}" }) { userCredential { id } } }`, "NOT_FOUND"],
      [
        "created",
        `mutation { createUserCredential(input: { userCredential: { scope: SYSTEM, provider: "s", name: "s", type: SECRET, value: "${value}" } }) { userCredential { id } } }`,
        "FORBIDDEN",
      ],
      [
        "created in a workspace",
        `mutation { createUserCredential(input: { userCredential: { scope: SYSTEM, workspaceId: "${team}", provider: "s", name: "s", type: SECRET, value: "${value}" } }) { userCredential { id } } }`,
        "FORBIDDEN",
      ],
      [
        "set",
        `mutation { setUserCredential(input: { scope: SYSTEM, provider: "s", name: "s", value: "${value}" }) { userCredential { id } } }`,
        "FORBIDDEN",
      ],
    ];
    for (const [what, document, code] of attempts) {
      const { codes, text } = await server.query(ana, document);
      t.deepEqual(codes, [code], `${what}: ${text}`);
    }
    const { rows } = await asAdmin(
      server.database,
      "select count(*)::int as n from public.user_credentials where scope = 'SYSTEM'",
    );
    t.deepEqual(rows, [{ n: 1 }]);
    t.false((await recordedReveals(server.database)).some(({ entity_id }) => entity_id === id));
  },
);

test.serial("what was created is in the order that lists have, newest first", async (t) => {
  const ana = await makeUser(server.database);
  const made = await makeCredentials(server, ana, 3);
  const { data } = await server.query(ana, "{ userCredentials { nodes { name } } }");
  t.deepEqual(
    data.userCredentials.nodes.map(({ name }: Made) => name),
    names(made).reverse(),
  );
});

test.serial("an answer with values says that nobody may store it", async (t) => {
  const ana = await makeUser(server.database);
  const [made] = await makeCredentials(server, ana, 1);
  const { headers } = await server.query(ana, revealOne, { id: made?.id });
  t.is(headers.get("cache-control"), "no-store");
});

test.serial("a value is revealed by POST alone", async (t) => {
  const ana = await makeUser(server.database);
  const [made] = await makeCredentials(server, ana, 1);
  const query = encodeURIComponent(`{ userCredential(id: "${made?.id}") { value } }`);
  const before = (await recordedReveals(server.database)).length;
  const response = await fetch(`${server.url}/graphql?query=${query}`, {
    headers: { authorization: `Bearer ${server.token(ana)}` },
  });
  t.is(response.status, 405);
  t.false((await response.text()).includes(made?.value ?? "?"));
  t.is((await recordedReveals(server.database)).length, before);
});
