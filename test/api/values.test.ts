import { randomBytes, randomUUID } from "node:crypto";
import test from "ava";
import { MAX_VALUE_BYTES } from "../../src/limits.ts";
import { type Answer, makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

const person = () => makeUser(server.database);

/** Sends a value through a mutation, as a variable; `name` is the credential's, `id` is there where it exists already. */
interface Caller {
  /** Whether the credential must be there before. */
  readonly needsOne: boolean;
  readonly document: string;
  readonly variables: (row: { id: string; name: string }, value: unknown) => Record<string, unknown>;
}

const selection = "userCredential { id value maskedValue }";

// Every mutation that can carry a value; a test compares the names with the schema's.
const callers: Readonly<Record<string, Caller>> = {
  createUserCredential: {
    needsOne: false,
    document: `mutation ($row: UserCredentialInput!) { createUserCredential(input: { userCredential: $row }) { ${selection} } }`,
    variables: ({ name }, value) => ({ row: { provider: "p", name, type: "SECRET", value } }),
  },
  setUserCredential: {
    needsOne: false,
    document: `mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { ${selection} } }`,
    variables: ({ name }, value) => ({ input: { provider: "p", name, value } }),
  },
  setUserCredentials: {
    needsOne: false,
    document: `mutation ($input: SetUserCredentialsInput!) { setUserCredentials(input: $input) { results { ${selection} } } }`,
    variables: ({ name }, value) => ({ input: { credentials: [{ provider: "p", name, value }] } }),
  },
  updateUserCredential: {
    needsOne: true,
    document: `mutation ($id: UUID!, $patch: UserCredentialPatch!) { updateUserCredential(input: { id: $id, patch: $patch }) { ${selection} } }`,
    variables: ({ id }, value) => ({ id, patch: { value } }),
  },
  rotateUserCredential: {
    needsOne: true,
    document: `mutation ($input: RotateUserCredentialInput!) { rotateUserCredential(input: $input) { ${selection} } }`,
    variables: ({ id }, value) => ({ input: { id, value } }),
  },
};

/** The credential of a mutation's payload. */
// biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
const payloadOf = (payload: any) => (payload.results?.[0] ?? payload).userCredential;

type Stored = { id: string; encrypted_value: string; key_id: string };

/** What is in the table, by name. */
async function stored(name: string): Promise<Stored | undefined> {
  const { rows } = await superuser("select id, encrypted_value, key_id from public.user_credentials where name = $1", [
    name,
  ]);
  return rows[0] as Stored | undefined;
}

let pool: ReturnType<TestServer["database"]["pool"]> | undefined;
function superuser(text: string, values: unknown[] = []) {
  pool ??= server.database.pool("postgres");
  return pool.query(text, values);
}

async function prepared(caller: Caller, userId: string): Promise<{ id: string; name: string }> {
  const name = randomUUID();
  if (!caller.needsOne) return { id: "", name };
  await server.query(userId, (callers.setUserCredential as Caller).document, {
    input: { provider: "p", name, value: "what was there before" },
  });
  return { id: (await stored(name))?.id ?? "", name };
}

const sealed = /^[A-Za-z0-9+/]{16}:[A-Za-z0-9+/]{22}==:[A-Za-z0-9+/]*={0,2}$/;

const accepted: Array<[title: string, value: string]> = [
  ["the empty string", ""],
  ["one character", "x"],
  ["spaces and line ends", " \r\n\t "],
  ["64 KiB", "x".repeat(MAX_VALUE_BYTES)],
  ["64 KiB of two-byte characters", "é".repeat(MAX_VALUE_BYTES / 2)],
  ["64 KiB of astral characters", "🔑".repeat(MAX_VALUE_BYTES / 4)],
  ["astral characters and combining ones", "🔑 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 e\u0301 \u{10FFFF}"],
  ["the replacement character and a byte order mark", "\uFFFD\uFEFF"],
  ["NUL, which is sealed before PostgreSQL could refuse it", "a\0b\0"],
  ["what looks sealed by Transit", `vault:v1:${randomBytes(40).toString("base64")}`],
  ["what looks sealed locally", `${"A".repeat(16)}:${"A".repeat(22)}==:AAAA`],
  ["what looks like iv:tag:data", "iv:tag:data"],
  ["what looks like SQL and like JSON", `'); drop table x; --","\${}{{`],
];

const refused: Array<[title: string, value: unknown, code: string, message: RegExp]> = [
  ["null", null, "VALIDATION", /value|does not fit its type/],
  ["one byte over 64 KiB", "x".repeat(MAX_VALUE_BYTES + 1), "LIMIT_EXCEEDED", /\b65536\b/],
  ["one byte over 64 KiB, in fewer characters", `${"é".repeat(MAX_VALUE_BYTES / 2)}x`, "LIMIT_EXCEEDED", /\b65536\b/],
  ["a lone high surrogate", "a\uD800b", "VALIDATION", /surrogate/],
  ["a lone low surrogate", "\uDC00", "VALIDATION", /surrogate/],
  ["a number", 1234567, "VALIDATION", /does not fit its type/],
  ["a list", ["canary-in-a-list"], "VALIDATION", /does not fit its type/],
  ["an object", { canary: "canary-in-an-object" }, "VALIDATION", /does not fit its type/],
];

for (const [mutation, caller] of Object.entries(callers)) {
  for (const [title, value] of accepted) {
    test(`${mutation} seals ${title}, and the same comes back`, async (t) => {
      const ana = await person();
      const row = await prepared(caller, ana);
      const answer = await server.query(ana, caller.document, caller.variables(row, value));
      t.deepEqual(answer.codes, []);
      const { id, value: payload, maskedValue } = payloadOf(answer.data[mutation]);
      t.is(payload, value, "in the payload");
      const read = await server.query(ana, "query ($id: UUID!) { userCredential(id: $id) { value } }", { id });
      t.is(read.data.userCredential.value, value, "read again");
      const { encrypted_value, key_id } = (await stored(row.name)) as Stored;
      t.regex(encrypted_value, sealed);
      t.is(key_id, "local:20261123-00000001");
      if (value.length > 4) t.false(encrypted_value.includes(value));
      t.is(Buffer.from(encrypted_value.split(":")[2] ?? "", "base64").length, Buffer.byteLength(value));
      assertMask(t, maskedValue, value);
    });
  }

  for (const [title, value, code, message] of refused) {
    test(`${mutation} refuses ${title} with ${code}, and changes nothing`, async (t) => {
      const ana = await person();
      const row = await prepared(caller, ana);
      const before = await stored(row.name);
      const answer: Answer = await server.query(ana, caller.document, caller.variables(row, value));
      t.deepEqual(answer.codes, [code]);
      t.regex(answer.errors[0]?.message ?? "", message);
      t.notRegex(answer.text + server.log(), /canary-in|1234567/);
      t.deepEqual(await stored(row.name), before);
    });
  }

  test(`${mutation} takes a value written into the document as well, with the same outcome`, async (t) => {
    const ana = await person();
    const row = await prepared(caller, ana);
    const literals = callerLiterals(mutation, row);
    const value = 'literal "quoted" 🔑';
    const answer = await server.query(ana, literals(JSON.stringify(value)));
    t.deepEqual(answer.codes, []);
    t.is(payloadOf(answer.data[mutation]).value, value);
    const before = await stored(row.name);
    for (const literal of ["null", "12", "[]", "UNQUOTED"]) {
      t.deepEqual((await server.query(ana, literals(literal))).codes, ["VALIDATION"], literal);
    }
    t.deepEqual(await stored(row.name), before);
  });

  test(`${mutation} binds a value to its row: the ciphertext opens in no other`, async (t) => {
    const ana = await person();
    const row = await prepared(caller, ana);
    const other = await prepared(callers.updateUserCredential as Caller, ana);
    await server.query(ana, caller.document, caller.variables(row, "bound"));
    const { id } = (await stored(row.name)) as Stored;
    await superuser(
      `update public.user_credentials set (encrypted_value, key_id) =
         (select encrypted_value, key_id from public.user_credentials where id = $1) where id = $2`,
      [id, other.id],
    );
    const query = "query ($id: UUID!) { userCredential(id: $id) { value } }";
    const moved = await server.query(ana, query, { id: other.id });
    t.deepEqual([moved.codes, moved.data.userCredential], [["CANNOT_OPEN"], { value: null }]);
    t.is((await server.query(ana, query, { id })).data.userCredential.value, "bound");
  });

  test(`${mutation} never makes the same ciphertext twice`, async (t) => {
    const ana = await person();
    const seen = new Set<string>();
    const row = await prepared(caller, ana);
    for (let i = 0; i < 5; i++) {
      // create makes a new row each time, the others seal the same value for the same row.
      const target = mutation === "createUserCredential" ? { id: "", name: randomUUID() } : row;
      await server.query(ana, caller.document, caller.variables(target, "the same"));
      seen.add((await stored(target.name))?.encrypted_value ?? "");
    }
    t.is(seen.size, 5);
  });
}

/** The mutation with everything in the document, as somebody types it. */
function callerLiterals(mutation: string, { id, name }: { id: string; name: string }): (literal: string) => string {
  const inputs: Record<string, (value: string) => string> = {
    createUserCredential: (value) =>
      `userCredential: { provider: "p", name: "${name}", type: SECRET, value: ${value} }`,
    setUserCredential: (value) => `provider: "p", name: "${name}", value: ${value}`,
    setUserCredentials: (value) => `credentials: [{ provider: "p", name: "${name}", value: ${value} }]`,
    updateUserCredential: (value) => `id: "${id}", patch: { value: ${value} }`,
    rotateUserCredential: (value) => `id: "${id}", value: ${value}`,
  };
  const selected = mutation === "setUserCredentials" ? `results { ${selection} }` : selection;
  return (literal) => `mutation { ${mutation}(input: { ${inputs[mutation]?.(literal)} }) { ${selected} } }`;
}

function assertMask(t: { true(value: boolean, message?: string): void }, mask: string, value: string): void {
  const count = Array.from(mask).length;
  t.true(count <= 20, "at most 20 characters");
  const shown = mask.replace("*****", "");
  t.true(mask.includes("*****"), "always hides");
  t.true(Array.from(shown).length <= Array.from(value).length / 4, "shows no more than a quarter");
  const [prefix = "", tail = ""] = mask.split("*****");
  t.true(value.startsWith(prefix) && value.endsWith(tail) && Array.from(tail).length <= 4, "a prefix and a tail");
}

for (const [value, mask] of [
  ["ghp_0123456789abcdef0123456789abcdef0123", "ghp_*****0123"],
  ["sk-0123456789abcdef0123456789abcdef", "sk-*****cdef"],
  ["xoxb-0123456789-0123456789-abcdefghijkl", "xoxb-*****ijkl"],
  ["a plain password", "*****word"],
  ["short", "*****"],
  ["", "*****"],
] as const) {
  test(`the mask of ${JSON.stringify(value)} is ${mask}`, async (t) => {
    const ana = await person();
    const caller = callers.setUserCredential as Caller;
    const { data } = await server.query(ana, caller.document, caller.variables({ id: "", name: randomUUID() }, value));
    t.is(data.setUserCredential.userCredential.maskedValue, mask);
  });
}

test("the mask follows the value through every mutation", async (t) => {
  const ana = await person();
  const name = randomUUID();
  const mask = async (mutation: string, id: string, value: string) => {
    const caller = callers[mutation] as Caller;
    const { data } = await server.query(ana, caller.document, caller.variables({ id, name }, value));
    return data[mutation].userCredential.maskedValue;
  };
  t.is(await mask("createUserCredential", "", "ghp_0123456789abcdef0123456789abcdef0001"), "ghp_*****0001");
  const { id } = (await stored(name)) as Stored;
  t.is(await mask("updateUserCredential", id, "ghp_0123456789abcdef0123456789abcdef0002"), "ghp_*****0002");
  t.is(await mask("rotateUserCredential", id, "ghp_0123456789abcdef0123456789abcdef0003"), "ghp_*****0003");
  t.is(await mask("setUserCredential", id, ""), "*****");
});

test("a variable that is not given leaves the value of an update as it is", async (t) => {
  const ana = await person();
  const row = await prepared(callers.updateUserCredential as Caller, ana);
  const before = await stored(row.name);
  const document = `mutation ($id: UUID!, $v: String) {
    updateUserCredential(input: { id: $id, patch: { value: $v, description: "d" } }) { ${selection} }
  }`;
  const { codes, data } = await server.query(ana, document, { id: row.id });
  t.deepEqual(codes, []);
  t.is(data.updateUserCredential.userCredential.value, "what was there before");
  t.deepEqual(await stored(row.name), before);
  t.deepEqual((await server.query(ana, document, { id: row.id, v: null })).codes, ["VALIDATION"]);
});

test("a variable's default value is sealed like any other", async (t) => {
  const ana = await person();
  const row = await prepared(callers.rotateUserCredential as Caller, ana);
  const document = `mutation ($id: UUID!, $v: String! = "by default") {
    rotateUserCredential(input: { id: $id, value: $v }) { ${selection} }
  }`;
  const { data } = await server.query(ana, document, { id: row.id });
  t.is(data.rotateUserCredential.userCredential.value, "by default");
});

test("several mutations of one document each seal their own value for their own row", async (t) => {
  const ana = await person();
  const row = await prepared(callers.rotateUserCredential as Caller, ana);
  const document = `mutation ($id: UUID!) {
    a: createUserCredential(input: { userCredential: { provider: "p", name: "a", type: SECRET, value: "va" } }) { ${selection} }
    b: setUserCredential(input: { provider: "p", name: "b", value: "vb" }) { ${selection} }
    c: rotateUserCredential(input: { id: $id, value: "vc" }) { ${selection} }
    d: updateUserCredential(input: { id: $id, patch: { value: "vd" } }) { ${selection} }
  }`;
  const { data, codes } = await server.query(ana, document, { id: row.id });
  t.deepEqual(codes, []);
  const values = Object.values<{ userCredential: { value: string } }>(data).map((one) => one.userCredential.value);
  t.deepEqual(values, ["va", "vb", "vc", "vd"]);
});

test("a value in clientMutationId or metadata is what it is there: passed back, and not sealed", async (t) => {
  const ana = await person();
  const document = `mutation { setUserCredential(input: {
    provider: "p", name: "n", value: "sealed", metadata: { value: "open" }, clientMutationId: "m" }) {
    clientMutationId userCredential { metadata value } } }`;
  const { data } = await server.query(ana, document);
  t.deepEqual(data.setUserCredential, {
    clientMutationId: "m",
    userCredential: { metadata: { value: "open" }, value: "sealed" },
  });
});

test("a WORKSPACE value opens for every admin, and no longer once its row is another workspace's", async (t) => {
  const [first, second] = [await person(), await person()];
  const members = { [first]: "ADMIN", [second]: "ADMIN" };
  const workspaceId = await makeWorkspace(server.database, members);
  const otherId = await makeWorkspace(server.database, members);
  const { data } = await server.query(
    first,
    `mutation ($w: UUID!) { setUserCredential(input: {
      scope: WORKSPACE, workspaceId: $w, provider: "p", name: "n", value: "shared" }) { userCredential { id } } }`,
    { w: workspaceId },
  );
  const { id } = data.setUserCredential.userCredential;
  const read = () => server.query(second, "query ($id: UUID!) { userCredential(id: $id) { value } }", { id });
  t.is((await read()).data.userCredential.value, "shared");
  // Behind the guard's back, as somebody does who can write to the database.
  await superuser(`begin; set local session_replication_role = replica;
    update public.user_credentials set workspace_id = '${otherId}' where id = '${id}'; commit`);
  t.deepEqual((await read()).codes, ["CANNOT_OPEN"]);
});

interface TypeRef {
  readonly name: string | null;
  readonly ofType: TypeRef | null;
}
interface InputType {
  readonly name: string;
  readonly inputFields: ReadonlyArray<{ name: string; type: TypeRef }> | null;
}

test("no mutation of the schema that can carry a value is missing from this file", async (t) => {
  const ref = "name ofType { name ofType { name ofType { name ofType { name } } } }";
  const { data } = await server.query(
    await person(),
    `{ __schema {
      types { name inputFields { name type { ${ref} } } }
      mutationType { fields { name args { name type { ${ref} } } } }
    } }`,
  );
  const types = new Map<string, InputType>(data.__schema.types.map((type: InputType) => [type.name, type]));
  const named = (type: TypeRef): string => (type.ofType === null ? (type.name ?? "") : named(type.ofType));
  const carries = (type: TypeRef, seen: ReadonlySet<string>): boolean => {
    const name = named(type);
    if (seen.has(name)) return false;
    const fields = types.get(name)?.inputFields ?? [];
    return fields.some((field) => field.name === "value" || carries(field.type, new Set([...seen, name])));
  };
  const carriers = data.__schema.mutationType.fields
    .filter(({ args }: { args: Array<{ name: string; type: TypeRef }> }) =>
      args.some((arg) => arg.name === "value" || carries(arg.type, new Set())),
    )
    .map(({ name }: { name: string }) => name);
  t.deepEqual(carriers.toSorted(), Object.keys(callers).toSorted(), "add the new mutation to `callers`");
});
