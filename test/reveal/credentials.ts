import { randomBytes } from "node:crypto";
import pg from "pg";
import { withConnection } from "../../src/setup.ts";
import { Transaction } from "../../src/transaction.ts";
import type { TestDatabase } from "../helpers/database.ts";
import { asAdmin, type TestServer } from "../helpers/server.ts";

/** A credential that was made through the API, and its value. */
export interface Made {
  readonly id: string;
  readonly name: string;
  readonly value: string;
}

/** Reveals one credential by its id. */
export const revealOne = "query ($id: UUID!) { userCredential(id: $id) { name value } }";

/** Makes credentials of a user's, or of a workspace's, through the API; the first one that was made comes first. */
export async function makeCredentials(
  server: TestServer,
  userId: string,
  count: number,
  workspaceId?: string,
): Promise<Made[]> {
  const made: Made[] = [];
  for (let index = 0; index < count; index++) {
    const name = `n${index}`;
    const value = `value-${randomBytes(9).toString("hex")}`;
    const { data, errors } = await server.query(
      userId,
      `mutation ($credential: UserCredentialInput!) {
        createUserCredential(input: { userCredential: $credential }) { userCredential { id } }
      }`,
      {
        credential: {
          provider: "test",
          name,
          value,
          type: "SECRET",
          ...(workspaceId !== undefined && { scope: "WORKSPACE", workspaceId }),
        },
      },
    );
    if (errors.length > 0) throw new Error(JSON.stringify(errors));
    made.push({ id: data.createUserCredential.userCredential.id, name, value });
  }
  return made;
}

/** A row of the log about a credential. */
export interface Entry {
  readonly entity_id: string;
  readonly user_id: string;
  readonly workspace_id: string | null;
  readonly session_role: string;
  readonly details: Record<string, unknown>;
}

/** The reveals that are on the record: those of a request, or all of them. */
export async function recordedReveals(database: TestDatabase, requestId?: string | null): Promise<Entry[]> {
  const { rows } = await asAdmin(
    database,
    `select entity_id, user_id, workspace_id, session_role, details from public.activity_logs
     where action = 'CREDENTIAL_ACCESSED' and ($1::text is null or details ->> 'request' = $1) order by id`,
    [requestId ?? null],
  );
  return rows as Entry[];
}

/** Runs statements as the superuser, with triggers, policies and foreign keys off: what somebody with the disk can do. */
export async function forge(database: TestDatabase, text: string, values: unknown[] = []): Promise<void> {
  await withConnection(database.url("postgres"), async (client) => {
    await client.query("set session_replication_role = replica");
    await client.query(text, values);
  });
}

/** What was sent to the database so far, each transaction with its statements in order. */
export interface Traffic {
  /** The transactions of a request, without their settings: the statement, then `commit` or `rollback`. */
  of(requestId: string | null): string[][];
}

/** Listens to every connection of this process from now on. A request's settings tell whose a transaction is. */
export function listenToTraffic(): Traffic {
  const done: Array<{ request: string | undefined; statements: string[] }> = [];
  const { query } = pg.Client.prototype;
  const listening = function (this: pg.Client, ...args: unknown[]) {
    const [transaction] = args;
    if (transaction instanceof Transaction) {
      const settings = new Map(JSON.parse(transaction.settings) as Array<[string, string]>);
      const statements = [transaction.text];
      done.push({ request: settings.get("keyrow.request_id"), statements });
      const { callback } = transaction;
      transaction.callback = (error, result) => {
        statements.push(error ? "rollback" : "commit");
        callback(error, result);
      };
    }
    return Reflect.apply(query, this, args);
  };
  pg.Client.prototype.query = listening as unknown as typeof query;
  return {
    of: (requestId) => done.filter(({ request }) => request === requestId).map(({ statements }) => statements),
  };
}

/** The reveal function with another body: a database that lies. Its rows come whoever asks, for a superuser owns it. */
export async function replaceReveal(database: TestDatabase, body: string): Promise<void> {
  await withConnection(database.url("postgres"), (client) =>
    client.query(`
      create or replace function keyrow.reveal_user_credentials(ids uuid[], most_bytes bigint default null)
      returns table (
        id uuid, refusal text, recorded boolean, encrypted_value text, key_id text,
        scope public."CredentialScope", user_id uuid, workspace_id uuid
      )
      language plpgsql volatile security definer set search_path = pg_catalog, pg_temp
      as $function$
      #variable_conflict use_column
      begin
        ${body};
      end
      $function$;
      alter function keyrow.reveal_user_credentials(uuid[], bigint) owner to postgres`),
  );
}

/** The columns that the reveal function returns, of a row that it says it recorded. */
export const asRecorded =
  "c.id, null::text, true, c.encrypted_value, c.key_id, c.scope, c.user_id, c.workspace_id from public.user_credentials c";
