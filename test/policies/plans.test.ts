import { randomUUID } from "node:crypto";
import test from "ava";
import pg from "pg";
import { loadTeams } from "../../bench/teams.ts";
import { createSession } from "../../src/session.ts";
import { withConnection } from "../../src/setup.ts";
import type { Claims } from "../../src/token.ts";
import { startTestServer } from "../helpers/server.ts";

// How the queries that the API sends are planned, policies and all: their shape, and no times. On some thousand rows a
// plan that reads the whole table costs more than one by index, so PostgreSQL's choice is the one of a large table.

const server = await startTestServer();
test.after.always(() => server.stop());

/** A statement with its values, as pg is given it. */
interface Statement {
  readonly text: string;
  readonly values?: unknown[];
}

/** A node of a plan, as `explain (format json)` has it. */
interface Node {
  readonly "Node Type": string;
  readonly "Parent Relationship"?: string;
  readonly "Relation Name"?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly "Recheck Cond"?: string;
  readonly Filter?: string;
  readonly "Actual Loops": number;
  readonly Plans?: readonly Node[];
}

/** What a statement came to: the plans that read credentials, node by node, and how often functions were called. */
interface Ran {
  readonly nodes: readonly Node[];
  readonly calls: Readonly<Record<string, number>>;
}

const people = { admin: "", workspace: "", team: "", credential: "", stranger: randomUUID() };
const statements: Statement[] = [];
const leading = new Map<string, string>();

test.before(async () => {
  await loadTeams(server.database, 25_000, "local:20261123-00000001");
  await withConnection(server.database.url("postgres"), async (client) => {
    const { rows } = await client.query(
      `select m.user_id as admin, m.workspace_id as workspace, w.name as team, c.id as credential
       from public.workspace_members m join public.user_credentials c on c.user_id = m.user_id and c.scope = 'USER'
       join public.workspaces w on w.id = m.workspace_id
       where m.role = 'ADMIN' limit 1`,
    );
    Object.assign(people, rows[0]);
    const indexes = await client.query(
      `select relname as index, attname as column from pg_index i
       join pg_class c on c.oid = i.indexrelid
       join pg_attribute a on a.attrelid = i.indexrelid and a.attnum = 1
       where i.indrelid = 'public.user_credentials'::regclass`,
    );
    for (const { index, column } of indexes.rows) leading.set(index, column);
  });
  // What the API sends is written down where pg is given it.
  const query = pg.Client.prototype.query as (...args: unknown[]) => unknown;
  pg.Client.prototype.query = function (this: pg.Client, ...args: unknown[]) {
    if (typeof args[0] === "object") statements.push(args[0] as Statement);
    return query.apply(this, args);
  } as typeof pg.Client.prototype.query;
});

/** The statements that the API sends for a request, of those that read credentials. */
async function sent(userId: string, query: string, variables: Record<string, unknown>): Promise<Statement[]> {
  statements.length = 0;
  await server.query(userId, query, variables);
  return statements.filter(({ text }) => text.includes("user_credentials"));
}

// A prepared statement may be planned for its values each time, or once for all values.
const modes = ["force_custom_plan", "force_generic_plan"] as const;

/**
 * Runs a statement with a user's settings, after `breach` has changed the schema, and takes all back. The plans come
 * from auto_explain, which tells those inside functions as well; not after a breach, which may call one for each row.
 */
async function run(
  userId: string,
  { text, values }: Statement,
  mode: (typeof modes)[number],
  { breach = "", limits }: { readonly breach?: string; readonly limits?: Claims["limits"] } = {},
): Promise<Ran> {
  return withConnection(server.database.url("postgres"), async (client) => {
    const plans: Node[] = [];
    client.on("notice", ({ message = "" }) => {
      if (message.includes("plan:\n")) plans.push(JSON.parse(message.slice(message.indexOf("{"))).Plan);
    });
    await client.query(`
      load 'auto_explain';
      begin;
      ${breach};
      set local auto_explain.log_min_duration = 0;
      set local auto_explain.log_nested_statements = ${breach === ""};
      set local auto_explain.log_analyze = on;
      set local auto_explain.log_format = json;
      set local track_functions = 'all';
      set local plan_cache_mode = ${mode};
      set local client_min_messages = log`);
    const settings = JSON.stringify(
      Object.entries(
        // Without an end: some breaches are slow, and slower with their plans written down.
        createSession({ statementMs: 0 })({ userId, expiresAt: 0, ...(limits && { limits }) }, "plans"),
      ),
    );
    await client.query("select set_config(el->>0, el->>1, true) from json_array_elements($1::json) el", [settings]);
    await client.query({ name: "planned", text, values: values ?? [] });
    // A plan is told when its statement is over, which is when the next one begins.
    await client.query("reset role");
    const { rows } = await client.query("select funcname, calls::int from pg_stat_xact_user_functions");
    await client.query("rollback");
    const reading = plans.map(flatten).filter((nodes) => nodes.some(readsCredentials));
    return { nodes: reading.flat(), calls: Object.fromEntries(rows.map(({ funcname, calls }) => [funcname, calls])) };
  });
}

function flatten(node: Node): Node[] {
  return [node, ...(node.Plans ?? []).flatMap(flatten)];
}

function readsCredentials(node: Node): boolean {
  return node["Relation Name"] === "user_credentials";
}

/** What is wrong with the shape of a plan, in which credentials may be found by indexes on some columns alone. */
function faults({ nodes, calls }: Ran, by: readonly string[], tables = 1): string[] {
  const used = nodes.filter((node) => leading.has(node["Index Name"] ?? ""));
  const conditions = nodes.flatMap((node) => [node["Index Cond"], node["Recheck Cond"], node.Filter]).join(" ");
  const initial = nodes.filter((node) => node["Parent Relationship"] === "InitPlan");
  return [
    !nodes.some(readsCredentials) && "no plan reads credentials",
    nodes.some((node) => node["Node Type"] === "Seq Scan" && readsCredentials(node)) && "it reads the whole table",
    used.some((node) => node["Index Cond"] === undefined) && "it reads a whole index",
    used.length === 0 && "it uses no index",
    used.some((node) => !by.includes(leading.get(node["Index Name"] ?? "") as string)) && "it uses another index",
    // What is evaluated once stands beside the plan as an InitPlan, and conditions name it as such.
    /current_setting|current_user_id|workspace_ids|is_workspace_admin|is_unlimited|limit_patterns/.test(conditions) &&
      "it asks row by row who asks",
    !conditions.includes("(InitPlan ") && "nothing is evaluated beforehand",
    initial.some((node) => node["Actual Loops"] > 1) && "something is evaluated again",
    // Which patterns hold is asked once for each policy: the list's, and in a function the reveal's.
    Object.entries(calls).some(([name, times]) => /workspace|limit_patterns/.test(name) && times > tables) &&
      "a policy's function is called again",
  ].filter((fault) => fault !== false);
}

const page = (filter = "") => `userCredentials(first: 50${filter}) { nodes { id provider name } }`;
const own = `query ($id: UUID!) { ${page(", filter: { userId: { equalTo: $id } }")} }`;
const inWorkspace = `query ($id: UUID!) { ${page(", filter: { workspaceId: { equalTo: $id } }")} }`;

interface Request {
  readonly query: string;
  readonly id?: keyof typeof people;
  /** The columns by which credentials may be found: those that lead an index. */
  readonly by: readonly string[];
  /** How many statements an admin's request is; the last one, where values are revealed, is the reveal function's. */
  readonly statements: number;
  /** How many tables' policies are asked, each once; 1 where nobody says. */
  readonly tables?: number;
}

const requests: Readonly<Record<string, Request>> = {
  "a credential by its id": {
    query: "query ($id: UUID!) { userCredential(id: $id) { id name } }",
    id: "credential",
    by: ["id"],
    statements: 1,
  },
  "a reveal": {
    query: "query ($id: UUID!) { userCredential(id: $id) { id value } }",
    id: "credential",
    by: ["id"],
    statements: 2,
  },
  "a page of reveals": {
    query: "query { userCredentials(first: 50) { nodes { id value } } }",
    by: ["id", "user_id", "workspace_id"],
    statements: 2,
  },
  "a user's own list": { query: own, id: "admin", by: ["user_id", "workspace_id"], statements: 1 },
  "a workspace's list": { query: inWorkspace, id: "workspace", by: ["user_id", "workspace_id"], statements: 1 },
  "a reveal of what is one's own, as the client asks for it": {
    query: `query { userCredentials(first: 1000, filter: { or: [
      { provider: { like: "git%" }, isActive: { equalTo: true }, own: true, scope: { equalTo: USER } },
      { provider: { equalTo: "npm" }, name: { equalTo: "deploy" }, own: true, scope: { equalTo: USER } }
    ] }) { nodes { value } } }`,
    by: ["id", "user_id", "workspace_id"],
    statements: 2,
  },
  "the list of a workspace by its name": {
    query: `query ($id: String!) { ${page(", filter: { workspaceName: $id }")} }`,
    id: "team",
    by: ["user_id", "workspace_id"],
    statements: 1,
    tables: 2,
  },
  "the list inside a workspace": {
    query: `query ($id: UUID!) { workspace(id: $id) { ${page()} } }`,
    id: "workspace",
    by: ["user_id", "workspace_id"],
    statements: 1,
  },
  "the first page without a filter": { query: `query { ${page()} }`, by: ["user_id", "workspace_id"], statements: 1 },
  "a count": { query: "query { userCredentials { totalCount } }", by: ["user_id", "workspace_id"], statements: 2 },
};

for (const [title, request] of Object.entries(requests)) {
  test.serial(`${title} is by index, and a policy's functions are called once`, async (t) => {
    const variables = { id: request.id && people[request.id] };
    const admins = await sent(people.admin, request.query, variables);
    t.is(admins.length, request.statements);
    for (const mode of modes) {
      for (const statement of admins) {
        t.deepEqual(faults(await run(people.admin, statement, mode), request.by, request.tables), [], mode);
        // The same for who sees nothing of it: where the answer is empty, the look must not be long.
        const nothing = await run(people.stranger, statement, mode);
        t.deepEqual(faults(nothing, request.by, request.tables), [], `${mode}, who sees nothing`);
      }
    }
  });
}

test.serial("what a policy asks of workspaces is called for a page of rows, and once", async (t) => {
  const [first, revealed] = await sent(people.admin, "query { userCredentials(first: 50) { nodes { value } } }", {});
  for (const mode of modes) {
    const { calls } = await run(people.admin, first as Statement, mode);
    t.is(calls.admin_workspace_ids, 1);
    const reveal = await run(people.admin, revealed as Statement, mode);
    t.like(reveal.calls, { reveal_user_credentials: 1, admin_workspace_ids: 1, log_credential_events: 1 });
  }
});

const limits = [{ credentials: ["github/*", "*/deploy"], actions: ["read", "reveal"] }] as const;

for (const [title, request] of Object.entries(requests)) {
  test.serial(`${title} by a limited token is by index, and its limits are read once`, async (t) => {
    const statements = await sent(people.admin, request.query, { id: request.id && people[request.id] });
    for (const mode of modes) {
      for (const statement of statements) {
        const ran = await run(people.admin, statement, mode, { limits });
        t.deepEqual(faults(ran, request.by, request.tables), [], mode);
        t.is(ran.calls.limit_patterns, 1);
      }
    }
  });
}

test.serial("a token without limits pays for one call in a statement, however many rows it reads", async (t) => {
  const [statement] = await sent(people.admin, "query { userCredentials(first: 50) { nodes { name } } }", {});
  for (const mode of modes) {
    const { calls } = await run(people.admin, statement as Statement, mode);
    t.is(calls.is_unlimited, 1);
    t.is(calls.limit_patterns, undefined);
  }
});

const userAccess = "alter policy user_credentials_user_access on public.user_credentials using";
const workspaceAccess = "alter policy user_credentials_workspace_access on public.user_credentials using";
const limitedSelect = "alter policy user_credentials_select_limited on public.user_credentials using";
const breaches: ReadonlyArray<[title: string, breach: string, faults: readonly string[]]> = [
  [
    "no index by user",
    `do $$ declare index regclass; begin
       for index in
         select i.indexrelid from pg_index i join pg_attribute a on a.attrelid = i.indexrelid and a.attnum = 1
         where i.indrelid = 'public.user_credentials'::regclass and a.attname = 'user_id'
       loop execute format('drop index %s', index); end loop;
     end $$`,
    ["it reads the whole table", "it uses no index"],
  ],
  [
    "a bare call of who is asking",
    `${userAccess} (scope = 'USER' and user_id = public.current_user_id())`,
    ["it reads the whole table", "it uses no index", "it asks row by row who asks"],
  ],
  [
    "a list of workspaces that is no array",
    `${workspaceAccess} (scope = 'WORKSPACE' and workspace_id in (select keyrow.admin_workspace_ids()))`,
    ["it reads a whole index"],
  ],
  [
    "the specification's own words",
    `${workspaceAccess} (scope = 'WORKSPACE' and public.is_workspace_admin(workspace_id, public.current_user_id()))`,
    ["it reads a whole index", "it asks row by row who asks", "a policy's function is called again"],
  ],
  ["limits that are asked for row by row", `${limitedSelect} (keyrow.is_unlimited())`, ["it asks row by row who asks"]],
];

for (const [title, breach, expected] of breaches) {
  test.serial(`a breach is seen: ${title}`, async (t) => {
    const [statement] = await sent(people.admin, `query { ${page()} }`, {});
    const ran = await run(people.admin, statement as Statement, "force_custom_plan", { breach });
    t.deepEqual(faults(ran, ["user_id", "workspace_id"]), expected);
  });
}
