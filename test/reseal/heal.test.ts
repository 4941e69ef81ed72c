import { startHealing } from "../../src/reseal/heal.ts";
import { createRing } from "../../src/ring.ts";
import { openWorkerDatabase } from "../../src/worker-database.ts";
import { localKey } from "../cipher/contract.ts";
import { startPostgres } from "../faults/postgres.ts";
import { collectLog } from "../helpers/log.ts";
import { startOpenBao, openBaoTest as test } from "../helpers/openbao.ts";
import { until } from "../helpers/until.ts";

test("a database that goes and comes back is told of once each, however often healing tries meanwhile", async (t) => {
  const postgres = await startPostgres(t);
  const bao = await startOpenBao(t);
  const { log, lines } = collectLog();
  const ring = createRing({
    localKeys: [localKey("local:20260101-00000001")],
    openBao: { access: bao.access, place: bao.transitKey },
    fallback: "local",
    log,
  });
  t.teardown(() => ring.close());
  await ring.check();
  const database = await openWorkerDatabase(postgres.url("keyrow_worker"));
  t.teardown(() => database.pool.end());
  let asked = 0;
  const pool = {
    query(...args: Parameters<typeof database.pool.query>) {
      asked += 1;
      return database.pool.query(...args);
    },
  } as typeof database.pool;
  const healing = startHealing({ ...database, pool, ring, log });
  t.teardown(() => healing.stop());
  const said = () => lines().flatMap(({ level, msg }) => (level === "debug" || level === "trace" ? [] : [String(msg)]));
  const more = async (times: number) => {
    const before = asked;
    await until(() => asked >= before + times);
  };
  for (let time = 1; time <= 2; time++) {
    await more(1);
    await postgres.kill();
    await more(3);
    await postgres.start();
    await until(() => said().length === 2 * time);
  }
  const both = ["healing fails, and is tried again until it goes on", "healing goes on"];
  t.deepEqual(said(), [...both, ...both]);
});
