import test, { type ExecutionContext } from "ava";
import type pg from "pg";
import { createPool } from "../src/database.ts";
import { createLog } from "../src/log.ts";
import { withConnection } from "../src/setup.ts";
import { createToucher } from "../src/touch.ts";
import { asAdmin, makeUser, startTestServer, type TestServer } from "./helpers/server.ts";
import { until } from "./helpers/until.ts";
import { forge, type Made, makeCredentials, revealOne } from "./reveal/credentials.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

interface Stage {
  readonly ana: string;
  readonly made: readonly Made[];
  readonly pool: pg.Pool;
  /** What was sent through the pool. */
  readonly sent: unknown[][];
}

async function stage(t: ExecutionContext, count = 1): Promise<Stage> {
  const ana = await makeUser(server.database);
  const made = await makeCredentials(server, ana, count);
  const pool = createPool(server.database.url("keyrow_authenticator"), { max: 1 });
  t.teardown(() => (pool.ended ? undefined : pool.end()));
  const sent: unknown[][] = [];
  const query = pool.query.bind(pool) as (...args: unknown[]) => unknown;
  Object.assign(pool, {
    query: (...args: unknown[]) => {
      sent.push(args);
      return query(...args);
    },
  });
  return { ana, made, pool, sent };
}

const silent = createLog("silent");

async function lastUsed(
  id: string | undefined,
): Promise<{ at: Date | null; whole: boolean; recent: boolean; updated: boolean }> {
  const { rows } = await asAdmin(
    server.database,
    `select last_used_at as at, last_used_at = date_trunc('minute', last_used_at) as whole,
       last_used_at >= date_trunc('minute', now()) - interval '1 minute' as recent, updated_at > created_at as updated
     from public.user_credentials where id = $1`,
    [id],
  );
  return rows[0];
}

test("a reveal sets last_used_at to the minute, some time later, and moves nothing else", async (t) => {
  const { ana, made } = await stage(t, 2);
  const [used, unused] = made;
  await server.query(ana, revealOne, { id: used?.id });
  await until(async () => (await lastUsed(used?.id)).at !== null);
  const { whole, recent, updated } = await lastUsed(used?.id);
  t.deepEqual([whole, recent, updated], [true, true, false]);
  t.is((await lastUsed(unused?.id)).at, null);
});

test("a reveal does not wait for the row that somebody else holds", async (t) => {
  const { ana, made } = await stage(t);
  await withConnection(server.database.url("postgres"), async (client) => {
    await client.query("begin");
    await client.query("select from public.user_credentials where id = $1 for update", [made[0]?.id]);
    const { data } = await server.query(ana, revealOne, { id: made[0]?.id });
    t.is(data.userCredential.value, made[0]?.value);
  });
});

test("a minute that was noted while somebody held the row is skipped, without waiting", async (t) => {
  const { made, pool } = await stage(t, 2);
  const [held, free] = made;
  const toucher = createToucher(pool, silent);
  await withConnection(server.database.url("postgres"), async (client) => {
    await client.query("begin");
    await client.query("select from public.user_credentials where id = $1 for update", [held?.id]);
    toucher.touch([held?.id ?? "", free?.id ?? ""]);
    await toucher.stop();
    t.is((await lastUsed(held?.id)).at, null);
    t.true((await lastUsed(free?.id)).recent);
  });
});

test("a credential in use costs one write a minute, however often it is revealed", async (t) => {
  const { made, pool, sent } = await stage(t);
  const id = made[0]?.id ?? "";
  const toucher = createToucher(pool, silent);
  const minute = () => Math.floor(Date.now() / 60_000);
  const before = minute();
  for (let i = 0; i < 1000; i++) toucher.touch([id, id]);
  t.deepEqual(sent, [], "nothing is written on the path of the request");
  await toucher.stop();
  if (minute() === before) t.deepEqual(sent, [["select keyrow.touch($1)", [[id]]]]);
  t.true((await lastUsed(id)).recent);
});

test("what is noted at the stop is written, in batches", async (t) => {
  const { made, pool, sent } = await stage(t);
  const toucher = createToucher(pool, silent);
  const others = Array.from({ length: 2500 }, (_, i) => `00000000-0000-4000-8000-${String(i).padStart(12, "0")}`);
  toucher.touch([...others, made[0]?.id ?? ""]);
  await toucher.stop();
  t.deepEqual(
    sent.map(([, values]) => (values as string[][])[0]?.length),
    [1000, 1000, 501],
  );
  t.true((await lastUsed(made[0]?.id)).recent);
});

test("a use of long ago is moved forward, and one of this minute or later stays", async (t) => {
  const { made, pool } = await stage(t, 2);
  const [old, later] = made;
  await forge(
    server.database,
    "update public.user_credentials set last_used_at = now() - interval '1 year' where id = $1",
    [old?.id],
  );
  await forge(
    server.database,
    "update public.user_credentials set last_used_at = now() + interval '1 hour' where id = $1",
    [later?.id],
  );
  const { at } = await lastUsed(later?.id);
  const toucher = createToucher(pool, silent);
  toucher.touch(made.map(({ id }) => id));
  await toucher.stop();
  t.true((await lastUsed(old?.id)).recent);
  t.deepEqual((await lastUsed(later?.id)).at, at);
});

test("a database that is away costs the minute and a line of the log, and nothing else", async (t) => {
  const { made, pool } = await stage(t);
  await pool.end();
  const lines: string[] = [];
  const toucher = createToucher(pool, createLog("warn", { write: (line) => void lines.push(line) }));
  toucher.touch(made.map(({ id }) => id));
  await t.notThrowsAsync(toucher.stop());
  t.is(lines.length, 1);
  t.regex(lines[0] ?? "", /last_used_at could not be written/);
});

test("what could not be opened was not used", async (t) => {
  const { ana, made } = await stage(t, 2);
  const [damaged, good] = made;
  await forge(server.database, "update public.user_credentials set key_id = 'local:20200101-00000000' where id = $1", [
    damaged?.id,
  ]);
  await server.query(ana, "{ userCredentials { nodes { value } } }");
  await until(async () => (await lastUsed(good?.id)).at !== null);
  t.is((await lastUsed(damaged?.id)).at, null);
});
