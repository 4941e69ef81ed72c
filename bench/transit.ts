import { isDeepStrictEqual } from "node:util";
import { createLog } from "../src/log.ts";
import { createRing } from "../src/ring.ts";
import { withConnection } from "../src/setup.ts";
import { type Compared, countEntries } from "./compare.ts";
import { type Contender, type ServerContender, startKeyrow } from "./contenders.ts";
import type { BenchDatabase } from "./database.ts";
import { audited, type BenchOpenBao, openBaoSettings } from "./openbao.ts";
import { type OperationName, operations, type Person, type Task } from "./operations.ts";
import { makePeople, type People, type Secrets } from "./people.ts";
import { sideBySide } from "./rounds.ts";
import { type Measured, recorded, type SpeedOptions } from "./speed.ts";
import { startKv, startLimit, type Vault } from "./vaults.ts";

/** The operations that have to do with values. */
export const valueOperations = ["reveal-one", "reveal-50", "create"] as const satisfies OperationName[];

/** Keyrow on OpenBao, and those beside it. */
export interface TransitSite {
  readonly keyrow: ServerContender;
  readonly limit: Vault;
  readonly kv: Vault;
  readonly people: People;
  readonly database: BenchDatabase;
  stop(): Promise<void>;
}

/** Fills a database through Transit and a KV with the same values, and starts `keyrow serve` on the one. */
export async function openTransitSite(
  database: BenchDatabase,
  secrets: Secrets,
  openBao: BenchOpenBao,
  profiles?: string,
): Promise<TransitSite> {
  const people = await withTransit(openBao, (cipher) => makePeople(database, { ...secrets, cipher }));
  const [limit, kv] = [await startLimit(openBao, database), await startKv(openBao, database)];
  const { jwtSecret, keyFile } = secrets;
  const keyrow = await startKeyrow({ database, jwtSecret, keyFile, profiles, settings: openBaoSettings(openBao) });
  return { keyrow, limit, kv, people, database, stop: () => keyrow.stop() };
}

/** Measures Keyrow on OpenBao beside OpenBao alone, and beside its KV v2. */
export async function measureTransit(
  database: BenchDatabase,
  secrets: Secrets,
  openBao: BenchOpenBao,
  { pace, only, profiles, progress }: Omit<SpeedOptions, "hotRow">,
): Promise<{ compared: Compared; measured: Measured[] }> {
  progress("Filling a database and a KV...");
  const site = await openTransitSite(database, secrets, openBao, profiles);
  try {
    progress("Comparing the values that all of them answer...");
    const compared = await compareValues(site);
    const measured: Measured[] = [];
    for (const name of valueOperations) {
      if (!only.includes(name)) continue;
      progress(`Measuring ${operations[name].title} through Transit...`);
      measured.push(await measureOperation(name, site, openBao, pace));
    }
    await assertInTransit(database);
    return { compared, measured };
  } finally {
    await site.stop();
  }
}

async function measureOperation(
  name: OperationName,
  { keyrow, limit, kv, people, database }: TransitSite,
  openBao: BenchOpenBao,
  pace: SpeedOptions["pace"],
): Promise<Measured> {
  const doers = name === "create" ? people.writers : people.readers;
  const entrant = (contender: Contender, values: number, entries: number) => ({
    name: contender.name,
    values,
    memory: () => contender.memory(),
    cpu: () => contender.cpu(),
    round: (ms: number) =>
      recorded(database, entries, () => audited(openBao, values, () => contender.round(name, doers, ms))),
  });
  const { figures, ratio } = await sideBySide(
    [
      entrant(keyrow, limit.values(name), operations[name].entries),
      entrant(limit, limit.values(name), 0),
      entrant(kv, kv.values(name), 0),
    ],
    pace,
  );
  const isMany = name === "reveal-50";
  const goal = (least: number) => (isMany ? { least } : undefined);
  const ratios = [
    { name: "keyrow / limit", ...ratio("keyrow", "limit"), goal: goal(0.4) },
    { name: "keyrow / kv", ...ratio("keyrow", "kv"), goal: goal(3) },
  ];
  return { title: `${operations[name].title}, through Transit`, figures, ratios };
}

/**
 * Asks all of them for the same as some of the people, and compares the values, and the entries that Keyrow leaves in the
 * log. Throws an Error that names the operation where they differ.
 */
export async function compareValues({ keyrow, limit, kv, people, database }: TransitSite, most = 5): Promise<Compared> {
  const compared = { answers: 0, entries: 0 };
  for (const name of valueOperations) {
    const doers = (name === "create" ? people.writers : people.readers).slice(0, most);
    for (const [turn, person] of doers.entries()) {
      const task = operations[name].task(person, turn);
      const { result: answer, entries } = await countEntries(database, () => keyrow.ask(person, task));
      if (entries !== operations[name].entries) throw new Error(`${name}: ${entries} entries in the log`);
      const ours = await valuesOf(keyrow, person, task, answer);
      const theirs = await Promise.all([limit, kv].map((vault) => vault.reveal(person, task)));
      if (!theirs.every((values) => isDeepStrictEqual(values, ours))) throw new Error(`${name}: the values differ`);
      if (ours.length !== limit.values(name)) throw new Error(`${name}: ${ours.length} values`);
      compared.answers += 1;
      compared.entries += entries;
    }
  }
  return compared;
}

/** The values of Keyrow's answer; it is asked once more for the one that it created. */
async function valuesOf(keyrow: ServerContender, person: Person, task: Task, answer: unknown): Promise<string[]> {
  const { data } = answer as { data: Record<string, unknown> };
  if (task.operation === "create") {
    const { userCredential } = data.createUserCredential as { userCredential: { id: string } };
    const reveal: Task = { operation: "reveal-one", id: userCredential.id };
    return valuesOf(keyrow, person, reveal, await keyrow.ask(person, reveal));
  }
  const rows = (
    task.operation === "reveal-50" ? (data.userCredentials as { nodes: unknown[] }).nodes : [data.userCredential]
  ) as Array<{ value: string }>;
  return rows.map(({ value }) => value);
}

/** Throws where a value is not under Transit's key: then something else was measured. */
async function assertInTransit(database: BenchDatabase): Promise<void> {
  const { rows } = await withConnection(database.url("postgres"), (client) =>
    client.query("select count(*)::int as n from public.user_credentials where key_id not like 'transit:%'"),
  );
  if (rows[0].n > 0) throw new Error(`${rows[0].n} values are not under Transit's key`);
}

/** Does work with the cipher of OpenBao's key alone. */
export async function withTransit<T>(
  { access, transitKey: place }: BenchOpenBao,
  work: (cipher: Secrets["cipher"]) => Promise<T>,
): Promise<T> {
  const ring = createRing({ localKeys: [], openBao: { access, place }, fallback: "refuse", log: createLog("silent") });
  try {
    return await work(ring.cipher);
  } finally {
    await ring.close();
  }
}
