import { randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import type pg from "pg";
import type { Cipher } from "../src/cipher/cipher.ts";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { readConfig } from "../src/config.ts";
import { secretKey } from "../src/jwt-key.ts";
import { maskValue } from "../src/mask.ts";
import { withConnection } from "../src/setup.ts";
import { createSigner } from "../src/token.ts";
import type { BenchDatabase } from "./database.ts";
import { CLIENTS } from "./load.ts";
import { made, type Person, tokenOf } from "./operations.ts";

/** What tokens and values are made with in one run. */
export interface Secrets {
  readonly jwtSecret: string;
  readonly keyFile: string;
  readonly cipher: Cipher;
  token(userId: string): string;
}

/** Makes the secrets of one run; the key file lies in the directory. */
export async function makeSecrets(directory: string): Promise<Secrets> {
  const jwtSecret = randomBytes(48).toString("base64url");
  const keyFile = join(directory, "keys.json");
  const cipher = createKeyring((await createKeyFile(keyFile)).map(createLocalCipher));
  const sign = createSigner({ ...readConfig({}).jwt, key: secretKey(jwtSecret) });
  return { jwtSecret, keyFile, cipher, token: (userId) => sign({ userId, expiresIn: 24 * 60 * 60 }) };
}

/** Those who read, each with credentials of their own; those who create; and twenty admins of one workspace. */
export interface People {
  readonly readers: readonly Person[];
  readonly writers: readonly Person[];
  /** Their credentials are the workspace's. */
  readonly admins: readonly Person[];
}

// More than a page, so that a list has to choose.
const OWN = 60;

/** Makes the people of the comparison: as many of each kind as there are clients, for one user's requests take turns. */
export async function makePeople(database: BenchDatabase, secrets: Secrets): Promise<People> {
  const people = (count: number) =>
    Array.from({ length: CLIENTS }, () => {
      const userId = randomUUID();
      return { userId, token: secrets.token(userId), credentials: Array.from({ length: count }, () => randomUUID()) };
    });
  const [readers, writers, admins] = [people(OWN), people(0), people(0)];
  const workspaceId = randomUUID();
  const shared = Array.from({ length: CLIENTS }, () => randomUUID());
  const own = readers.flatMap(({ userId, credentials }) => credentials.map((id) => ({ id, userId })));
  const common = shared.map((id) => ({ id, userId: admins[0]?.userId as string, workspaceId }));
  const rows = await sealedRows(secrets.cipher, [...own, ...common]);
  await withConnection(database.url("postgres"), async (client) => {
    // No triggers: what is loaded is not on the record, and has the dates that it is given.
    await client.query("set session_replication_role = replica");
    const all = [...readers, ...writers, ...admins].map(({ userId }) => userId);
    await client.query("insert into public.users (id) select unnest($1::uuid[])", [all]);
    await client.query("insert into public.workspaces (id, name) values ($1, 'bench')", [workspaceId]);
    await client.query(
      "insert into public.workspace_members (workspace_id, user_id, role) select $1, unnest($2::uuid[]), 'ADMIN'",
      [workspaceId, admins.map(({ userId }) => userId)],
    );
    await insertRows(client, rows);
    await client.query("vacuum analyze");
  });
  return { readers, writers, admins: admins.map((admin) => ({ ...admin, credentials: shared })) };
}

/** Puts rows into the table as they stand, with dates of the last months. */
export async function insertRows(client: pg.ClientBase, rows: ReadonlyArray<Record<string, unknown>>): Promise<void> {
  await client.query(
    `insert into public.user_credentials
       (id, user_id, workspace_id, scope, name, provider, type, encrypted_value, key_id, masked_value, created_at)
     select rows.*, now() - random() * interval '300 days'
     from jsonb_to_recordset($1) as rows (
       id uuid, user_id uuid, workspace_id uuid, scope public."CredentialScope", name text, provider text,
       type public."CredentialType", encrypted_value text, key_id text, masked_value text)`,
    [JSON.stringify(rows)],
  );
}

/** Rows as the table has them, with real sealed values. */
export async function sealedRows(
  cipher: Cipher,
  rows: ReadonlyArray<{ id: string; userId: string; workspaceId?: string }>,
): Promise<Array<Record<string, string | null>>> {
  const scopeOf = (workspaceId?: string) => (workspaceId === undefined ? "USER" : "WORKSPACE");
  const sealed = await cipher.seal(
    rows.map(({ id, userId, workspaceId }) => ({
      context: ["public.user_credentials", "encrypted_value", id, scopeOf(workspaceId), workspaceId ?? userId],
      value: tokenOf(id),
    })),
  );
  return rows.map(({ id, userId, workspaceId }, index) => ({
    id,
    user_id: userId,
    workspace_id: workspaceId ?? null,
    scope: scopeOf(workspaceId),
    name: id,
    ...made,
    encrypted_value: sealed[index]?.encrypted ?? null,
    key_id: sealed[index]?.keyId ?? null,
    masked_value: maskValue(tokenOf(id)),
  }));
}
