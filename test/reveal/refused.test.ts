import { setTimeout as delay } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import type pg from "pg";
import { withConnection } from "../../src/setup.ts";
import type { TestDatabase } from "../helpers/database.ts";
import { waiters } from "../helpers/locks.ts";
import { asAdmin, makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";
import { asRecorded, type Made, makeCredentials, recordedReveals, replaceReveal, revealOne } from "./credentials.ts";

interface Stage {
  readonly server: TestServer;
  readonly ana: string;
  readonly made: Made;
  /** Runs statements as the superuser. */
  run(text: string): Promise<pg.QueryResult>;
}

/** A server of the test's own, with one credential that was revealed before: whatever is cached, is. */
async function stage(t: ExecutionContext): Promise<Stage> {
  const server = await startTestServer();
  t.teardown(() => server.stop());
  const ana = await makeUser(server.database);
  const [made] = (await makeCredentials(server, ana, 1)) as [Made];
  const { data } = await server.query(ana, revealOne, { id: made.id });
  t.is(data.userCredential.value, made.value);
  const run = (text: string) => withConnection(server.database.url("postgres"), (client) => client.query(text));
  return { server, ana, made, run };
}

/** Asserts that an attempt gave no value, left no record and called no cipher, and that the server goes on. */
async function isRefused(
  t: ExecutionContext,
  { server, ana, made }: Stage,
  code: string,
  attempt: () => ReturnType<TestServer["query"]>,
): Promise<void> {
  const opened = server.cipherCalls.open.length;
  const { text, codes, data, headers } = await attempt();
  t.false(text.includes(made.value));
  t.deepEqual(codes, [code]);
  t.deepEqual(data, { userCredential: { name: made.name, value: null } });
  t.is(server.cipherCalls.open.length, opened, "nothing is opened");
  t.deepEqual(await recordedReveals(server.database, headers.get("x-request-id")), []);
  const list = await server.query(ana, "{ userCredentials { nodes { name } } }");
  t.deepEqual([list.codes, list.data.userCredentials.nodes], [[], [{ name: made.name }]], "the server goes on");
}

async function revealsAgain(t: ExecutionContext, { server, ana, made }: Stage): Promise<void> {
  const { data, codes } = await server.query(ana, revealOne, { id: made.id });
  t.deepEqual([codes, data?.userCredential.value], [[], made.value], "and reveals again once it can be recorded");
}

const failing = (deferred: boolean, body: string) => `
  create function public.sabotage() returns trigger language plpgsql as $$ begin ${body}; return new; end $$;
  create ${deferred ? "constraint " : ""}trigger sabotage after insert on public.activity_logs
  ${deferred ? "deferrable initially deferred" : ""} for each row execute function public.sabotage()`;
const failingUndone = "drop trigger sabotage on public.activity_logs; drop function public.sabotage()";

const sabotages: Array<[title: string, doIt: string, undoIt: string, code: string]> = [
  [
    "the right to insert into the log is revoked",
    "revoke insert on public.activity_logs from keyrow_reveal",
    `grant insert (user_id, workspace_id, action, entity_type, entity_id, details) on public.activity_logs to keyrow_reveal`,
    "INTERNAL",
  ],
  [
    "the log's policy does not let it in",
    `alter policy activity_logs_insert_reveal on public.activity_logs with check (false)`,
    `alter policy activity_logs_insert_reveal on public.activity_logs
     with check (user_id is not distinct from (select public.current_user_id()))`,
    "INTERNAL",
  ],
  [
    "the log has no partition for today",
    `do $$ declare part regclass; begin
       for part in select inhrelid::regclass from pg_inherits where inhparent = 'public.activity_logs'::regclass loop
         execute format('alter table public.activity_logs detach partition %s', part);
       end loop; end $$`,
    "alter table public.activity_logs attach partition public.activity_logs_default default",
    "INTERNAL",
  ],
  [
    "a constraint of the log fails",
    "alter table public.activity_logs add constraint sabotage check (entity_id is null) not valid",
    "alter table public.activity_logs drop constraint sabotage",
    "INTERNAL",
  ],
  [
    "a trigger of the log swallows the entry without an error",
    `create function public.sabotage() returns trigger language plpgsql as $$ begin return null; end $$;
     create trigger sabotage before insert on public.activity_logs for each row execute function public.sabotage()`,
    failingUndone,
    "INTERNAL",
  ],
  ["a trigger of the log fails", failing(false, "raise exception 'no'"), failingUndone, "INTERNAL"],
  [
    "the disk of the log is full",
    failing(false, "raise exception 'no space left' using errcode = 'disk_full'"),
    failingUndone,
    "UNAVAILABLE",
  ],
  [
    "the log's table is gone",
    "alter table public.activity_logs rename to gone",
    "alter table public.gone rename to activity_logs",
    "INTERNAL",
  ],
  [
    "the log can't be written in time",
    failing(false, "perform set_config('statement_timeout', '1ms', true), pg_sleep(0.01); raise query_canceled"),
    failingUndone,
    "LIMIT_EXCEEDED",
  ],
  ["a deferred trigger fails at commit", failing(true, "raise exception 'no'"), failingUndone, "INTERNAL"],
  [
    "a deferred constraint fails at commit",
    failing(true, "raise exception 'no' using errcode = 'unique_violation'"),
    failingUndone,
    "CONFLICT",
  ],
];
for (const [title, doIt, undoIt, code] of sabotages) {
  test(`nothing is revealed when ${title}`, async (t) => {
    const it = await stage(t);
    await it.run(doIt);
    // The log itself is read again once it is whole.
    const opened = it.server.cipherCalls.open.length;
    const attempt = await it.server.query(it.ana, revealOne, { id: it.made.id });
    t.is(it.server.cipherCalls.open.length, opened, "nothing is opened");
    await it.run(undoIt);
    await isRefused(t, it, code, async () => attempt);
    await revealsAgain(t, it);
  });
}

/** Waits until a server process of the database waits for the lock that the test holds; gives its pid. */
function waiting(client: pg.Client): Promise<number> {
  return until(async () => (await waiters(client, "advisory"))[0]);
}

const ends: Array<[title: string, deferred: boolean, end: string, code: string]> = [
  ["its connection is killed in the reveal function", false, "pg_terminate_backend", "UNAVAILABLE"],
  ["its connection is killed in the commit", true, "pg_terminate_backend", "UNAVAILABLE"],
  ["it is cancelled in the reveal function", false, "pg_cancel_backend", "LIMIT_EXCEEDED"],
  ["it is cancelled in the commit", true, "pg_cancel_backend", "LIMIT_EXCEEDED"],
];
for (const [title, deferred, end, code] of ends) {
  test(`nothing is revealed when ${title}`, async (t) => {
    const it = await stage(t);
    await it.run(failing(deferred, "perform pg_advisory_xact_lock(7)"));
    await withConnection(it.server.database.url("postgres"), async (client) => {
      await client.query("select pg_advisory_lock(7)");
      await isRefused(t, it, code, async () => {
        const attempt = it.server.query(it.ana, revealOne, { id: it.made.id });
        await client.query(`select ${end}($1)`, [await waiting(client)]);
        return attempt;
      });
    });
    await it.run(failingUndone);
    await revealsAgain(t, it);
  });
}

test("all connections killed at once cost the requests on them alone", async (t) => {
  const it = await stage(t);
  await it.run(failing(true, "perform pg_advisory_xact_lock_shared(7)"));
  await withConnection(it.server.database.url("postgres"), async (client) => {
    await client.query("select pg_advisory_lock(7)");
    // A user's share of the connections.
    const attempts = Array.from({ length: 5 }, () => it.server.query(it.ana, revealOne, { id: it.made.id }));
    let answered = false;
    for (const attempt of attempts) attempt.then(() => (answered = true));
    // On a busy machine the lock's own time may be up first.
    for (let pids = 0; pids < 5 && !answered; await delay(10)) {
      const { rows } = await client.query(
        "select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted",
      );
      pids = rows[0].n;
    }
    await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = 'keyrow_authenticator'",
    );
    for (const { text, codes } of await Promise.all(attempts)) {
      t.false(text.includes(it.made.value));
      t.true(["UNAVAILABLE", "CONFLICT"].includes(codes.join()));
    }
  });
  await it.run(failingUndone);
  t.is((await recordedReveals(it.server.database)).length, 1, "the one of the beginning");
  await revealsAgain(t, it);
});

test("values of a list that was refused by the log are all missing, and the list is there", async (t) => {
  const it = await stage(t);
  await it.run("revoke insert on public.activity_logs from keyrow_reveal");
  const { data, codes, text } = await it.server.query(it.ana, "{ userCredentials { nodes { name value } } }");
  t.deepEqual(data.userCredentials.nodes, [{ name: "n0", value: null }]);
  t.deepEqual(codes, ["INTERNAL"]);
  t.false(text.includes(it.made.value));
});

test("a change whose record can't be written is not made", async (t) => {
  const it = await stage(t);
  await it.run("revoke insert on public.activity_logs from keyrow_reveal");
  const changes = [
    `rotateUserCredential(input: { id: "${it.made.id}", value: "another" })`,
    `revokeUserCredential(input: { id: "${it.made.id}" })`,
    `deleteUserCredential(input: { id: "${it.made.id}" })`,
    `setUserCredential(input: { provider: "test", name: "n0", value: "another" })`,
  ];
  for (const change of changes) {
    const { codes } = await it.server.query(it.ana, `mutation { ${change} { userCredential { id } } }`);
    t.deepEqual(codes, ["FORBIDDEN"], change);
  }
  await it.run(
    "grant insert (user_id, workspace_id, action, entity_type, entity_id, details) on public.activity_logs to keyrow_reveal",
  );
  await revealsAgain(t, it);
});

test("PostgreSQL answers `commit` after an error with the tag ROLLBACK and no error", async (t) => {
  const it = await stage(t);
  await withConnection(it.server.database.url("keyrow_authenticator"), async (client) => {
    await client.query("begin");
    await t.throwsAsync(client.query("select 1 / 0"), { code: "22012" });
    t.is((await client.query("commit")).command, "ROLLBACK");
  });
});

/** A reveal function that tells what it ran with. */
async function watchSettings(database: TestDatabase): Promise<void> {
  await withConnection(database.url("postgres"), (client) =>
    client.query("create table public.seen (synchronous_commit text, role text, login text, isolation text)"),
  );
  await replaceReveal(
    database,
    `insert into public.seen select s.setting, current_setting('role'), session_user, current_setting('transaction_isolation')
       from pg_settings s where s.name = 'synchronous_commit';
     return query select ${asRecorded} where c.id = any (ids)`,
  );
}

test("a reveal waits for the disk, even where the database's default is not to", async (t) => {
  const server = await startTestServer();
  t.teardown(() => server.stop());
  const ana = await makeUser(server.database);
  const [made] = await makeCredentials(server, ana, 1);
  const { name } = server.database;
  await asSuperuser(server.database, `alter database ${name} set synchronous_commit = off`);
  await asSuperuser(
    server.database,
    `alter role keyrow_authenticator in database ${name} set synchronous_commit = off`,
  );
  // Defaults are for new connections.
  await asSuperuser(
    server.database,
    "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and usename = 'keyrow_authenticator'",
  );
  await withConnection(server.database.url("keyrow_authenticator"), async (client) => {
    t.deepEqual((await client.query("show synchronous_commit")).rows, [{ synchronous_commit: "off" }]);
  });
  await watchSettings(server.database);
  // The pool finds out about each of its killed connections by itself.
  await recovered(server, ana);
  const { data } = await server.query(ana, revealOne, { id: made?.id });
  t.is(data.userCredential.value, made?.value);
  const { rows } = await asSuperuser(server.database, "select distinct * from public.seen");
  t.deepEqual(rows, [
    { synchronous_commit: "on", role: "keyrow_user", login: "keyrow_authenticator", isolation: "read committed" },
  ]);
});

async function asSuperuser(database: TestDatabase, text: string): Promise<pg.QueryResult> {
  return withConnection(database.url("postgres"), (client) => client.query(text));
}

async function recovered(server: TestServer, userId: string): Promise<void> {
  await until(async () => (await server.query(userId, "{ userCredentials { nodes { name } } }")).codes.length === 0);
}

test("a value whose record is lost at commit leaves the last use as it was", async (t) => {
  const it = await stage(t);
  await it.run(failing(true, "raise exception 'no'"));
  const [made] = await makeOnceRecorded(it);
  await it.server.query(it.ana, revealOne, { id: made });
  await it.run(failingUndone);
  const { rows } = await asAdmin(it.server.database, "select last_used_at from public.user_credentials where id = $1", [
    made,
  ]);
  t.deepEqual(rows, [{ last_used_at: null }]);
});

/** A copy of the credential's row, made past the triggers, so that nothing was ever recorded of it. */
async function makeOnceRecorded({ server, made }: Stage): Promise<[id: string]> {
  const { rows } = await withConnection(server.database.url("postgres"), async (client) => {
    await client.query("set session_replication_role = replica");
    return client.query(
      `insert into public.user_credentials (user_id, name, provider, type, encrypted_value, key_id)
       select user_id, 'copy', provider, type, encrypted_value, key_id from public.user_credentials where id = $1 returning id`,
      [made.id],
    );
  });
  return [rows[0].id];
}
