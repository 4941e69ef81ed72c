import { setTimeout as delay } from "node:timers/promises";
import test from "ava";
import { withConnection } from "../../src/setup.ts";
import { isBack, isBackFor, onlyUnavailable, startLoad } from "./load.ts";
import { startPostgres } from "./postgres.ts";
import { createNetwork } from "./proxy.ts";
import { serve } from "./serving.ts";

test("connections ended by PostgreSQL, again and again under load, cost the requests on them alone", async (t) => {
  const postgres = await startPostgres(t);
  const served = await serve(t, postgres.url("keyrow_authenticator"));
  const load = await startLoad(t, postgres, served);
  let ended = 0;
  await withConnection(postgres.url("postgres"), async (client) => {
    for (let time = 0; time < 20; time++) {
      await load.more(10);
      const { rowCount } = await client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'keyrow_authenticator'",
      );
      ended += rowCount ?? 0;
      await isBack(t, load);
    }
  });
  await load.more(20);
  await load.settle();
  t.true(ended >= 20);
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});

test("connections reset by the network under load cost the requests on them alone", async (t) => {
  const postgres = await startPostgres(t);
  const network = await createNetwork(t, postgres.socketFile);
  const served = await serve(t, network.through(postgres.url("keyrow_authenticator")));
  const load = await startLoad(t, postgres, served);
  let reset = 0;
  for (let time = 0; time < 20; time++) {
    await load.more(10);
    reset += network.reset();
    await isBack(t, load);
  }
  await load.more(20);
  await load.settle();
  t.true(reset >= 20);
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});

test("connections that fall silent are given up, and new ones take their place", async (t) => {
  const postgres = await startPostgres(t);
  const network = await createNetwork(t, postgres.socketFile);
  const served = await serve(t, network.through(postgres.url("keyrow_authenticator")));
  const load = await startLoad(t, postgres, served);
  await load.more(60);
  t.true(network.silence() >= 2);
  network.restore();
  await isBackFor(t, postgres, served);
  await load.more(20);
  await load.settle();
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});

test("a server whose connections have fallen silent ends all the same", async (t) => {
  const postgres = await startPostgres(t);
  const network = await createNetwork(t, postgres.socketFile);
  const served = await serve(t, network.through(postgres.url("keyrow_authenticator")));
  const load = await startLoad(t, postgres, served);
  await load.more(60);
  network.silence();
  await load.refused(1);
  const given = await Promise.race([served.end(), delay(10_000, "it still runs", { ref: false })]);
  t.is(given, 0);
});
