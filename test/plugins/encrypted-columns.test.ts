import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "ava";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafast } from "postgraphile/grafast";
import { type ExecutionResult, printSchema } from "postgraphile/graphql";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import type { EncryptedColumnsOptions } from "../../plugins/encrypted-columns/options.ts";
import { EncryptedColumnsPlugin } from "../../plugins/encrypted-columns.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import { KeyrowError } from "../../src/errors.ts";
import { localKey } from "../cipher/contract.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";

const readme = readFileSync(new URL("../../plugins/README.md", import.meta.url), "utf8");

/** The text of the README's code of a language. */
function codeOf(language: string): string {
  const code = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "m").exec(readme)?.[1];
  if (code === undefined) throw new Error(`plugins/README.md has no code in ${language}`);
  return code;
}

const cipher = createLocalCipher(localKey("local:20261123-00000001"));
const opened: number[] = [];
const revealed: string[][] = [];

const room = { bytes: 10_000 };
const options: EncryptedColumnsOptions = {
  cipher: {
    ...cipher,
    open(items) {
      opened.push(items.length);
      return cipher.open(items);
    },
  },
  mask: (value) => value.slice(-4),
  maxBytes: 100,
  maxReveals: 20,
  maxCiphertext: () => room.bytes,
  mayOpen: (row, settings) => row.owner_id === settings["jwt.claims.user_id"],
  onRevealed: (ids) => void revealed.push([...ids]),
};

/** PostGraphile as anybody has it, with its own adaptor, and this one plugin. */
async function apiOn(database: TestDatabase, encryptedColumns: EncryptedColumnsOptions | null = options) {
  const service = makePgService({ connectionString: database.url("keyrow_authenticator"), schemas: ["bank"] });
  const preset: GraphileConfig.Preset = {
    extends: [PostGraphileAmberPreset],
    plugins: [EncryptedColumnsPlugin],
    pgServices: [service],
    schema: encryptedColumns === null ? {} : { encryptedColumns },
    grafast: {
      context: (request) => {
        const { userId } = request as { userId?: string };
        return { pgSettings: { role: "keyrow_user", "jwt.claims.user_id": userId, synchronous_commit: "on" } };
      },
    },
  };
  const pgl = postgraphile(preset);
  const release = async () => {
    await pgl.release();
    await service.release?.();
  };
  try {
    const schema = await pgl.getSchema();
    const query = async (userId: string, source: string, variableValues: Record<string, unknown> = {}) => {
      const requestContext = { userId } as Partial<Grafast.RequestContext>;
      const resolvedPreset = pgl.getResolvedPreset();
      const result = (await grafast({
        ...{ schema, source, variableValues, resolvedPreset, requestContext },
      })) as ExecutionResult;
      const codes = (result.errors ?? []).map(({ originalError }) =>
        originalError instanceof KeyrowError ? originalError.code : String(originalError ?? "request"),
      );
      // biome-ignore lint/suspicious/noExplicitAny: an answer has the form that the query asks for.
      return { data: result.data as any, codes, errors: result.errors };
    };
    return { schema, query, release };
  } catch (error) {
    await release();
    throw error;
  }
}

let database: TestDatabase;
let api: Awaited<ReturnType<typeof apiOn>>;
let superuser: ReturnType<TestDatabase["pool"]>;

test.before(async () => {
  database = await createTestDatabase();
  superuser = database.pool("postgres");
  await superuser.query(codeOf("sql"));
  api = await apiOn(database);
});
test.after.always(async () => {
  await api?.release();
  await database?.drop();
});

async function customer(): Promise<string> {
  const id = randomUUID();
  await superuser.query("insert into bank.customers (id, name) values ($1, 'somebody')", [id]);
  return id;
}

const create = `mutation ($label: String!, $iban: String!) {
  createAccount(input: { account: { label: $label, iban: $iban } }) { account { id rowId label iban ibanHint ownerId } }
}`;

async function account(owner: string, iban: string, label: string = randomUUID()) {
  const { data, errors } = await api.query(owner, create, { label, iban });
  if (errors) throw errors[0];
  return data.createAccount.account;
}

const stored = async (id: string) =>
  (await superuser.query("select * from bank.accounts where id = $1", [id])).rows[0] as Record<string, string>;
const reveals = async (id: string) =>
  (await superuser.query("select from bank.reveals where account_id = $1", [id])).rowCount;

test.serial("the README's example seals on create, and opens on the record", async (t) => {
  const ana = await customer();
  const made = await account(ana, "DE02120300000000202051", "salary");
  t.like(made, { label: "salary", iban: "DE02120300000000202051", ibanHint: "2051", ownerId: ana });
  const row = await stored(made.rowId);
  t.regex(row.iban_sealed ?? "", /^[A-Za-z0-9+/]{16}:/);
  t.like(row, { iban_key: "local:20261123-00000001", iban_hint: "2051", owner_id: ana });
  t.is(await reveals(made.rowId), 1);
  t.true(revealed.flat().includes(made.rowId));
});

test.serial("values that the answer has no room for are refused, and not on the record", async (t) => {
  const ana = await customer();
  const made = [await account(ana, "DE02120300000000202051"), await account(ana, "DE02500105170137075030")];
  const { iban_sealed: sealed = "" } = await stored(made[0].rowId);
  t.teardown(() => Object.assign(room, { bytes: 10_000 }));
  const list = "{ allAccounts { nodes { rowId iban } } }";
  room.bytes = 2 * sealed.length - 1;
  const refused = await api.query(ana, list);
  t.deepEqual(refused.codes, ["LIMIT_EXCEEDED", "LIMIT_EXCEEDED"]);
  for (const { rowId } of made) t.is(await reveals(rowId), 1, "by its creation");
  room.bytes += 1;
  t.deepEqual((await api.query(ana, list)).codes, []);
  for (const { rowId } of made) t.is(await reveals(rowId), 2);
});

test.serial("the README's queries run as they stand", async (t) => {
  const ana = await customer();
  const [mutation = "", query = ""] = codeOf("graphql").trim().split("\n");
  t.deepEqual((await api.query(ana, mutation)).data.createAccount.account, { ibanHint: "2051" });
  const { data, errors } = await api.query(ana, query);
  t.is(errors, undefined);
  t.deepEqual(data.allAccounts.nodes, [{ label: "salary", iban: "DE02120300000000202051" }]);
});

for (const [title, mutation, key] of [
  ["the primary key", "updateAccountByRowId", (row: Row) => ({ rowId: row.rowId })],
  [
    "another unique constraint",
    "updateAccountByOwnerIdAndLabel",
    (row: Row) => ({ ownerId: row.ownerId, label: row.label }),
  ],
  ["the node id", "updateAccount", (row: Row) => ({ id: row.id })],
] as const) {
  test.serial(`an update by ${title} seals, and leaves what it is not given`, async (t) => {
    const ana = await customer();
    const made = await account(ana, "first");
    const input = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}Input!`;
    const update = `mutation ($input: ${input}) { ${mutation}(input: $input) { account { iban ibanHint label } } }`;
    const changed = await api.query(ana, update, { input: { ...key(made), accountPatch: { iban: "second" } } });
    t.deepEqual(changed.codes, []);
    t.deepEqual(changed.data[mutation].account, { iban: "second", ibanHint: "cond", label: made.label });
    const before = await stored(made.rowId);
    t.false(before.iban_sealed?.includes("second"));
    const renamed = { input: { ...key(made), accountPatch: { label: randomUUID() } } };
    t.is((await api.query(ana, update, renamed)).data[mutation].account.iban, "second");
    t.is((await stored(made.rowId)).iban_sealed, before.iban_sealed);
  });

  test.serial(`an update by ${title} of somebody else's row is NOT_FOUND, and null is refused`, async (t) => {
    const [ana, bo] = [await customer(), await customer()];
    const made = await account(ana, "hers");
    const input = `${mutation.charAt(0).toUpperCase()}${mutation.slice(1)}Input!`;
    const update = `mutation ($input: ${input}) { ${mutation}(input: $input) { account { iban } } }`;
    const before = await stored(made.rowId);
    const theirs = await api.query(bo, update, { input: { ...key(made), accountPatch: { iban: "his" } } });
    t.deepEqual(theirs.codes, ["NOT_FOUND"]);
    const none = await api.query(ana, update, { input: { ...key(made), accountPatch: { iban: null } } });
    t.deepEqual(none.codes, ["VALIDATION"]);
    t.deepEqual(await stored(made.rowId), before);
  });
}

interface Row {
  readonly id: string;
  readonly rowId: string;
  readonly ownerId: string;
  readonly label: string;
}

test.serial("a node id that is none finds nothing and seals nothing", async (t) => {
  const update = `mutation { updateAccount(input: { id: "nothing", accountPatch: { iban: "x" } }) { account { iban } } }`;
  const { rows: before } = await superuser.query("select iban_sealed from bank.accounts order by id");
  t.is((await api.query(await customer(), update)).data.updateAccount?.account ?? null, null);
  t.deepEqual((await superuser.query("select iban_sealed from bank.accounts order by id")).rows, before);
});

test.serial("a list, its aliases and its siblings are one call of the cipher", async (t) => {
  const ana = await customer();
  for (const iban of ["a", "b", "c"]) await account(ana, iban);
  opened.length = 0;
  const { data, codes } = await api.query(
    ana,
    "{ allAccounts(orderBy: [LABEL_ASC]) { nodes { iban again: iban } edges { node { iban } } } }",
  );
  t.deepEqual(codes, []);
  t.deepEqual(data.allAccounts.nodes.map(({ iban }: { iban: string }) => iban).toSorted(), ["a", "b", "c"]);
  for (const node of data.allAccounts.nodes) t.is(node.iban, node.again);
  t.deepEqual(opened, [3]);
});

test.serial("a nested list reveals too, and only what is one's own", async (t) => {
  const [ana, bo] = [await customer(), await customer()];
  const made = await account(ana, "nested");
  await account(bo, "not hers");
  const nested = "{ allCustomers { nodes { accountsByOwnerId { nodes { iban customerByOwnerId { name } } } } } }";
  const { data, codes } = await api.query(ana, nested);
  t.deepEqual(codes, []);
  t.deepEqual(data.allCustomers.nodes, [
    { accountsByOwnerId: { nodes: [{ iban: "nested", customerByOwnerId: { name: "somebody" } }] } },
  ]);
  t.is(await reveals(made.rowId), 2);
});

test.serial("more values than a request may reveal are refused before anything is recorded", async (t) => {
  const ana = await customer();
  const made = await account(ana, "x");
  for (let i = 0; i < 20; i++) await account(ana, "x");
  const { codes } = await api.query(ana, "{ allAccounts { nodes { iban } } }");
  t.deepEqual(new Set(codes), new Set(["LIMIT_EXCEEDED"]));
  t.is(await reveals(made.rowId), 1);
});

test.serial("a value over the option's limit is refused with the limit named, by the field's own name", async (t) => {
  const { errors } = await api.query(await customer(), create, { label: "x", iban: "x".repeat(101) });
  t.regex(errors?.[0]?.message ?? "", /"iban" is over the limit of 100 bytes/);
});

test.serial("a ciphertext of another row, and one whose owner was rewritten, do not open", async (t) => {
  const [ana, bo] = [await customer(), await customer()];
  const [one, two] = [await account(ana, "one"), await account(ana, "two")];
  const read = (id: string) => `{ accountByRowId(rowId: "${id}") { iban } }`;
  await superuser.query(
    "update bank.accounts set iban_sealed = (select iban_sealed from bank.accounts where id = $1) where id = $2",
    [one.rowId, two.rowId],
  );
  t.deepEqual((await api.query(ana, read(two.rowId))).codes, ["CANNOT_OPEN"]);
  await superuser.query("update bank.accounts set owner_id = $1 where id = $2", [bo, one.rowId]);
  t.deepEqual((await api.query(bo, read(one.rowId))).codes, ["CANNOT_OPEN"]);
});

test.serial("ciphertext and key are nowhere in the schema; id and binding are no input", (t) => {
  const sdl = printSchema(api.schema);
  t.notRegex(sdl, /iban_?sealed|iban_?key|encrypted/i);
  const input = (name: string) => new RegExp(`^input ${name} \\{([\\s\\S]*?)^\\}`, "m").exec(sdl)?.[1] ?? "";
  t.regex(input("AccountInput"), /^ {2}iban: String!$/m);
  t.regex(input("AccountPatch"), /^ {2}iban: String$/m);
  for (const hidden of [/rowId/, /ownerId/, /ibanHint/]) {
    t.notRegex(input("AccountInput"), hidden);
    t.notRegex(input("AccountPatch"), hidden);
  }
});

test.serial("a table may have a second encrypted column, with a key and a reveal function of its own", async (t) => {
  const two = await createTestDatabase();
  const pool = two.pool("postgres");
  await pool.query(codeOf("sql"));
  await pool.query(`
    alter table bank.accounts add pin_sealed text not null, add pin_key text not null;
    comment on column bank.accounts.pin_sealed is
      '@encrypted pin key:pin_key context:owner_id insert:owner_id=$jwt.claims.user_id reveal:bank.reveal_pins';
    grant select (pin_key), insert (pin_sealed, pin_key), update (pin_sealed, pin_key) on bank.accounts to keyrow_user;
    ${/^create function bank\.reveal_ibans[\s\S]*?\$function\$;$/m.exec(codeOf("sql"))?.[0].replaceAll("iban", "pin")}
    alter function bank.reveal_pins(uuid[], bigint) owner to keyrow_reveal;
    revoke execute on function bank.reveal_pins(uuid[], bigint) from public;
    grant execute on function bank.reveal_pins(uuid[], bigint) to keyrow_user;`);
  const other = await apiOn(two);
  try {
    const ana = randomUUID();
    await pool.query("insert into bank.customers (id, name) values ($1, 'Ana')", [ana]);
    const made = await other.query(
      ana,
      `mutation { createAccount(input: { account: { label: "l", iban: "the iban", pin: "the pin" } }) {
        account { rowId iban pin } } }`,
    );
    t.deepEqual(made.codes, []);
    t.like(made.data.createAccount.account, { iban: "the iban", pin: "the pin" });
    const changed = await other.query(
      ana,
      `mutation ($id: UUID!) { updateAccountByRowId(input: { rowId: $id, accountPatch: { pin: "another" } }) {
        account { iban pin } } }`,
      { id: made.data.createAccount.account.rowId },
    );
    t.deepEqual(changed.data.updateAccountByRowId.account, { iban: "the iban", pin: "another" });
    await pool.query("update bank.accounts set pin_sealed = iban_sealed, pin_key = iban_key");
    const mixed = await other.query(ana, "{ allAccounts { nodes { iban pin } } }");
    t.deepEqual([mixed.data.allAccounts.nodes, mixed.codes], [[{ iban: "the iban", pin: null }], ["CANNOT_OPEN"]]);
  } finally {
    await other.release();
    await two.drop();
  }
});

test.serial("a tag that can't be read, or names what is not there, stops the start and says so", async (t) => {
  const bad = await createTestDatabase();
  const pool = bad.pool("postgres");
  await pool.query(codeOf("sql"));
  const good = "key:iban_key reveal:bank.reveal_ibans context:owner_id insert:owner_id=$jwt.claims.user_id";
  try {
    for (const [tag, message] of [
      ["@encrypted", /can't read the tag "@encrypted .*its form is: @encrypted <field> key:<column>/],
      ["@encrypted iban", /can't read the tag "@encrypted iban"/],
      [`@encrypted 1ban ${good}`, /can't read the tag/],
      ["@encrypted iban key:iban_key", /can't read the tag/],
      ["@encrypted iban key:iban_key reveal:reveal_ibans", /can't read the tag/],
      [`@encrypted iban ${good} nothing:x`, /can't read the tag/],
      [`@encrypted iban ${good}\n@encrypted iban ${good}`, /can't read the tag/],
      [`@encrypted iban ${good} mask:missing`, /bank\.accounts names no column: missing/],
      [`@encrypted iban ${good.replace("iban_key", "no_key")}`, /bank\.accounts names no column: no_key/],
      [`@encrypted iban ${good.replace("context:owner_id", "context:label(A=nowhere)")}`, /names no column: nowhere/],
    ] as const) {
      await pool.query(`comment on column bank.accounts.iban_sealed is E'${tag.replaceAll("\n", "\\n")}'`);
      await t.throwsAsync(apiOn(bad), { message }, tag);
    }
    await pool.query(`comment on column bank.accounts.iban_sealed is '@encrypted iban ${good}'`);
    await t.throwsAsync(apiOn(bad, null), { message: /needs preset\.schema\.encryptedColumns/ });
    await pool.query("alter table bank.accounts drop constraint accounts_pkey");
    await t.throwsAsync(apiOn(bad), { message: /bank\.accounts needs a primary key of one column/ });
  } finally {
    await bad.drop();
  }
});
