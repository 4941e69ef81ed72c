import { readFileSync, writeFileSync } from "node:fs";
import test from "ava";
import { makeSchema } from "postgraphile";
import {
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  lexicographicSortSchema,
  printSchema,
} from "postgraphile/graphql";
import { createKeyring } from "../../src/cipher/keyring.ts";
import { createLocalCipher } from "../../src/cipher/local.ts";
import { readConfig } from "../../src/config.ts";
import { createPool } from "../../src/database.ts";
import { createPreset, exposed } from "../../src/graphile.config.ts";
import { createMayOpen } from "../../src/may-open.ts";
import { createSession } from "../../src/session.ts";
import { isFlat } from "../../src/variables.ts";
import { localKey } from "../cipher/contract.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";

const file = new URL("../../schema.graphql", import.meta.url);
const WRITE = "KEYROW_TEST_WRITE_SCHEMA=1 npm test -- test/api/schema.test.ts";

let database: TestDatabase;
let schema: GraphQLSchema;
test.before(async () => {
  database = await createTestDatabase();
  schema = await schemaOf(database);
});
test.after.always(() => database?.drop());

/** The schema of a database to which an application has done this. */
async function schemaWith(sql: string): Promise<GraphQLSchema> {
  const adopted = await createTestDatabase();
  try {
    await adopted.pool("postgres").query(sql);
    return await schemaOf(adopted);
  } finally {
    await adopted.drop();
  }
}

/** The schema as the server makes it of a database. */
async function schemaOf(of: TestDatabase): Promise<GraphQLSchema> {
  const pool = createPool(of.url("keyrow_authenticator"));
  const cipher = createKeyring([createLocalCipher(localKey("local:20261123-00000001"))]);
  const { limits } = readConfig({});
  const session = createSession(limits);
  const parts = { pool, cipher, session, limits, mayOpen: createMayOpen([]), onRevealed: () => undefined };
  try {
    return (await makeSchema(createPreset(parts))).schema;
  } finally {
    await pool.end();
  }
}

const print = (one: GraphQLSchema) => `${printSchema(lexicographicSortSchema(one))}\n`;
const typesOf = (one: GraphQLSchema) => Object.values(one.getTypeMap()).filter((type) => !isIntrospectionType(type));

function read(): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

test("schema.graphql at the root is the schema of the API", (t) => {
  if (process.env.KEYROW_TEST_WRITE_SCHEMA === "1") writeFileSync(file, print(schema));
  const now = print(schema);
  const then = read();
  const lines = (text: string) => new Set(text.split("\n"));
  const missing = now.split("\n").filter((line) => !lines(then).has(line));
  const gone = then.split("\n").filter((line) => !lines(now).has(line));
  t.true(
    now === then,
    `schema.graphql is stale. Renew it: ${WRITE}\n+ ${missing.slice(0, 20).join("\n+ ")}\n- ${gone.slice(0, 20).join("\n- ")}`,
  );
});

for (const [title, words] of [
  ["the ciphertext column", /encrypted[\W_]*value|ciphertext/i],
  ["the key's id", /key[\W_]*id\b/i],
  ["the sealed forms and the tag", /vault:|authTag|@encrypted|@behavior/i],
  ["an e-mail address", /e-?mail/i],
  ["the log's session role", /session[\W_]*role/i],
] as const) {
  test(`${title} is nowhere in the schema: no type, field, input, filter, order or description`, (t) => {
    t.notRegex(print(schema), words);
  });
}

test("the value is a field of one output type, and of no filter, condition or order", (t) => {
  const holders = typesOf(schema).flatMap((type) =>
    (isObjectType(type) || isInputObjectType(type)) && "value" in type.getFields() ? [type.name] : [],
  );
  t.deepEqual(holders.toSorted(), [
    "RotateUserCredentialInput",
    "SetUserCredentialInput",
    "UserCredential",
    "UserCredentialInput",
    "UserCredentialPatch",
    "UserCredentialToSet",
  ]);
  const orders = schema.getType("UserCredentialOrderBy");
  t.false(isEnumType(orders) && orders.getValues().some(({ name }) => /^VALUE|ENCRYPTED|KEY/.test(name)));
});

test("credentials have no natural order and none by id, and newest first is the default", (t) => {
  const type = schema.getType("UserCredentialOrderBy");
  const names = isEnumType(type) ? type.getValues().map(({ name }) => name) : [];
  t.true(names.includes("CREATED_AT_DESC"));
  t.deepEqual(
    names.filter((name) => /^(NATURAL|PRIMARY_KEY|ID)(_|$)/.test(name)),
    [],
  );
  for (const [parent, field] of [
    ["Query", "userCredentials"],
    ["User", "userCredentials"],
    ["Workspace", "userCredentials"],
    ["Query", "activityLogs"],
    ["Query", "workspaces"],
  ] as const) {
    const object = schema.getType(parent);
    const args = isObjectType(object) ? object.getFields()[field]?.args : undefined;
    const orderBy = args?.find(({ name }) => name === "orderBy");
    t.true(
      print(schema).includes(`orderBy: [${String(orderBy?.type).slice(1, -1)}] = [CREATED_AT_DESC]`),
      `${parent}.${field}`,
    );
  }
});

test("the API has these tables, queries and mutations, and no more", (t) => {
  t.deepEqual(Object.keys(schema.getQueryType()?.getFields() ?? {}).toSorted(), [
    ...["activityLog", "activityLogs", "currentMachine", "currentUser", "tokens", "user", "userCredential"],
    ...["userCredentials", "users"],
    ...["workspace", "workspaceMember", "workspaceMembers", "workspaces"],
  ]);
  t.deepEqual(Object.keys(schema.getMutationType()?.getFields() ?? {}).toSorted(), [
    ...["createToken", "createUserCredential", "deleteUserCredential", "revokeToken", "revokeUserCredential"],
    ...["rotateUserCredential", "setUserCredential", "setUserCredentials", "updateUserCredential"],
  ]);
  t.is(schema.getSubscriptionType(), undefined);
});

test("a table's output has the columns of the allowlist, its relations, and the value", (t) => {
  const fields = (name: string) => {
    const type = schema.getType(name);
    return isObjectType(type) ? Object.keys(type.getFields()).toSorted() : [];
  };
  t.deepEqual(fields("User"), ["id", "name", "userCredentials", "workspaceMembers"]);
  t.deepEqual(fields("WorkspaceMember"), ["joinedAt", "role", "user", "userId", "workspace", "workspaceId"]);
  t.deepEqual(
    fields("ActivityLog"),
    (exposed.activity_logs as string[]).map((name) => name.replace(/_(.)/g, (_, c) => c.toUpperCase())).toSorted(),
  );
  t.deepEqual(fields("UserCredential"), [
    ...["createdAt", "description", "expiresAt", "id", "isActive", "lastUsedAt", "maskedValue", "metadata", "name"],
    ...["provider", "rotatedAt", "scope", "type", "updatedAt", "user", "userId", "value", "workspace", "workspaceId"],
  ]);
});

test("no filter counts as one entry of a request's variables: each of its fields may become a condition", (t) => {
  const flat = typesOf(schema).flatMap((type) => (isInputObjectType(type) && isFlat(type) ? [type.name] : []));
  t.true(flat.includes("UserCredentialToSet"));
  t.deepEqual(
    flat.filter((name) => !/(Input|Patch|ToSet)$/.test(name)),
    [],
  );
});

test("every type, field, argument and input has a description", (t) => {
  const described = (type: GraphQLNamedType): string[] => {
    const own = type.description ? [] : [type.name];
    if (isInputObjectType(type)) {
      const fields = Object.values(type.getFields());
      return [...own, ...fields.flatMap((one) => (one.description ? [] : [`${type.name}.${one.name}`]))];
    }
    if (!isObjectType(type) && !isInterfaceType(type)) return own;
    const fields = Object.values(type.getFields()).flatMap((one) => [
      ...(one.description ? [] : [`${type.name}.${one.name}`]),
      ...one.args.flatMap((arg) => (arg.description ? [] : [`${type.name}.${one.name}(${arg.name})`])),
    ]);
    return [...own, ...fields];
  };
  const builtIn = new Set(["Boolean", "Float", "ID", "Int", "String"]);
  t.deepEqual(
    typesOf(schema)
      .filter(({ name }) => !builtIn.has(name))
      .flatMap(described),
    [],
  );
});

test("every label of an application's enum has a name of its own, whatever PostgreSQL lets it be", async (t) => {
  const found = await schemaWith(`
      alter table public.workspace_members alter role drop default, alter role type text;
      create type public."team's roles" as enum (
        'OWNER', 'a_b', 'a-b', 'a b', 'a_b2', '9 lives', '--x', 'true', 'éd', 'ed', '日本', '☂', '__y', '', '>=');
      alter table public.workspace_members alter role type public."team's roles" using 'OWNER'`);
  const member = found.getType("WorkspaceMember");
  const role = isObjectType(member) ? getNamedType(member.getFields().role?.type) : undefined;
  t.is(role?.name, "TeamsRoles");
  t.deepEqual(isEnumType(role) && Object.fromEntries(role.getValues().map(({ name, value }) => [value, name])), {
    ...{ OWNER: "OWNER", a_b: "a_b", "a-b": "a_b3", "a b": "a_b4", a_b2: "a_b2", "9 lives": "_9_lives", "--x": "_x" },
    ...{ true: "_true", éd: "ed2", ed: "ed", 日本: "Ri_Ben", "☂": "_", __y: "_y", "": "_EMPTY_" },
    ">=": "GREATER_THAN_OR_EQUAL",
  });
});

test("types and tables of an application's may have any name, if no column of the API has them", async (t) => {
  const found = await schemaWith(`
      create type public.machine as enum ('lathe');
      create type public.token as enum ('coin');
      create type public."UserRole" as enum ('A');
      create type public.user_role as enum ('b');
      create type public."user-role" as enum ('c');
      create type public."Text" as enum ('d');
      create type public."Interval" as enum ('DAY');
      create type public.json_2 as enum ('e');
      create domain public."UUID" as uuid;
      create type public."Cursor" as enum ('c');
      create domain public.datetime as timestamptz;
      create domain public."Query" as jsonb;
      create type public.page_info as range (subtype = int8);
      create type public.mutation as (id int);
      create table public.tokens (id int primary key, t token[], r "UserRole", q user_role, s "UserRole"[], u user_role[], x "Text", y "Interval"[], w "user-role", z json_2, a "UUID", c "Cursor", m mutation, i page_info);
      create table public.machines (id int primary key, kind machine, at datetime, q "Query"[]);
      create table public."user" (id int primary key);
      create table public."Users" (id int primary key);
      create table public.sales (id int primary key);
      create table public."Sales" (id int primary key, of int references public.sales (id));
      create table public.queries (id int primary key);
      alter table public.users add column kind public.machine;
      create function public.f(m public.machine, c public."Cursor") returns public.page_info language sql as 'select null::public.page_info'`);
  t.is(print(found), print(schema));
});

test("smart tags in an application's comments are not for this API", async (t) => {
  const found = await schemaWith(`
      create table public.kinds (kind text primary key, label text);
      comment on table public.kinds is '@enum';
      comment on table public.users is E'@name people\\n@behavior -*\\nA person with credentials.';
      comment on column public.users.name is E'@name fullName\\nWhat the person is called.';
      comment on table public.workspaces is E'@foreignKey (name) references public.users (name)\\nA team that shares credentials.';
      comment on constraint workspace_members_user_id_fkey on public.workspace_members is '@fieldName person';
      comment on type public."WorkspaceMemberRole" is
        E'@name Rank\\nWhat a member may do in a workspace: owners and admins manage its credentials.'`);
  t.is(print(found), print(schema));
});

test("what an application adds to public is not exposed, whatever is granted on it", async (t) => {
  const now = await schemaWith(`
      create table public.intruders (id uuid primary key, credential_id uuid references public.user_credentials (id), owner_id uuid references public.users (id), secret text);
      create view public.intruding_view as select id, encrypted_value, key_id from public.user_credentials;
      create materialized view public.intruding_matview as select 1 as id;
      create type public.intruding_composite as (encrypted_value text);
      create type public.intruding_enum as enum ('A');
      create domain public.intruding_domain as text;
      create function public.intruding_function() returns text language sql stable as 'select ''x''';
      create function public.intruding_mutation(value text) returns public.intruders language sql volatile as 'select null::public.intruders';
      create function public.intruding_set() returns setof public.user_credentials language sql stable as 'select * from public.user_credentials';
      create function public.user_credentials_intruding_column(c public.user_credentials) returns text language sql stable as 'select c.encrypted_value';
      create function public.users_intruding_column(u public.users) returns text language sql stable as 'select u.email';
      create function public.intruding_row(c public.user_credentials) returns uuid language sql volatile as 'select c.id';
      alter table public.users add column intruding_phone text;
      alter table public.workspaces add column intruding_bill text;
      alter table public.workspaces add column intruding_owner_id uuid references public.users (id);
      alter table public.workspaces add column intruding_parent_id uuid references public.workspaces (id);
      alter table public.users add column intruding_home uuid references public.workspaces (id);
      alter table public.workspace_members add column intruding_host uuid references public.users (id);
      create unique index intruding_unique on public.workspaces (intruding_bill);
      alter table public.users add unique (intruding_phone), add unique (id, intruding_phone);
      alter table public.workspace_members add column intruding_id int unique, drop constraint workspace_members_pkey,
        add primary key (intruding_id), add unique (workspace_id, user_id);
      comment on table public.intruders is E'@name intruders\\n@behavior +*';
      grant all on all tables in schema public to keyrow_user;
      grant execute on all functions in schema public to keyrow_user;
      grant usage on type public.intruding_composite, public.intruding_enum, public.intruding_domain to keyrow_user;`);
  const lines = print(now).split("\n");
  t.deepEqual(
    lines.filter((line) => /intrud|encrypted_?value|phone|bill|email/i.test(line)),
    [],
  );
  // Grants on the exposed tables do open inputs; the allowlist and the tags decide which.
  const mutations = Object.keys(now.getMutationType()?.getFields() ?? {});
  t.deepEqual(
    mutations.filter((name) => !/UserCredentials?$|Token$/.test(name)),
    [],
  );
});
