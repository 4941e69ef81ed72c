import type { ChildProcess } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";
import type { BenchDatabase } from "./database.ts";
import { CLIENTS, Connection, closedLoop, type Sample } from "./load.ts";
import { type OperationName, operations, type Person, type Task } from "./operations.ts";
import { cpuOf, failure, freePort, memoryOf, start, stop } from "./processes.ts";

/** One of those that do the same work. */
export interface Contender {
  readonly name: string;
  /** Lets twenty clients do an operation for so many ms, each as a person of their own where there are as many. */
  round(operation: OperationName, people: readonly Person[], ms: number): Promise<Sample>;
  /** The memory that its process holds now (resident), in MiB. */
  memory(): number;
  /** The processor time that its process has used so far, in ms; undefined where the system doesn't tell. */
  cpu(): number | undefined;
  stop(): Promise<void>;
}

/** A contender that is a server. */
export interface ServerContender extends Contender {
  readonly port: number;
  /** Does a task once, and gives the answer. */
  ask(person: Person, task: Task): Promise<unknown>;
  /** As `round`, for any GraphQL request; `missing`: what is asked for must not be found. */
  load(ms: number, request: NextRequest, missing?: boolean): Promise<Sample>;
}

/** What a client asks for in its nth turn. */
export type NextRequest = (client: number, turn: number) => { readonly person: Person; readonly body: string };

/** What servers share: the database, and the secrets that tokens and values are made with. */
export interface Surroundings {
  readonly database: BenchDatabase;
  readonly jwtSecret: string;
  readonly keyFile: string;
  /** Settings besides those. */
  readonly settings?: Readonly<Record<string, string>> | undefined;
  /** Where each server leaves a CPU profile when it ends. */
  readonly profiles?: string | undefined;
}

const START_MS = 120_000;
/** Starts Keyrow as its users do: `keyrow serve` in a process of its own, as the login keyrow_authenticator. */
export function startKeyrow(surroundings: Surroundings): Promise<ServerContender> {
  return startServer("keyrow", ["src/cli.ts", "serve"], surroundings, ({ operation, ...task }) => [
    "/graphql",
    graphqlBody(operations[operation].query, operations[operation].variables({ operation, ...task })),
  ]);
}

/** Starts the same work by hand: bench/peer.ts. */
export function startPeer(surroundings: Surroundings): Promise<ServerContender> {
  return startServer("peer", ["bench/peer.ts"], surroundings, (task) => ["/", JSON.stringify(task)]);
}

/** Starts the same statements in a plain loop: bench/floor.ts. */
export async function startFloor({ database }: Pick<Surroundings, "database">): Promise<Contender> {
  const child = start(["bench/floor.ts", database.url("keyrow_authenticator")], {}, "ipc");
  const failed = failure("floor", child);
  failed.catch(() => undefined);
  return {
    name: "floor",
    memory: () => memoryOf(child),
    cpu: () => cpuOf(child),
    stop: () => stop(child),
    async round(operation, people, ms) {
      const answer = new Promise<Sample>((resolve) => child.once("message", (sample) => resolve(sample as Sample)));
      child.send({ operation, people, ms });
      return Promise.race([answer, failed]);
    },
  };
}

/** A GraphQL request as its body. */
export function graphqlBody(query: string, variables: Record<string, unknown>): string {
  return JSON.stringify({ query, variables });
}

async function startServer(
  name: string,
  args: string[],
  { database, jwtSecret, keyFile, settings, profiles }: Surroundings,
  request: (task: Task) => [path: string, body: string],
): Promise<ServerContender> {
  const port = await freePort();
  const profiling = profiles === undefined ? [] : ["--cpu-prof", `--cpu-prof-dir=${profiles}`];
  const child = start([...profiling, ...args], {
    PORT: String(port),
    LOG_LEVEL: "warn",
    DATABASE_URL: database.url("keyrow_authenticator"),
    JWT_SECRET: jwtSecret,
    KEYROW_KEY_FILE: keyFile,
    ...settings,
  });
  await ready(name, child, port);
  const load = (
    ms: number,
    ask: (connection: Connection, client: number, turn: number) => Promise<Buffer>,
    check: (body: Buffer) => void = answered,
  ) =>
    withConnections(port, (connections) =>
      closedLoop(ms, async (client, turn) => check(await ask(connections[client] as Connection, client, turn))),
    );
  return {
    name,
    port,
    memory: () => memoryOf(child),
    cpu: () => cpuOf(child),
    stop: () => stop(child),
    async ask(person, task) {
      const connection = await Connection.open(port);
      const body = answered(await connection.post(...withToken(person, request(task))));
      connection.close();
      return JSON.parse(body.toString());
    },
    round: (operation, people, ms) =>
      load(ms, (connection, client, turn) => {
        const person = people[client % people.length] as Person;
        return connection.post(...withToken(person, request(operations[operation].task(person, turn))));
      }),
    load: (ms, next, missing = false) =>
      load(
        ms,
        (connection, client, turn) => {
          const { person, body } = next(client, turn);
          return connection.post("/graphql", person.token, body);
        },
        missing ? notFound : answered,
      ),
  };
}

function withToken({ token }: Person, [path, body]: [string, string]): [string, string, string] {
  return [path, token, body];
}

/** Who is refused is fast: an error among the answers ends the measurement. */
function answered(body: Buffer): Buffer {
  if (body.includes('"errors"')) throw new Error(`an error in an answer: ${body.toString("utf8", 0, 500)}`);
  return body;
}

function notFound(body: Buffer): void {
  if (!body.includes('"NOT_FOUND"')) throw new Error("something was found");
}

/** Runs `work` with a connection for each client, to a port or a socket. */
export async function withConnections<T>(
  at: number | string,
  work: (connections: Connection[]) => Promise<T>,
): Promise<T> {
  const connections = await Promise.all(Array.from({ length: CLIENTS }, () => Connection.open(at)));
  try {
    return await work(connections);
  } finally {
    for (const connection of connections) connection.close();
  }
}

async function ready(name: string, child: ChildProcess, port: number): Promise<void> {
  const failed = failure(name, child);
  failed.catch(() => undefined);
  for (const deadline = Date.now() + START_MS; Date.now() < deadline; await Promise.race([failed, sleep(50)])) {
    const response = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
    if (response?.ok) return;
  }
  throw new Error(`${name} was not ready after ${START_MS / 1000} s`);
}
