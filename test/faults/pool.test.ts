import { setTimeout as delay } from "node:timers/promises";
import test from "ava";
import pg from "pg";
import { withConnection } from "../../src/setup.ts";
import { post } from "../helpers/server.ts";
import { isBack, isBackFor, makeUsers, onlyUnavailable, startLoad } from "./load.ts";
import { type Postgres, startPostgres } from "./postgres.ts";
import { serve } from "./serving.ts";

const list = "{ userCredentials { nodes { name } } }";

/** Takes every connection that PostgreSQL still gives, until it gives none. */
async function takeAll(postgres: Postgres): Promise<pg.Client[]> {
  const taken: pg.Client[] = [];
  for (;;) {
    const client = new pg.Client(postgres.url("keyrow_worker"));
    client.on("error", () => undefined);
    try {
      await client.connect();
      taken.push(client);
    } catch (error) {
      if ((error as pg.DatabaseError).code === "53300") return taken;
      throw error;
    }
  }
}

test("connections that others have taken are missed at once, and used once they are there again", async (t) => {
  const postgres = await startPostgres(t, { settings: { max_connections: "20" } });
  const served = await serve(t, postgres.url("keyrow_authenticator"));
  const load = await startLoad(t, postgres, served);
  await load.more(40);
  const taken = await takeAll(postgres);
  await withConnection(postgres.url("postgres"), async (client) => {
    // What the server still has is ended and taken, too, before it may connect again.
    const enough = load.refusals.length + 40;
    for (const deadline = Date.now() + 30_000; load.refusals.length < enough; await delay(20)) {
      if (Date.now() > deadline) throw new Error("the server still has connections");
      await client.query("alter role keyrow_authenticator connection limit 0");
      await client.query(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'keyrow_authenticator'",
      );
      taken.push(...(await takeAll(postgres)));
      await client.query("alter role keyrow_authenticator connection limit -1");
    }
  });
  await Promise.all(taken.map((client) => client.end()));
  await isBack(t, load);
  await load.more(20);
  await load.settle();
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});

test("a pool whose connections all wait for a lock answers everybody, and serves others meanwhile", async (t) => {
  const postgres = await startPostgres(t);
  const served = await serve(t, postgres.url("keyrow_authenticator"));
  const users = await makeUsers(postgres, 5);
  const [bystander = "", ...callers] = users;
  const ask = async (user: string, query: string) => (await post(served.url, served.token(user), { query })).codes;
  for (const user of users) t.deepEqual(await ask(user, list), []);
  await withConnection(postgres.url("postgres"), async (client) => {
    await client.query("begin; lock table public.user_credentials in access exclusive mode");
    // Eight of a user's run at once: more than the pool has.
    const asked = callers.flatMap((user) => Array.from({ length: 10 }, () => ask(user, list)));
    for (let waiting = 0; waiting < 20; ) {
      const { rows } = await client.query("select count(*)::int as n from pg_locks where not granted");
      waiting = rows[0].n;
    }
    t.deepEqual(await ask(bystander, "{ users { nodes { name } } }"), [], "who needs no lock is served");
    const codes = new Set((await Promise.all(asked)).flat());
    t.deepEqual(
      [...codes].filter((code) => code !== "CONFLICT" && code !== "UNAVAILABLE"),
      [],
    );
    t.true(codes.size > 0, "they were refused");
    await client.query("commit");
  });
  await isBackFor(t, postgres, served);
  for (const user of users) t.deepEqual(await ask(user, list), []);
  t.is(await served.end(), 0);
});
