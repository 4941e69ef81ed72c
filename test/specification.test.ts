import test from "ava";
import { createTestDatabase } from "./helpers/database.ts";
import { ids, inWorld, type Persona, personas, type Sandbox, superuser } from "./policies/world.ts";

// Rows that were made for the specification's schema load with the statements that were made for it.

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");

const columns = [
  "id",
  "user_id",
  "workspace_id",
  "name",
  "provider",
  "type",
  "scope",
  "encrypted_value",
  "masked_value",
  "description",
  "expires_at",
  "last_used_at",
  "metadata",
  "is_active",
  "rotated_at",
  "created_at",
  "updated_at",
].map((name) => `"${name}"`);

/** The formats that the specification documents, with the fields of its fallback in hexadecimal and in base64. */
const formats = {
  "vault:v1:base64data": "vault:v1:base64data",
  "a Transit value": "vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==",
  "a Transit value of a later version": "vault:v12:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf7w==",
  "iv:authTag:encrypted in hexadecimal": "000102030405060708090a0b:000102030405060708090a0b0c0d0e0f:deadbeef",
  "the same with an iv of 16 bytes": "000102030405060708090a0b0c0d0e0f:000102030405060708090A0B0C0D0E0F:DEADBEEF",
  "iv:authTag:encrypted in base64": "AAECAwQFBgcICQoL:AAECAwQFBgcICQoLDA0ODw==:3q2+7w==",
  "the same with an iv of 16 bytes, in base64": "AAECAwQFBgcICQoLDA0ODw==:AAECAwQFBgcICQoLDA0ODw==:3q2+7w==",
  "iv:authTag:encrypted of an empty value": "000102030405060708090a0b:000102030405060708090a0b0c0d0e0f:",
};

const values = (encrypted: string) => `
  '00000000-0000-4000-8000-0000000000d1', '${ids.ana}', '${ids.team}', 'GitHub', 'github', 'API_KEY', 'USER',
  '${encrypted}', '****1234', 'Deploys', '2099-01-01T00:00:00Z', '2026-02-08T12:00:00Z', '{"scopes": ["repo"]}', true,
  '2026-02-08T11:00:00Z', '2026-02-07T17:11:43Z', '2026-02-08T11:00:00Z'`;

const expected = (encrypted: string) => ({
  id: "00000000-0000-4000-8000-0000000000d1",
  user_id: ids.ana,
  workspace_id: ids.team,
  name: "GitHub",
  provider: "github",
  type: "API_KEY",
  scope: "USER",
  encrypted_value: encrypted,
  masked_value: "****1234",
  description: "Deploys",
  expires_at: new Date("2099-01-01T00:00:00Z"),
  last_used_at: new Date("2026-02-08T12:00:00Z"),
  metadata: { scopes: ["repo"] },
  is_active: true,
  rotated_at: new Date("2026-02-08T11:00:00Z"),
  created_at: new Date("2026-02-07T17:11:43Z"),
  updated_at: new Date("2026-02-08T11:00:00Z"),
  key_id: "legacy",
});

const loaders: Record<string, Persona> = { "the table's owner": personas["table owner"], "a superuser": superuser };

/** The one row that a statement of the specification's made. */
async function load(s: Sandbox, who: Persona, statement: string): Promise<unknown> {
  await s.try(who, statement);
  const [row] = await s.rows(superuser, "select * from public.user_credentials where name = 'GitHub'");
  return row;
}

for (const [format, encrypted] of Object.entries(formats)) {
  for (const [who, persona] of Object.entries(loaders)) {
    test(`${format} loads by the columns' names, as ${who}`, async (t) => {
      const statement = `insert into "user_credentials" (${columns.join(", ")}) values (${values(encrypted)})`;
      t.deepEqual(await inWorld(pool, (s) => load(s, persona, statement)), expected(encrypted));
    });

    test(`${format} loads by the columns' order, as ${who}`, async (t) => {
      const statement = `insert into "user_credentials" values (${values(encrypted)})`;
      t.deepEqual(await inWorld(pool, (s) => load(s, persona, statement)), expected(encrypted));
    });
  }
}

test("what the specification gives a default may be left out", async (t) => {
  const statement = `
    insert into "user_credentials" ("user_id", "name", "provider", "type", "encrypted_value")
    values ('${ids.ana}', 'GitHub', 'github', 'ACCESS_TOKEN', 'vault:v1:base64data')`;
  await inWorld(pool, async (s) => {
    const row = await load(s, personas["table owner"], statement);
    t.like(row, {
      workspace_id: null,
      scope: "USER",
      masked_value: null,
      description: null,
      expires_at: null,
      last_used_at: null,
      metadata: {},
      is_active: true,
      rotated_at: null,
      key_id: "legacy",
    });
    t.true((row as { created_at: Date }).created_at instanceof Date);
  });
});

for (const type of ["API_KEY", "OAUTH_TOKEN", "ACCESS_TOKEN", "SECRET", "PASSWORD", "CUSTOM"]) {
  for (const scope of ["USER", "WORKSPACE", "SYSTEM"]) {
    test(`a ${type} of ${scope} scope loads`, async (t) => {
      const statement = `
        insert into "user_credentials" ("user_id", "workspace_id", "name", "provider", "type", "scope", "encrypted_value")
        values ('${ids.ana}', '${ids.team}', 'GitHub', 'github', '${type}', '${scope}', 'vault:v1:base64data')`;
      t.like(await inWorld(pool, (s) => load(s, personas["table owner"], statement)), { type, scope });
    });
  }
}

test("a revoked row loads as it is, and stays revoked", async (t) => {
  const statement = `insert into "user_credentials" values (${values("vault:v1:base64data").replace("true", "false")})`;
  await inWorld(pool, async (s) => {
    t.like(await load(s, personas["table owner"], statement), { is_active: false });
    t.is(await s.try(superuser, `update "user_credentials" set "is_active" = true where "name" = 'GitHub'`), "23514");
  });
});

test("a duplicate and a malformed value don't load, as a check names beforehand", async (t) => {
  await inWorld(pool, async (s) => {
    const insert = (encrypted: string) => `
      insert into "user_credentials" ("user_id", "name", "provider", "type", "encrypted_value")
      values ('${ids.ana}', 'GitHub', 'github', 'SECRET', '${encrypted}')`;
    t.is(await s.try(superuser, insert("vault:v1:base64data")), 1);
    t.is(await s.try(superuser, insert("vault:v1:base64data")), "23505");
    t.is(await s.try(superuser, insert("plaintext")), "23514");
  });
});
