import { rmSync } from "node:fs";
import test from "ava";
import { compareServers, countEntries } from "../bench/compare.ts";
import { type Contender, startFloor, startKeyrow, startPeer } from "../bench/contenders.ts";
import { CLIENTS } from "../bench/load.ts";
import { audited } from "../bench/openbao.ts";
import { operationNames, operations } from "../bench/operations.ts";
import { readOptions } from "../bench/options.ts";
import { makePeople, makeSecrets } from "../bench/people.ts";
import { formatReport, makeReport } from "../bench/report.ts";
import { measureRewrap } from "../bench/rewrap.ts";
import { type Entrant, sideBySide } from "../bench/rounds.ts";
import { loadTeams, measuredAdmins } from "../bench/teams.ts";
import { compareValues, openTransitSite, valueOperations } from "../bench/transit.ts";
import { makeTemporaryDirectory } from "./helpers/cluster.ts";
import { createTestDatabase } from "./helpers/database.ts";
import { openBaoTest, startOpenBao } from "./helpers/openbao.ts";

const directory = makeTemporaryDirectory();
const secrets = await makeSecrets(directory);
test.after.always(() => rmSync(directory, { recursive: true }));

test("the hand-written server answers as Keyrow does, and leaves the same on the record", async (t) => {
  const database = await createTestDatabase();
  const contenders: Contender[] = [];
  t.teardown(async () => {
    await Promise.all(contenders.map((contender) => contender.stop()));
    await database.drop();
  });
  const people = await makePeople(database, secrets);
  const surroundings = { database, jwtSecret: secrets.jwtSecret, keyFile: secrets.keyFile };
  const keyrow = await startKeyrow(surroundings);
  contenders.push(keyrow);
  const peer = await startPeer(surroundings);
  contenders.push(peer);
  contenders.push(await startFloor(surroundings));

  const few = { ...people, readers: people.readers.slice(0, 2), writers: people.writers.slice(0, 2) };
  const compared = await compareServers(keyrow, peer, few, database);
  t.deepEqual(compared, { answers: 8, entries: 2 * (1 + 50 + 0 + 1) });

  for (const contender of contenders) {
    for (const operation of operationNames) {
      const doers = operation === "create" ? people.writers : people.readers;
      // No time at all: one turn each.
      const counted = await countEntries(database, () => contender.round(operation, doers, 0));
      const { requests } = counted.result;
      t.is(requests, CLIENTS);
      t.is(counted.entries, requests * operations[operation].entries, `${contender.name}, ${operation}`);
    }
    t.true(contender.memory() > 10, contender.name);
  }
});

openBaoTest("Keyrow on OpenBao, Transit alone and a KV give the same values, all of them on the record", async (t) => {
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  const openBao = await startOpenBao(t);
  const site = await openTransitSite(database, secrets, openBao);
  t.teardown(() => site.stop());
  t.deepEqual(await compareValues(site, 2), { answers: 6, entries: 2 * (1 + 50 + 1) });

  for (const contender of [site.keyrow, site.limit, site.kv]) {
    for (const operation of valueOperations) {
      const doers = operation === "create" ? site.people.writers : site.people.readers;
      const { result, entries } = await countEntries(database, () =>
        audited(openBao, contender === site.kv ? 1 : site.limit.values(operation), () =>
          contender.round(operation, doers, 0),
        ),
      );
      t.is(result.requests, CLIENTS);
      const each = contender === site.keyrow ? operations[operation].entries : 0;
      t.is(entries, CLIENTS * each, `${contender.name}, ${operation}`);
    }
    t.true(contender.memory() > 10, contender.name);
  }
  await t.throwsAsync(
    audited(openBao, 1, () =>
      site.keyrow.round("reveal-one", site.people.readers, 0).then(({ requests }) => ({ requests: requests + 1 })),
    ),
    { message: /21 requests left 20 values in the audit file/ },
  );
});

openBaoTest("all rows move from key to key, and open, beside the cipher alone", async (t) => {
  const database = await createTestDatabase();
  const own = makeTemporaryDirectory();
  t.teardown(async () => {
    await database.drop();
    rmSync(own, { recursive: true });
  });
  const site = { database, secrets: await makeSecrets(own), openBao: await startOpenBao(t) };
  // Two batches, of which one is not full.
  const measured = await measureRewrap(site, { rows: 250, progress: () => undefined });
  t.deepEqual(
    measured.map(({ title }) => title),
    [
      "rewrap: a local key to the next one",
      "rewrap: a local key to Transit",
      "rewrap: Transit to its key's next version",
    ],
  );
  for (const { figures } of measured) {
    t.deepEqual(Object.keys(figures), ["keyrow", "limit"]);
    t.true(Object.values(figures).every(({ rowsPerSecond = 0 }) => rowsPerSecond > 0));
  }
  t.regex(formatReport(makeReport(measured)), /rows\/s\n +keyrow +\d+\n +limit +\d+\n +keyrow \/ limit/);
});

test("a person has as many credentials in a database of any size, and so has a workspace", async (t) => {
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  await loadTeams(database, 10_000, "local:20260101-0000000a");
  const admins = await measuredAdmins(database, secrets);
  t.is(admins.length, 120);
  t.true(admins.every(({ credentials }) => credentials.length === 20));
  const { rows } = await database.pool("postgres").query(
    `select scope::text, count(*)::int, count(distinct user_id)::int as users,
       count(distinct workspace_id)::int as workspaces
     from public.user_credentials group by scope order by scope`,
  );
  t.deepEqual(rows, [
    { scope: "USER", count: 8_000, users: 400, workspaces: 0 },
    { scope: "WORKSPACE", count: 2_000, users: 40, workspaces: 40 },
  ]);
});

/** An entrant with these requests per second, round by round. */
function entrant(name: string, speeds: readonly number[], order: string[] = []): Entrant {
  const left = [0, ...speeds];
  return {
    name,
    round: async () => {
      order.push(name);
      return { requests: 1, requestsPerSecond: left.shift() ?? 0, p50: 1, p99: 2 };
    },
  };
}

test("ratios are of rounds side by side, and the median of them counts", async (t) => {
  const order: string[] = [];
  const entrants = [entrant("a", [60, 10, 80], order), entrant("b", [100, 100, 100], order)];
  const { figures, ratio } = await sideBySide(entrants, { rounds: 3, ms: 1, warmUpMs: 1 });
  t.is(order.join(""), "abab" + "baab");
  t.deepEqual(ratio("a", "b"), { median: 0.6, min: 0.1, max: 0.8 });
  t.deepEqual(figures.a, { requestsPerSecond: 60, p50: 1, p99: 2 });
  const many = [
    { ...entrant("a", [60, 10, 80]), values: 50 },
    { ...entrant("b", [100, 100, 100]), values: 1 },
  ] as const;
  const values = await sideBySide(many, { rounds: 3, ms: 1, warmUpMs: 1 });
  t.is(values.figures.a?.valuesPerSecond, 3_000);
  t.deepEqual(values.ratio("a", "b"), { median: 30, min: 5, max: 40 });

  const ratios = [
    { name: "a / b", ...ratio("a", "b"), goal: { least: 0.6 } },
    { name: "b / a", ...ratio("b", "a"), goal: { most: 1.3 } },
  ];
  const text = formatReport(makeReport([{ title: "something", figures, ratios }]));
  t.regex(text, /a \/ b +0\.60 \(0\.10 to 0\.80\), at least 0\.6: reached/);
  t.regex(text, /b \/ a +1\.67 \(1\.25 to 10\.00\), at most 1\.3: NOT reached/);
});

test("options that can't be read are refused", (t) => {
  t.deepEqual(readOptions(["--only", "create,reveal-one"]).only, ["reveal-one", "create"]);
  t.throws(() => readOptions(["--only", "revael-one"]), { message: /reveal-one, reveal-50, list-50, create/ });
  t.is(readOptions(["--rewrap", "--rows", "250"]).rows, 250);
  t.throws(() => readOptions(["--rewrap", "--rows", "many"]), { message: /--rows/ });
  t.throws(() => readOptions(["--scale", "--openbao"]), { message: /give one/ });
  t.throws(() => readOptions(["--fast"]), { message: /--fast/ });
});
