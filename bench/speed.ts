import { type Compared, compareServers, countEntries } from "./compare.ts";
import { type Contender, graphqlBody, type ServerContender, startFloor, startKeyrow, startPeer } from "./contenders.ts";
import type { BenchCluster, BenchDatabase } from "./database.ts";
import type { Sample } from "./load.ts";
import { type OperationName, operations, type Person } from "./operations.ts";
import { makePeople, type Secrets } from "./people.ts";
import { type Entrant, type Figures, type Pace, type Ratio, sideBySide } from "./rounds.ts";

/** Something measured side by side, and what is to be reached. */
export interface Measured {
  readonly title: string;
  readonly figures: Readonly<Record<string, Figures>>;
  readonly ratios: ReadonlyArray<Ratio & { readonly name: string; readonly goal?: Goal | undefined }>;
}

/** What a ratio is to be. */
export interface Goal {
  readonly least?: number | undefined;
  readonly most?: number | undefined;
}

/** How the run goes. */
export interface SpeedOptions {
  readonly pace: Pace;
  readonly only: readonly OperationName[];
  readonly hotRow: boolean;
  readonly profiles: string | undefined;
  readonly progress: (line: string) => void;
}

/** Measures Keyrow beside the hand-written server and the plain loop, on a database of its own. */
export async function measureSpeed(
  cluster: BenchCluster,
  secrets: Secrets,
  { pace, only, hotRow, profiles, progress }: SpeedOptions,
): Promise<{ compared: Compared; measured: Measured[] }> {
  const database = await cluster.database("bench_speed");
  const people = await makePeople(database, secrets);
  const surroundings = { database, jwtSecret: secrets.jwtSecret, keyFile: secrets.keyFile, profiles };
  const contenders: Contender[] = [];
  try {
    const keyrow = await startKeyrow(surroundings);
    contenders.push(keyrow);
    const peer = await startPeer(surroundings);
    contenders.push(peer);
    contenders.push(await startFloor(surroundings));
    progress("Comparing the servers' answers and what they leave on the record...");
    const compared = await compareServers(keyrow, peer, people, database);
    const measured: Measured[] = [];
    for (const name of only) {
      progress(`Measuring ${operations[name].title}...`);
      const doers = name === "create" ? people.writers : people.readers;
      measured.push(await measureOperation(name, contenders, doers, database, pace));
    }
    if (hotRow) {
      progress("Measuring one credential asked for by all...");
      measured.push(await measureHotRow(keyrow, people.admins, pace));
    }
    return { compared, measured };
  } finally {
    await Promise.all(contenders.map((contender) => contender.stop()));
  }
}

async function measureOperation(
  name: OperationName,
  contenders: readonly Contender[],
  people: readonly Person[],
  database: BenchDatabase,
  pace: Pace,
): Promise<Measured> {
  const { title, goal } = operations[name];
  const entrants = contenders.map((contender) => ({
    name: contender.name,
    memory: () => contender.memory(),
    cpu: () => contender.cpu(),
    round: (ms: number) => recorded(database, operations[name].entries, () => contender.round(name, people, ms)),
  }));
  const { figures, ratio } = await sideBySide(entrants, pace);
  const ratios = [
    { name: "keyrow / peer", ...ratio("keyrow", "peer"), goal: goal === undefined ? undefined : { least: goal } },
    { name: "keyrow / floor", ...ratio("keyrow", "floor") },
    { name: "peer / floor", ...ratio("peer", "floor") },
  ];
  return { title, figures, ratios };
}

/** Runs a round; throws where it left another number of entries in the log than its requests must: it was another work. */
export async function recorded(database: BenchDatabase, each: number, round: () => Promise<Sample>): Promise<Sample> {
  const { result: sample, entries } = await countEntries(database, round);
  if (entries !== sample.requests * each) {
    throw new Error(`${sample.requests} requests left ${entries} entries in the log, and not ${each} each`);
  }
  return sample;
}

/** One credential of a workspace, revealed by all of its admins at once, beside as many credentials as admins. */
async function measureHotRow(keyrow: ServerContender, admins: readonly Person[], pace: Pace): Promise<Measured> {
  const { query } = operations["reveal-one"];
  const reveal = (choose: (client: number) => number): Entrant["round"] => {
    const requests = admins.map((person, client) => ({
      person,
      body: graphqlBody(query, { id: person.credentials[choose(client)] }),
    }));
    return (ms) => keyrow.load(ms, (client) => requests[client % requests.length] as (typeof requests)[number]);
  };
  const { figures, ratio } = await sideBySide(
    [
      { name: "one", round: reveal(() => 0), cpu: keyrow.cpu },
      { name: "twenty", round: reveal((client) => client), cpu: keyrow.cpu },
    ],
    pace,
  );
  const ratios = [{ name: "one / twenty", ...ratio("one", "twenty"), goal: { least: 0.9 } }];
  return { title: "20 clients reveal one credential, or 20", figures, ratios };
}
