import { randomUUID } from "node:crypto";
import type pg from "pg";
import { type Columns, sealFor } from "../plugins/encrypted-columns/seal.ts";
import type { Cipher } from "./cipher/cipher.ts";
import { credentialPlace } from "./credential-place.ts";
import { MAX_VALUE_BYTES } from "./limits.ts";
import { maskValue } from "./mask.ts";

const people = [
  { email: "ana@example.com", name: "Ana", role: "OWNER" },
  { email: "bo@example.com", name: "Bo", role: "ADMIN" },
  { email: "cleo@example.com", name: "Cleo", role: "MEMBER" },
  { email: "dan@example.com", name: "Dan", role: undefined },
] as const;

const workspace = "Acme";

// None of these is a secret of anybody's.
const credentials = [
  {
    owner: "ana@example.com",
    scope: "USER",
    provider: "github",
    name: "deploy",
    type: "ACCESS_TOKEN",
    value: "ghp_demoDemoDemoDemoDemoDemoDemoDemo42",
    description: "Ana's own: pushes releases",
  },
  {
    owner: "bo@example.com",
    scope: "USER",
    provider: "openai",
    name: "assistant",
    type: "API_KEY",
    value: "sk-demo-demoDemoDemoDemoDemoDemoDemo42",
    description: "Bo's own",
  },
  {
    owner: "ana@example.com",
    scope: "WORKSPACE",
    provider: "stripe",
    name: "billing",
    type: "SECRET",
    value: "sk_test_demoDemoDemoDemoDemoDemo4242",
    description: "For Acme's owners and admins",
  },
  {
    owner: "ana@example.com",
    scope: "SYSTEM",
    provider: "smtp",
    name: "relay",
    type: "PASSWORD",
    value: "demo-relay-password-demo-relay",
    description: "For maintenance alone",
  },
] as const;

/** The credential that the demo's `curl` line reveals, and whose it is. */
export interface Demo {
  readonly userId: string;
  readonly userName: string;
  readonly credentialId: string;
}

/** Loads the demo data in one transaction, where there is no user yet. `client` may become keyrow_admin. */
export async function loadDemo(client: pg.ClientBase, cipher: Cipher): Promise<void> {
  await client.query("begin; set local role keyrow_admin");
  try {
    const { rowCount } = await client.query("select from public.users limit 1");
    if (rowCount === 0) await insertDemo(client, cipher);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
}

async function insertDemo(client: pg.ClientBase, cipher: Cipher): Promise<void> {
  const place = await credentialPlace(client);
  const workspaceId = randomUUID();
  await insert(client, "workspaces", { id: workspaceId, name: workspace });
  const ids = new Map<string, string>();
  for (const { email, name, role } of people) {
    const id = randomUUID();
    ids.set(email, id);
    await insert(client, "users", { id, email, name });
    if (role !== undefined) await insert(client, "workspace_members", { workspace_id: workspaceId, user_id: id, role });
  }
  for (const { owner, value, ...rest } of credentials) {
    const id = randomUUID();
    const row = {
      ...rest,
      user_id: ids.get(owner) ?? null,
      workspace_id: rest.scope === "WORKSPACE" ? workspaceId : null,
    };
    const sealed = await sealFor(place, id, row, value, { cipher, mask: maskValue, maxBytes: MAX_VALUE_BYTES });
    await insert(client, "user_credentials", { id, ...row, ...sealed });
  }
}

async function insert(client: pg.ClientBase, table: string, columns: Columns): Promise<void> {
  const names = Object.keys(columns);
  const values = names.map((_, index) => `$${index + 1}`);
  await client.query(
    `insert into public.${table} (${names.join(", ")}) values (${values.join(", ")})`,
    Object.values(columns),
  );
}

/** What the demo's `curl` line needs, where the demo data is still there. `client` may become keyrow_admin. */
export async function findDemo(client: pg.ClientBase): Promise<Demo | undefined> {
  await client.query("begin; set local role keyrow_admin");
  const [{ email }, { provider, name }] = [people[0], credentials[0]];
  const { rows } = await client.query<Demo>(
    `select u.id as "userId", u.name as "userName", c.id as "credentialId"
     from public.users u join public.user_credentials c on c.user_id = u.id
     where u.email = $1 and c.scope = 'USER' and c.provider = $2 and c.name = $3 and c.is_active`,
    [email, provider, name],
  );
  await client.query("commit");
  return rows[0];
}
