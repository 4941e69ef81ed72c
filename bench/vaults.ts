// Those that ask OpenBao itself: clients that do as little as can be done, so that what is measured is OpenBao's.
import { encodeContext } from "../src/cipher/context.ts";
import { withConnection } from "../src/setup.ts";
import { type Contender, withConnections } from "./contenders.ts";
import type { BenchDatabase } from "./database.ts";
import { Connection, closedLoop } from "./load.ts";
import { type BenchOpenBao, mountKv } from "./openbao.ts";
import { MANY, type OperationName, operations, type Person, type Task, tokenOf } from "./operations.ts";
import { cpuOf, memoryOf } from "./processes.ts";
import { bodyOf, createRawSender, type Item, type Result, readResults } from "./straight.ts";

/** A contender that is a client of OpenBao; memory and processor time are OpenBao's. */
export interface Vault extends Contender {
  /** How many values a request of an operation has. */
  values(operation: OperationName): number;
  /** The values of a task, in the order of Keyrow's answer; of create the one that it stored, read back. */
  reveal(person: Person, task: Task): Promise<string[]>;
}

/** A request for a task, whose answer is not read. */
type Request = (connection: Connection, person: Person, task: Task, turn: number) => Promise<Buffer>;

/** The limit: what Keyrow opens or seals for a task, straight to Transit as one batch. */
export async function startLimit(openBao: BenchOpenBao, database: BenchDatabase): Promise<Vault> {
  const people = await sealedItems(database);
  // Made once: what it costs to make one is not OpenBao's.
  const pages = new Map([...people].map(([userId, items]) => [userId, bodyOf([...items.values()].slice(0, MANY))]));
  const send = await createRawSender(openBao);
  const perform: Request = (connection, person, task) => {
    if (task.operation === "create") return send(connection, "encrypt", bodyOf([plainItem(person, task)]));
    if (task.operation === "reveal-50") return send(connection, "decrypt", pages.get(person.userId) as string);
    const item = people.get(person.userId)?.get(task.id as string) as Item;
    return send(connection, "decrypt", bodyOf([item]));
  };
  return vault("limit", openBao, perform, {
    values: (operation) => (operation === "reveal-50" ? MANY : 1),
    async read(connection, person, task) {
      const results = readResults(await perform(connection, person, task, 0));
      if (task.operation !== "create") return results.map(openedOf);
      const { context } = plainItem(person, task);
      const sealed = results.map(({ ciphertext = "" }) => ({ ciphertext, context }));
      return readResults(await send(connection, "decrypt", bodyOf(sealed))).map(openedOf);
    },
  });
}

/** Reads the same values from OpenBao's KV v2, one request each, as its users do; create writes one. */
export async function startKv(openBao: BenchOpenBao, database: BenchDatabase): Promise<Vault> {
  const mount = "kv";
  const token = await mountKv(openBao, mount);
  const people = await sealedItems(database);
  const path = ({ userId }: Pick<Person, "userId">, name: string) => `/v1/${mount}/data/${userId}/${name}`;
  const write = (connection: Connection, at: string, value: string) =>
    connection.post(at, token, JSON.stringify({ data: { value } }));
  const all = [...people].flatMap(([userId, items]) =>
    [...items.keys()].map((id) => ({ at: path({ userId }, id), id })),
  );
  await withConnections(openBao.socket, async (connections) => {
    // Each takes what is left.
    const left = all.values();
    await Promise.all(
      connections.map(async (connection) => {
        for (const { at, id } of left) await write(connection, at, tokenOf(id));
      }),
    );
  });
  const perform: Request = (connection, person, task, turn) => {
    if (task.operation === "create") return write(connection, path(person, task.name as string), task.value as string);
    const id = task.id ?? (person.credentials[turn % person.credentials.length] as string);
    return connection.get(path(person, id), token);
  };
  const read = async (connection: Connection, person: Person, name: string): Promise<string> =>
    JSON.parse(String(await connection.get(path(person, name), token))).data.data.value;
  return vault("kv", openBao, perform, {
    values: () => 1,
    async read(connection, person, task) {
      if (task.operation === "create") await perform(connection, person, task, 0);
      const page = [...(people.get(person.userId)?.keys() ?? [])].slice(0, MANY);
      const names = task.operation === "reveal-50" ? page : [task.id ?? (task.name as string)];
      const values: string[] = [];
      for (const name of names) values.push(await read(connection, person, name));
      return values;
    },
  });
}

function vault(
  name: string,
  openBao: BenchOpenBao,
  perform: Request,
  {
    values,
    read,
  }: Pick<Vault, "values"> & { read(connection: Connection, person: Person, task: Task): Promise<string[]> },
): Vault {
  return {
    name,
    values,
    memory: () => memoryOf({ pid: openBao.pid() }),
    cpu: () => cpuOf({ pid: openBao.pid() }),
    stop: async () => undefined,
    round: (operation, people, ms) =>
      withConnections(openBao.socket, (connections) =>
        closedLoop(ms, async (client, turn) => {
          const person = people[client % people.length] as Person;
          const task = operations[operation].task(person, turn);
          await perform(connections[client] as Connection, person, task, turn);
        }),
      ),
    async reveal(person, task) {
      const connection = await Connection.open(openBao.socket);
      return read(connection, person, task).finally(() => connection.close());
    },
  };
}

/** What is sealed for each person, by id, the newest first; for whom there is nothing, there is no entry. */
async function sealedItems(database: BenchDatabase): Promise<Map<string, Map<string, Item>>> {
  const people = new Map<string, Map<string, Item>>();
  await withConnection(database.url("postgres"), async (client) => {
    const { rows } = await client.query<{ id: string; user_id: string; encrypted_value: string }>(
      `select id, user_id, encrypted_value from public.user_credentials
       where scope = 'USER' order by created_at desc, id desc`,
    );
    for (const { id, user_id: userId, encrypted_value: ciphertext } of rows) {
      const items = people.get(userId) ?? new Map<string, Item>();
      people.set(userId, items.set(id, { ciphertext, context: contextOf(id, userId) }));
    }
  });
  return people;
}

function plainItem({ userId }: Person, { name = "", value = "" }: Task): Item {
  return { plaintext: Buffer.from(value).toString("base64"), context: contextOf(name, userId) };
}

function contextOf(id: string, userId: string): string {
  return encodeContext(["public.user_credentials", "encrypted_value", id, "USER", userId]).toString("base64");
}

function openedOf({ plaintext = "" }: Result): string {
  return Buffer.from(plaintext, "base64").toString();
}
