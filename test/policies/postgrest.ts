import type pg from "pg";
import { DatabaseError } from "pg";
import type { Outcome } from "./world.ts";

// What PostgREST 16.1 sends for a request, statement by statement, in the order of its transaction. Its own words:
// https://docs.postgrest.org/en/v16/references/transactions.html, and the source at the tag v16.1,
// src/library/PostgREST/{MainTx,Plan}.hs and Query/{PreQuery,Statements,QueryBuilder,SqlFragment}.hs.
// docs/postgrest.conf has no pre-request function, no app.settings, and no role has settings of its own: none are here.

/** The HTTP methods of tables and functions. */
export type Method = "GET" | "HEAD" | "POST" | "PATCH" | "PUT" | "DELETE";

/** A request as PostgREST sees it once it has verified the token. */
export interface Request {
  readonly method: Method;
  readonly path: string;
  /** The claims of the verified token; none without a token. */
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cookies?: Readonly<Record<string, string>>;
  /** `Prefer: timezone=`. */
  readonly timezone?: string;
  /** `Prefer: tx=rollback`: what would come of it. */
  readonly rollback?: boolean;
}

/** A statement with its parameters. */
export interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** What a main query answers: the rows it counts as the page, all rows where that was asked for, and the body. */
export interface Answer {
  readonly page: number;
  readonly total: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: a body has the form that the request asks for.
  readonly body: any;
}

/** `db-anon-role` of docs/postgrest.conf. */
export const anonymousRole = "keyrow_anonymous";

/** The transaction's settings: one select, the search path first and the role before the claims. */
function transactionSettings({ method, path, claims = {}, headers = {}, cookies = {}, timezone }: Request): Statement {
  const role = typeof claims.role === "string" ? claims.role : anonymousRole;
  const settings: Array<[name: string, value: string]> = [
    // db-schemas, then the default of db-extra-search-path.
    ["search_path", '"public", "public"'],
    ["role", role],
    ["request.jwt.claims", JSON.stringify({ ...claims, role })],
    ["request.method", method],
    ["request.path", path],
    ["request.headers", JSON.stringify(headers)],
    ["request.cookies", JSON.stringify(cookies)],
  ];
  if (timezone !== undefined) settings.push(["timezone", timezone]);
  return {
    text: `select ${settings.map(([name], index) => `set_config('${name}', $${index + 1}, true)`).join(", ")}`,
    values: settings.map(([, value]) => value),
  };
}

/** Runs `work` where PostgREST runs its main query, on a connection of its login, and ends the transaction as it does. */
export async function inRequest<T>(
  pool: pg.Pool,
  request: Request,
  work: (client: pg.ClientBase) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  const mode = request.method === "GET" || request.method === "HEAD" ? "read only" : "read write";
  let end = "rollback";
  try {
    await client.query(`start transaction isolation level read committed ${mode}`);
    await run(client, transactionSettings(request));
    const result = await work(client);
    if (request.rollback) await client.query("set constraints all immediate");
    else end = "commit";
    return result;
  } finally {
    await client.query(end);
    client.release();
  }
}

/** Sends a request with its main query; throws Postgres's error, of which PostgREST makes the answer. */
export async function send(pool: pg.Pool, request: Request, statement: Statement): Promise<Answer> {
  const { rows } = await inRequest(pool, request, (client) => run(client, statement));
  const { total_result_set: total, page_total: page, body } = rows[0];
  return { page: Number(page), total: total === null || total === "" ? null : Number(total), body };
}

/** Sends a request, and gives the rows it counts, or the SQLSTATE that stopped it. */
export async function came(pool: pg.Pool, request: Request, statement: Statement): Promise<Outcome> {
  try {
    return (await send(pool, request, statement)).page;
  } catch (error) {
    if (error instanceof DatabaseError && error.code) return error.code;
    throw error;
  }
}

function run(client: pg.ClientBase, { text, values }: Statement): Promise<pg.QueryResult> {
  return client.query(text, [...values]);
}

//------------------------------------------------------------------------------------------------------ the main queries

/** Filters of the address, `?column=eq.value`. */
export type Filters = Readonly<Record<string, string>>;

/** What of the rows comes back: nothing (the default of writes), or the named columns. */
export type Columns = readonly string[] | undefined;

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
const qualified = (table: string) => `"public".${quoted(table)}`;
const column = (table: string, name: string) =>
  name === "*" ? `${qualified(table)}.*` : `${qualified(table)}.${quoted(name)}`;
const response = `
  nullif(current_setting('response.headers', true), '') AS response_headers,
  nullif(current_setting('response.status', true), '') AS response_status`;

/** The types that PostgREST finds in the catalogue for the columns of a body. */
const types: Readonly<Record<string, string>> = {
  id: "uuid",
  user_id: "uuid",
  workspace_id: "uuid",
  type: 'public."CredentialType"',
  scope: 'public."CredentialScope"',
  role: 'public."WorkspaceMemberRole"',
  expires_at: "timestamp with time zone",
  last_used_at: "timestamp with time zone",
  metadata: "jsonb",
  is_active: "boolean",
};

function where(table: string, filters: Filters, first = 1): Statement {
  const conditions = Object.keys(filters).map((name, index) => ` ${column(table, name)} = $${first + index}`);
  return {
    text: conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`,
    values: Object.values(filters),
  };
}

/** `GET /table?select=...&filters`, with `db-max-rows`, and with `Prefer: count=exact` where asked for. */
export function read(
  table: string,
  columns: readonly string[],
  filters: Filters = {},
  { order = "", count = false }: { readonly order?: string; readonly count?: boolean } = {},
): Statement {
  const condition = where(table, filters);
  const limit = condition.values.length + 1;
  const counted = count ? `, pgrst_source_count AS (SELECT 1 FROM ${qualified(table)}${condition.text})` : "";
  const text = `
    WITH pgrst_source AS (
      SELECT ${columns.map((name) => column(table, name)).join(", ")} FROM ${qualified(table)}${condition.text}
      ${order && `ORDER BY ${order}`} LIMIT $${limit} OFFSET $${limit + 1} )${counted}
    SELECT
      ${count ? "(SELECT pg_catalog.count(*) FROM pgrst_source_count)" : "null::bigint"} AS total_result_set,
      pg_catalog.count(_postgrest_t) AS page_total,
      coalesce(json_agg(_postgrest_t), '[]') AS body, ${response}, '' AS response_inserted
    FROM ( SELECT * FROM pgrst_source ) _postgrest_t`;
  return { text, values: [...condition.values, "1000", "0"] };
}

/** The body as a row source: an object is one row, an array is several. */
function fromBody(names: readonly string[], body: unknown): string {
  const typed = names.map((name) => `${quoted(name)} ${types[name] ?? "text"}`).join(", ");
  const source = Array.isArray(body) ? "json_to_recordset" : "json_to_record";
  return `
    FROM (SELECT $1::json AS json_data) pgrst_payload,
    LATERAL (SELECT ${names.map(quoted).join(", ")} FROM ${source}(pgrst_payload.json_data) AS _(${typed}) ) pgrst_body`;
}

/** A data-modifying statement in the query that counts and shows what it returned. */
function write(table: string, statement: string, values: readonly unknown[], select: Columns): Statement {
  const returning = select ? select.map((name) => column(table, name)).join(", ") : "1";
  const shown = select?.map((name) => (name === "*" ? '"pgrst_source".*' : `"pgrst_source".${quoted(name)}`));
  const text = `
    WITH pgrst_source AS (${statement} RETURNING ${returning})
    SELECT
      '' AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total, array[]::text[] AS header,
      ${shown ? "coalesce(json_agg(_postgrest_t), '[]')" : "''::text"} AS body, ${response}, '' AS response_inserted
    FROM (SELECT ${shown ? `${shown.join(", ")} FROM "pgrst_source"` : "* FROM pgrst_source"}) _postgrest_t`;
  return { text, values };
}

type Body = Readonly<Record<string, unknown>>;

/** `POST /table`, and with `Prefer: resolution=merge-duplicates` an upsert by the primary key. */
export function create(
  table: string,
  body: Body | readonly Body[],
  { select, merge = false }: { readonly select?: readonly string[]; readonly merge?: boolean } = {},
): Statement {
  const names = Object.keys((Array.isArray(body) ? body[0] : body) ?? {});
  const set = names.map((name) => `${quoted(name)} = EXCLUDED.${quoted(name)}`).join(", ");
  const statement = `
    INSERT INTO ${qualified(table)}(${names.map(quoted).join(", ")})
    SELECT ${names.map((name) => `"pgrst_body".${quoted(name)}`).join(", ")} ${fromBody(names, body)}
    ${merge ? `ON CONFLICT("id") DO UPDATE SET ${set}` : ""}`;
  return write(table, statement, [JSON.stringify(body)], select);
}

/** `PATCH /table?filters`. */
export function update(table: string, body: Body, filters: Filters, select?: Columns): Statement {
  const names = Object.keys(body);
  const condition = where(table, filters, 2);
  const set = names.map((name) => `${quoted(name)} = "pgrst_body".${quoted(name)}`).join(", ");
  const statement = `UPDATE ${qualified(table)} SET ${set} ${fromBody(names, body)}${condition.text}`;
  return write(table, statement, [JSON.stringify(body), ...condition.values], select);
}

/** `DELETE /table?filters`. */
export function remove(table: string, filters: Filters, select?: Columns): Statement {
  const condition = where(table, filters);
  return write(table, `DELETE FROM ${qualified(table)}${condition.text}`, condition.values, select);
}

/** `POST /rpc/function` with arguments in the body, for a function that returns rows. */
export function call(
  schema: string,
  name: string,
  parameters: Readonly<Record<string, string>>,
  args: Body,
  filter = "",
): Statement {
  const names = Object.keys(parameters);
  const typed = names.map((parameter) => `${quoted(parameter)} ${parameters[parameter]}`).join(", ");
  const passed = names.map((parameter) => `${quoted(parameter)} := pgrst_body.${quoted(parameter)}`).join(", ");
  const text = `
    WITH pgrst_source AS (
      SELECT "pgrst_call".* FROM (SELECT $1::json AS json_data) pgrst_payload,
      LATERAL (SELECT ${names.map(quoted).join(", ")} FROM json_to_record(pgrst_payload.json_data) AS _(${typed}) LIMIT 1) pgrst_body ,
      LATERAL ${quoted(schema)}.${quoted(name)}(${passed}) pgrst_call)
    SELECT
      null::bigint AS total_result_set, pg_catalog.count(_postgrest_t) AS page_total,
      coalesce(json_agg(_postgrest_t), '[]') AS body, ${response}, '' AS response_inserted
    FROM (SELECT "pgrst_source".* FROM "pgrst_source" ${filter}) _postgrest_t`;
  return { text, values: [JSON.stringify(args)] };
}

//------------------------------------------------------------------------------------------------- what it lets be seen

/** The tables that its OpenAPI output shows to the role of a request. */
export const accessibleTables = `
  SELECT c.relname AS name
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('v','r','m','f','p') AND c.relnamespace = 'public'::regnamespace
    AND (
      pg_has_role(c.relowner, 'USAGE')
      or has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
      or has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'))
    AND not c.relispartition
  ORDER BY 1`;

/** The functions that have an address under /rpc, and that the role of a request may call. */
export const callableFunctions = `
  SELECT p.proname AS name, p.provolatile AS volatility
  FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
  WHERE p.pronamespace = 'public'::regnamespace AND t.oid <> 'trigger'::regtype AND p.prokind = 'f'
    AND has_function_privilege(p.oid, 'execute')
  ORDER BY 1`;

/** The keys of its configuration file: docs/references/configuration.rst at v16.1. */
export const configurationKeys: readonly string[] = [
  "admin-server-host",
  "admin-server-port",
  "admin-server-unix-socket",
  "admin-server-unix-socket-mode",
  "client-error-verbosity",
  "db-aggregates-enabled",
  "db-anon-role",
  "db-channel",
  "db-channel-enabled",
  "db-config",
  "db-pre-config",
  "db-extra-search-path",
  "db-hoisted-tx-settings",
  "db-max-rows",
  "db-plan-enabled",
  "db-pool",
  "db-pool-acquisition-timeout",
  "db-pool-max-idletime",
  "db-pool-max-lifetime",
  "db-pool-automatic-recovery",
  "db-pre-request",
  "db-prepared-statements",
  "db-root-spec",
  "db-schemas",
  "db-tx-end",
  "db-uri",
  "jwt-aud",
  "jwt-role-claim-key",
  "jwt-secret",
  "jwt-secret-is-base64",
  "jwt-cache-max-entries",
  "log-level",
  "log-query",
  "openapi-mode",
  "openapi-security-active",
  "openapi-server-proxy-uri",
  "server-cors-allowed-origins",
  "server-host",
  "server-port",
  "server-reuseport",
  "server-trace-header",
  "server-timing-enabled",
  "server-unix-socket",
  "server-unix-socket-mode",
  "url-use-legacy-target-names",
];
