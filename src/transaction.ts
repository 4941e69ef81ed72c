import pg from "pg";

// What pg's query has besides, and its types don't say.
interface Connection {
  /** The texts of what is prepared, by name. */
  readonly parsedStatements: Readonly<Record<string, string>>;
  bind(message: { statement: string; values: unknown[] }): void;
  execute(message: object): void;
  flush(): void;
}
interface Query extends pg.Submittable {
  readonly text: string;
  callback: Answered;
  prepare(connection: Connection): void;
  handleCommandComplete(message: unknown, connection: Connection): void;
}
type Config = pg.QueryConfig & { readonly queryMode?: "extended" };
type Answered = (error: Error | null, result: pg.QueryResult) => void;
const Query = pg.Query as unknown as new (config: Config, values: undefined, answered: Answered) => Query;

const SETTINGS = "keyrow settings";
// Prepared by setting nothing.
const prepareSettings = {
  name: SETTINGS,
  text: "select from json_array_elements($1::json) el where set_config(el->>0, el->>1, true) is null",
  values: ["[]"],
};

/**
 * A query in a transaction of its own, after its settings: names and values, as JSON. All of it is one implicit
 * transaction, which the Sync behind it commits: its answer is there when that has committed, and nothing before counts.
 */
export class Transaction extends Query {
  readonly settings: string;
  readonly #onSet: () => void;
  #isSet = false;

  constructor(settings: string, config: pg.QueryConfig, onSet: () => void, answered: Answered) {
    super({ ...config, queryMode: "extended" }, undefined, answered);
    this.settings = settings;
    this.#onSet = onSet;
  }

  override prepare(connection: Connection): void {
    connection.bind({ statement: SETTINGS, values: [this.settings] });
    connection.execute({});
    // Answered at once, however long the query takes.
    connection.flush();
    super.prepare(connection);
  }

  override handleCommandComplete(message: unknown, connection: Connection): void {
    if (this.#isSet) {
      super.handleCommandComplete(message, connection);
      return;
    }
    this.#isSet = true;
    this.#onSet();
  }
}

/**
 * Runs a query in a transaction of its own with these settings: one write, and one round trip. `onSign` is called when
 * PostgreSQL has answered something, which it does at once.
 */
export async function transact(
  client: pg.ClientBase,
  settings: string,
  config: pg.QueryConfig,
  onSign: () => void = () => undefined,
): Promise<pg.QueryResult> {
  const { stream, parsedStatements } = (client as pg.PoolClient).connection as pg.Connection & Connection;
  stream.cork();
  // Again, where that failed before.
  const prepared = SETTINGS in parsedStatements ? undefined : client.query(prepareSettings);
  const answer = new Promise<pg.QueryResult>((resolve, reject) => {
    const answered: Answered = (error, result) => {
      onSign();
      if (error) reject(error);
      else resolve(result);
    };
    client.query(new Transaction(settings, config, onSign, answered));
  });
  stream.uncork();
  if (prepared === undefined) return answer;
  // Where both failed, the first is why.
  await Promise.allSettled([prepared, answer]);
  await prepared;
  return answer;
}

/** Does all that `transact` does, and takes it back. */
export async function tryOut(...[client, ...query]: Parameters<typeof transact>): Promise<pg.QueryResult> {
  // Within a transaction that was begun, the Sync ends none; where it was not, nothing may be sent.
  await client.query("begin");
  try {
    return await transact(client, ...query);
  } finally {
    await client.query("rollback");
  }
}
