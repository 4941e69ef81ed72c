import { randomBytes, randomUUID } from "node:crypto";
import type { ExecutionContext } from "ava";
import type pg from "pg";
import type { Cipher } from "../../src/cipher/cipher.ts";
import { boundOf } from "../../src/reseal/reseal.ts";
import type { Row } from "../../src/reseal/rows.ts";
import { openWorkerDatabase, type WorkerDatabase } from "../../src/worker-database.ts";
import type { TestDatabase } from "../helpers/database.ts";
import { asAdmin, makeUser, makeWorkspace } from "../helpers/server.ts";

/** A credential in the database, and its value. */
export interface Stored {
  readonly id: string;
  readonly value: string;
}

/** A user with a workspace of their own. */
export interface Owner {
  readonly user: string;
  readonly workspace: string;
}

/** Makes a user and a workspace. */
export async function makeOwner(database: TestDatabase): Promise<Owner> {
  const user = await makeUser(database);
  return { user, workspace: await makeWorkspace(database, { [user]: "OWNER" }) };
}

/** Connects as the worker, for one test. */
export async function worker(t: ExecutionContext, database: TestDatabase): Promise<WorkerDatabase> {
  const opened = await openWorkerDatabase(database.url("keyrow_worker"));
  t.teardown(() => opened.pool.end());
  return opened;
}

const scopes = ["USER", "WORKSPACE", "SYSTEM"] as const;

/** Stores values of all scopes in turn, sealed by a cipher, as an admin does; the provider marks them. */
export async function store(
  database: TestDatabase,
  { place }: WorkerDatabase,
  cipher: Cipher,
  owner: Owner,
  count: number,
  provider = randomBytes(4).toString("hex"),
): Promise<Stored[]> {
  const rows = Array.from({ length: count }, (_, index): Row & { value: string } => {
    const scope = scopes[index % scopes.length] as string;
    return {
      id: randomUUID(),
      value: `value ${index} ${randomBytes(8).toString("hex")}`,
      encrypted_value: "",
      key_id: "",
      scope,
      user_id: owner.user,
      workspace_id: scope === "WORKSPACE" ? owner.workspace : null,
    };
  });
  const sealed = await cipher.seal(rows.map((row) => ({ context: boundOf(place, row).context, value: row.value })));
  await insert(
    database,
    provider,
    rows.map((row, index) => ({
      ...row,
      encrypted_value: sealed[index]?.encrypted ?? "",
      key_id: sealed[index]?.keyId ?? "",
    })),
  );
  return rows.map(({ id, value }) => ({ id, value }));
}

/** Inserts rows as they stand. */
export async function insert(database: TestDatabase, provider: string, rows: readonly Row[]): Promise<void> {
  const column = (read: (row: Row) => string | null) => rows.map(read);
  await asAdmin(
    database,
    `insert into public.user_credentials (id, encrypted_value, key_id, scope, user_id, workspace_id, provider, name, type)
     select id, encrypted, key_id, scope::public."CredentialScope", user_id, workspace_id, $7, id::text, 'SECRET'
     from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::uuid[])
       as row (id, encrypted, key_id, scope, user_id, workspace_id)`,
    [
      column(({ id }) => id),
      column(({ encrypted_value }) => encrypted_value),
      column(({ key_id }) => key_id),
      column(({ scope }) => scope),
      column(({ user_id }) => user_id),
      column(({ workspace_id }) => workspace_id),
      provider,
    ],
  );
}

/** The rows of some credentials, as the worker sees them. */
export async function rowsOf(pool: Pick<pg.Pool, "query">, ids: readonly string[]): Promise<Row[]> {
  const { rows } = await pool.query<Row>(
    `select id::text, encrypted_value, key_id, scope::text, user_id::text, workspace_id::text
     from public.user_credentials where id = any ($1::uuid[])`,
    [ids],
  );
  return ids.map((id) => rows.find((row) => row.id === id) as Row);
}

/** What the values of some credentials open to; undefined where one does not open. */
export async function opened({ pool, place }: WorkerDatabase, cipher: Cipher, ids: readonly string[]) {
  const rows = await rowsOf(pool, ids);
  const answers = await cipher.open(rows.map((row) => boundOf(place, row)));
  return answers.map((answer) => (typeof answer === "string" ? answer : undefined));
}
