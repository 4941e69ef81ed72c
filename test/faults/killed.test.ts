import test from "ava";
import { isBack, isBackFor, onlyUnavailable, type Refusal, startLoad } from "./load.ts";
import { startPostgres } from "./postgres.ts";
import { serve } from "./serving.ts";

test("PostgreSQL killed under load and started again loses nothing that was answered", async (t) => {
  const postgres = await startPostgres(t);
  const served = await serve(t, postgres.url("keyrow_authenticator"));
  const load = await startLoad(t, postgres, served);
  for (let time = 0; time < 3; time++) {
    await load.more(60);
    await postgres.kill();
    await load.refused(4);
    t.is((await fetch(`${served.url}/readyz`)).status, 503);
    await postgres.start();
    await isBack(t, load);
    t.is((await fetch(`${served.url}/readyz`)).status, 200);
  }
  await load.more(20);
  await load.settle();
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});

test("a process of PostgreSQL killed under load takes all others with it, and nothing that was answered", async (t) => {
  const postgres = await startPostgres(t);
  const served = await serve(t, postgres.url("keyrow_authenticator"));
  const load = await startLoad(t, postgres, served);
  for (let time = 0; time < 3; time++) {
    await load.more(60);
    await postgres.killOne("keyrow_authenticator");
    await isBack(t, load);
  }
  await load.more(20);
  await load.settle();
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});

// KEYROW_STATEMENT_TIMEOUT, where nobody sets it.
const STATEMENT_MS = 10_000;

test("a PostgreSQL that stands still for a while is given up for as long, and loses nothing that was answered", async (t) => {
  const postgres = await startPostgres(t);
  const served = await serve(t, postgres.url("keyrow_authenticator"));
  const load = await startLoad(t, postgres, served);
  await load.more(60);
  const goOn = await postgres.halt();
  // A process that stands still can't be ended.
  t.teardown(goOn);
  await load.refused(4);
  goOn();
  await isBackFor(t, postgres, served);
  await load.more(20);
  await load.settle();
  // A statement that stood still for all of its own time is cancelled as soon as it goes on.
  const isOver = ({ codes, ms }: Refusal) => ms >= STATEMENT_MS && codes.every((code) => code === "LIMIT_EXCEEDED");
  onlyUnavailable(
    t,
    load.refusals.filter((one) => !isOver(one)),
  );
  t.is(await served.end(), 0);
});
