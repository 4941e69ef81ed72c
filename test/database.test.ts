import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import test, { type ExecutionContext } from "ava";
import type pg from "pg";
import type { WithPgClient } from "postgraphile/@dataplan/pg";
import { createPool } from "../src/database.ts";
import { MAX_RESULT_CHARACTERS } from "../src/limits.ts";
import { createSession } from "../src/session.ts";
import { withConnection } from "../src/setup.ts";
import { createWithPgClient, cutOff, type TrialQuery } from "../src/with-pg-client.ts";
import { createTestDatabase, type TestDatabase } from "./helpers/database.ts";
import { until } from "./helpers/until.ts";

let database: TestDatabase;
test.before(async () => {
  database = await createTestDatabase();
  await withConnection(database.url("postgres"), (client) =>
    client.query(
      "create table public.notes (text text unique deferrable initially deferred); grant select, insert on public.notes to keyrow_user",
    ),
  );
});
test.after.always(() => database?.drop());

interface Access {
  readonly pool: pg.Pool;
  readonly withPgClient: WithPgClient;
  /** Runs one query with a user's settings, and gives its rows. */
  // biome-ignore lint/suspicious/noExplicitAny: rows have the form that the query asks for.
  rows(text: string, values?: unknown[]): Promise<any[]>;
}

function open(t: ExecutionContext, max = 1): Access {
  // On a busy machine a turn may be long in coming; how long is not what is tested.
  const pool = createPool(database.url("keyrow_authenticator"), { max, connectionTimeoutMillis: 60_000 });
  t.teardown(() => pool.end());
  const withPgClient = createWithPgClient(pool);
  const rows: Access["rows"] = async (text, values = []) => {
    const result = await withPgClient(settings(), (client) => client.query({ text, values: values as never[] }));
    return [...result.rows];
  };
  return { pool, withPgClient, rows };
}

const settings = (userId = randomUUID()) =>
  createSession({ statementMs: 10_000 })({ userId, expiresAt: 0 }, "request-1");

/** Ends the server's side of the connections that this test's pool has. */
async function kill(pids: readonly number[]): Promise<void> {
  await withConnection(database.url("postgres"), (client) =>
    client.query("select pg_terminate_backend(pid) from unnest($1::int[]) pid", [pids]),
  );
}

const pid = "select pg_backend_pid() as pid";
const pidOf = (client: unknown) => (client as { rawClient: { processID: number } }).rawClient.processID;

test("a call has the request's settings and role, and the connection has none of them afterwards", async (t) => {
  const { pool, rows } = open(t);
  const [inside] = await rows(
    "select current_user, session_user, current_setting('jwt.claims.user_id') <> '' as claims, current_setting('keyrow.request_id') as request, current_setting('synchronous_commit') as sync, current_setting('search_path') as path, current_setting('statement_timeout') as timeout",
  );
  t.deepEqual(inside, {
    current_user: "keyrow_user",
    session_user: "keyrow_authenticator",
    claims: true,
    request: "request-1",
    sync: "on",
    path: "pg_catalog, public, pg_temp",
    timeout: "10s",
  });
  const { rows: after } = await pool.query(
    "select current_user, coalesce(current_setting('jwt.claims.user_id', true), '') as claims, current_setting('keyrow.request_id', true) as request, current_setting('statement_timeout') as timeout",
  );
  t.deepEqual(after, [{ current_user: "keyrow_authenticator", claims: "", request: "", timeout: "0" }]);
});

test("no call sees the settings of another that ran on the same connection, or at the same time", async (t) => {
  const { withPgClient } = open(t, 3);
  const users = Array.from({ length: 60 }, () => randomUUID());
  const seen = await Promise.all(
    users.map((user) =>
      withPgClient(settings(user), async (client) => {
        const { rows } = await client.query<{ id: string }>({ text: "select public.current_user_id() as id" });
        return rows[0]?.id;
      }),
    ),
  );
  t.deepEqual(seen, users);
});

const wrongSettings: Array<[title: string, changed: Record<string, string>, code: string]> = [
  ["a role that is not there", { role: "nobody_at_all" }, "22023"],
  ["a role that the login may not become", { role: "keyrow_owner" }, "42501"],
  ["a setting with a malformed value", { statement_timeout: "soon" }, "22023"],
  ["a setting that is for superusers", { session_replication_role: "replica" }, "42501"],
];
for (const [title, changed, code] of wrongSettings) {
  test(`${title} fails the call, and nothing of it runs as the login role`, async (t) => {
    const { pool, withPgClient, rows } = open(t);
    const error = await t.throwsAsync(
      withPgClient({ ...settings(), ...changed }, (client) =>
        client.query({ text: "insert into public.notes values ('unset') returning current_user" }),
      ),
    );
    t.is((error as { code?: string }).code, code);
    t.deepEqual(await rows("select * from public.notes where text = 'unset'"), []);
    t.is(pool.totalCount, 1, "the connection is good for the next call");
  });
}

test("a call never runs as the login role, which can read nothing", async (t) => {
  const { pool, rows } = open(t);
  t.deepEqual(await rows("select current_user as role"), [{ role: "keyrow_user" }]);
  for (const table of ["users", "user_credentials", "activity_logs", "notes"]) {
    await t.throwsAsync(pool.query(`select * from public.${table}`), { code: "42501" });
  }
});

test("what fails is rolled back whole, and its own error is the one that surfaces", async (t) => {
  const { pool, withPgClient, rows } = open(t);
  const half = "with half as (insert into public.notes values ('half') returning 1) select 1 / 0 from half";
  await t.throwsAsync(
    withPgClient(settings(), (client) => client.query({ text: half })),
    { code: "22012" },
  );
  await t.throwsAsync(
    withPgClient(settings(), async () => {
      throw new TypeError("our own");
    }),
    { message: "our own" },
  );
  t.deepEqual(await rows("select * from public.notes where text = 'half'"), []);
  t.true(pool.totalCount <= 1);
});

test("a call is one query: a second one is refused, for it would run as the login role", async (t) => {
  const { withPgClient, rows } = open(t);
  await t.throwsAsync(
    withPgClient(settings(), async (client) => {
      await client.query({ text: "insert into public.notes values ('first')" });
      await client.query({ text: "select 1" });
    }),
    { message: "a call is one query" },
  );
  t.is((await rows("select * from public.notes where text = 'first'")).length, 1);
});

test("a call is one write to the database, whatever it has prepared", async (t) => {
  const { pool, rows } = open(t);
  await rows("select 1");
  const client = await pool.connect();
  const { stream } = client.connection;
  client.release();
  const writes: string[] = [];
  const { _writev: writev, _write: write } = stream;
  stream._writev = (...args) => {
    writes.push("writev");
    writev?.apply(stream, args);
  };
  stream._write = (...args) => {
    writes.push("write");
    write.apply(stream, args);
  };
  await rows("select $1::int", [1]);
  t.deepEqual(writes, ["writev"]);
});

test("an error of the commit fails the call, and the connection goes on", async (t) => {
  const { withPgClient, rows } = open(t);
  const [before] = await rows(pid);
  await t.throwsAsync(
    withPgClient(settings(), (client) =>
      client.query({ text: "insert into public.notes values ('twice'), ('twice')" }),
    ),
    { code: "23505" },
  );
  t.deepEqual(await rows("select * from public.notes where text = 'twice'"), []);
  t.deepEqual(await rows(pid), [before]);
});

test("what a call answered is committed", async (t) => {
  const { withPgClient } = open(t);
  await withPgClient(settings(), (client) => client.query({ text: "insert into public.notes values ('kept')" }));
  await withConnection(database.url("postgres"), async (client) => {
    t.is((await client.query("select from public.notes where text = 'kept'")).rowCount, 1);
  });
});

test("a connection that is killed in a query fails that call as unavailable, and the next one has a new connection", async (t) => {
  const { pool, withPgClient, rows } = open(t);
  let killed = 0;
  const error = await t.throwsAsync(
    withPgClient(settings(), async (client) => {
      const pending = client.query({ text: "select pg_sleep(60)" });
      pending.catch(() => undefined);
      killed = pidOf(client);
      await kill([killed]);
      return pending;
    }),
  );
  t.is((error as { code?: string }).code, "57P01");
  const [next] = await rows(pid);
  t.not(next.pid, killed);
  t.is(pool.totalCount, 1);
});

test("a connection that is killed while it idles costs no call", async (t) => {
  const { pool, rows } = open(t);
  const [before] = await rows(pid);
  await kill([before.pid]);
  await until(() => pool.totalCount === 0);
  t.not((await rows(pid))[0].pid, before.pid);
});

test("a connection that is killed before the query of a call fails it, and the pool recovers", async (t) => {
  const { withPgClient, rows } = open(t);
  await t.throwsAsync(
    withPgClient(settings(), async (client) => {
      await kill([pidOf(client)]);
      return client.query({ text: "insert into public.notes values ('after the end')" });
    }),
  );
  t.deepEqual(await rows("select * from public.notes where text = 'after the end'"), []);
});

test("all connections killed at once under load: each call has its own answer or an error, and the pool recovers", async (t) => {
  const { pool, withPgClient } = open(t, 5);
  const calls = Array.from({ length: 200 }, (_, index) => {
    const call = withPgClient(settings(), (client) =>
      client.query<{ n: number }>({ text: "select $1::int as n, pg_sleep(0.005)", values: [index] }),
    );
    return Promise.resolve(call).then(
      ({ rows }) => rows[0]?.n === index,
      () => "failed",
    );
  });
  await withConnection(database.url("postgres"), (client) =>
    client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and query like '%pg_sleep(0.005)%' and pid <> pg_backend_pid()",
    ),
  );
  const answers = await Promise.all(calls);
  t.false(answers.includes(false), "no call has another's answer");
  const { rows } = await withPgClient(settings(), (client) => client.query<{ n: number }>({ text: "select 1 as n" }));
  t.is(rows[0]?.n, 1);
  t.true(pool.totalCount <= 5);
});

test("a connection on which the settings could not be prepared prepares them at its next call", async (t) => {
  const { pool, rows } = open(t);
  // A cancelled statement or a lack of memory does the same, once.
  await pool.query('prepare "keyrow settings" as select');
  const { rows: before } = await pool.query(pid);
  await t.throwsAsync(rows("select 1"), { code: "42P05" });
  await pool.query("deallocate all");
  t.deepEqual(await rows(pid), before);
});

test("a query on trial does all that it would do, and leaves nothing; one that fails says why", async (t) => {
  const { pool, withPgClient, rows } = open(t);
  const tried = (text: string) =>
    withPgClient(settings(), (client) => client.query<{ text: string }>({ text, onTrial: true } as TrialQuery));
  const insert = "insert into public.notes values ('on trial') returning text";
  t.deepEqual((await tried(insert)).rows as unknown, [{ text: "on trial" }]);
  t.deepEqual(await rows("select * from public.notes where text = 'on trial'"), []);
  await t.throwsAsync(tried("insert into public.notes values ((1 / 0)::text)"), {
    code: "22012",
  });
  await t.throwsAsync(tried("select * from public.notes_that_are_not_there"), { code: "42P01" });
  const [after] = await rows("select current_user as role, txid_current_if_assigned() as id");
  t.deepEqual(after, { role: "keyrow_user", id: null });
  t.is(pool.totalCount, 1);
});

test("a named statement is prepared on a hundred names of a connection, and still runs beyond them", async (t) => {
  const { pool, withPgClient } = open(t);
  for (let index = 0; index < 120; index++) {
    const { rows } = await withPgClient(settings(), (client) =>
      client.query<{ n: number }>({ text: `select ${index} as n`, name: `statement ${index}` }),
    );
    t.is(rows[0]?.n, index);
  }
  const { rows } = await pool.query(
    "select count(*)::int as n from pg_prepared_statements where name like 'statement %'",
  );
  t.true(rows[0].n <= 100);
});

test("requests that are cut off end at once, and those that wait for a connection are refused", async (t) => {
  const { pool, withPgClient } = open(t);
  let running = () => undefined as undefined;
  const started = new Promise<void>((resolve) => {
    running = () => void resolve() as undefined;
  });
  const stuck = withPgClient(settings(), (client) => {
    const query = client.query({ text: "select pg_sleep(60)" });
    running();
    return query;
  });
  const waiting = withPgClient(settings(), (client) => client.query({ text: "select 1" }));
  const outcomes = Promise.allSettled([stuck, waiting]);
  await started;
  cutOff(pool);
  const [first, second] = await outcomes;
  t.is(first.status, "rejected");
  t.is(second.status === "rejected" && second.reason.code, "UNAVAILABLE");
});

test("an answer that is far too large is cut off while it arrives, and the next call has a new connection", async (t) => {
  const { withPgClient, rows } = open(t);
  let bytes = () => 0;
  const error = await t.throwsAsync(
    withPgClient(settings(), (client) => {
      const { rawClient } = client as unknown as { rawClient: pg.PoolClient };
      const stream = rawClient.connection.stream as Socket;
      bytes = () => stream.bytesRead;
      return client.query({ text: "select repeat('x', 1000000) from generate_series(1, 1000)" });
    }),
  );
  t.is((error as { code?: string }).code, "LIMIT_EXCEEDED");
  t.true(bytes() < 4 * MAX_RESULT_CHARACTERS, `${bytes()}`);
  t.deepEqual(await rows("select 1 as n"), [{ n: 1 }]);
});

test("there is no transaction inside a call's transaction", async (t) => {
  const { withPgClient } = open(t);
  await t.throwsAsync(
    withPgClient(settings(), async (client) => client.withTransaction(async () => undefined)),
    { message: "a call is one query, in a transaction already" },
  );
});
