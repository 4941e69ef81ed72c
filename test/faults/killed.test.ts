import test from "ava";
import { isBack, onlyUnavailable, startLoad } from "./load.ts";
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
    await postgres.start();
    await isBack(t, load);
  }
  await load.more(20);
  await load.settle();
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});
