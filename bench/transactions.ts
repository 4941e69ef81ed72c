import { randomUUID } from "node:crypto";
import type pg from "pg";
import { readConfig } from "../src/config.ts";
import { createSession } from "../src/session.ts";
import type { Claims } from "../src/token.ts";
import { transact } from "../src/transaction.ts";
import { MANY, made } from "./operations.ts";

// The transactions that Keyrow runs for the measured operations, in the same SQL and by hand, each in one write.

const date = (column: string) => `to_char(${column}, 'YYYY-MM-DD"T"HH24:MI:SS.USTZH:TZM') as "${column}"`;
const page = `from public.user_credentials order by created_at desc, id desc limit ${MANY}`;

/** The statements, each prepared once a connection. */
const statements = {
  one: "select id, provider, name from public.user_credentials where id = $1",
  many: `select id, provider, name ${page}`,
  list: `select id, provider, name, type, scope, masked_value, is_active, ${date("expires_at")}, ${date("created_at")} ${page}`,
  reveal: "select * from keyrow.reveal_user_credentials($1)",
  create: `insert into public.user_credentials
    (name, provider, type, id, scope, user_id, encrypted_value, key_id, masked_value)
    values ($1, '${made.provider}', '${made.type}', $2, 'USER', $3, $4, $5, $6)
    returning id, provider, name, masked_value, ${date("created_at")}`,
} as const;

const session = createSession(readConfig({}).limits);

/** A request's settings, as its transactions set them. */
export function settingsOf(claims: Claims): string {
  return JSON.stringify(Object.entries(session(claims, randomUUID())));
}

/** Runs one statement in a transaction of its own: settings and statement leave in one write. */
export async function run<Row extends pg.QueryResultRow>(
  client: pg.ClientBase,
  settings: string,
  name: keyof typeof statements,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const { rows } = await transact(client, settings, { name, text: statements[name], values: [...values] });
  return rows;
}
