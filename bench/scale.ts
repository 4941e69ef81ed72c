import { randomUUID } from "node:crypto";
import { withConnection } from "../src/setup.ts";
import { graphqlBody, type NextRequest, type ServerContender, startKeyrow } from "./contenders.ts";
import type { BenchCluster, BenchDatabase } from "./database.ts";
import { CLIENTS } from "./load.ts";
import { MANY, operations, type Person } from "./operations.ts";
import { type Secrets, sealedRows } from "./people.ts";
import { sideBySide } from "./rounds.ts";
import type { Measured, SpeedOptions } from "./speed.ts";
import { loadTeams, measuredAdmins } from "./teams.ts";

const sizes = [10_000, 1_000_000] as const;
const nameOf = (credentials: number) => credentials.toLocaleString("en");

/** A server on a database of one of the sizes, and those whose requests are measured there. */
interface Site {
  readonly name: string;
  readonly server: ServerContender;
  readonly admins: readonly Admin[];
  /** They have nothing, and belong nowhere. */
  readonly strangers: readonly Person[];
}

/** An admin of a workspace, with credentials of their own. */
type Admin = Person & { readonly workspaceId: string };

/** What is asked for on behalf of an admin, and of a stranger who asks for the same. */
type Ask = (admin: Admin, asking: Person, turn: number) => string;

const page = (filter = "") =>
  `userCredentials(first: ${MANY}${filter}) { nodes { id provider name type scope maskedValue isActive createdAt } }`;
const own = `query ($id: UUID!) { ${page(", filter: { userId: { equalTo: $id } }")} }`;
const ofWorkspace = `query ($id: UUID!) { ${page(", filter: { workspaceId: { equalTo: $id } }")} }`;

const asks: Readonly<Record<string, Ask>> = {
  "reveal one": ({ credentials }, _asking, turn) =>
    graphqlBody(operations["reveal-one"].query, { id: credentials[turn % credentials.length] }),
  "own list": (_admin, { userId }) => graphqlBody(own, { id: userId }),
  "a workspace's list": ({ workspaceId }) => graphqlBody(ofWorkspace, { id: workspaceId }),
  "first page without a filter": () => graphqlBody(`query { ${page()} }`, {}),
};

/** Measures the same requests on databases of both sizes, in turns; the cost is the time that a request takes. */
export async function measureScale(
  cluster: BenchCluster,
  secrets: Secrets,
  { pace, profiles, progress }: Omit<SpeedOptions, "only" | "hotRow">,
): Promise<Measured[]> {
  const sites: Site[] = [];
  try {
    for (const size of sizes) {
      progress(`Loading ${nameOf(size)} credentials...`);
      sites.push(await openSite(cluster, secrets, size, profiles));
    }
    const measured: Measured[] = [];
    for (const [title, ask] of Object.entries(asks)) {
      for (const seesNothing of [false, true]) {
        const full = seesNothing ? `${title}, by somebody who sees nothing` : title;
        progress(`Measuring ${full}...`);
        const missing = seesNothing && title === "reveal one";
        const entrants = sites.map((site) => {
          const next = nextRequest(site, ask, seesNothing);
          return { name: site.name, round: (ms: number) => site.server.load(ms, next, missing), cpu: site.server.cpu };
        });
        const { figures, ratio } = await sideBySide(entrants, pace);
        const [small, large] = sites.map(({ name }) => name) as [string, string];
        const cost = { name: `cost at ${large} / ${small}`, ...ratio(small, large), goal: { most: 1.3 } };
        measured.push({ title: full, figures, ratios: [cost] });
      }
    }
    return measured;
  } finally {
    await Promise.all(sites.map(({ server }) => server.stop()));
  }
}

function nextRequest({ admins, strangers }: Site, ask: Ask, seesNothing: boolean): NextRequest {
  return (client, turn) => {
    // The clients go round all admins; no two of them are the same person at once, for a person's requests take turns.
    const admin = admins[(turn * CLIENTS + client) % admins.length] as Admin;
    const person = seesNothing ? (strangers[client] as Person) : admin;
    return { person, body: ask(admin, person, Math.floor((turn * CLIENTS) / admins.length)) };
  };
}

async function openSite(
  cluster: BenchCluster,
  secrets: Secrets,
  credentials: number,
  profiles: string | undefined,
): Promise<Site> {
  const database = await cluster.database(`bench_scale_${credentials}`);
  const keyId = (await sealedRows(secrets.cipher, [{ id: "", userId: "" }]))[0]?.key_id as string;
  await loadTeams(database, credentials, keyId);
  const admins = await measuredAdmins(database, secrets);
  const strangers = await makeStrangers(database, secrets);
  const { jwtSecret, keyFile } = secrets;
  const server = await startKeyrow({ database, jwtSecret, keyFile, profiles });
  return { name: nameOf(credentials), server, admins, strangers };
}

async function makeStrangers(database: BenchDatabase, { token }: Secrets): Promise<Person[]> {
  const ids = Array.from({ length: CLIENTS }, () => randomUUID());
  await withConnection(database.url("postgres"), (client) =>
    client.query("insert into public.users (id) select unnest($1::uuid[])", [ids]),
  );
  return ids.map((userId) => ({ userId, token: token(userId), credentials: [] }));
}
