import { randomBytes } from "node:crypto";
import { join } from "node:path";
import type { ExecutionContext } from "ava";
import { createKeyFile } from "../../src/cipher/keyfile.ts";
import { socketUrl } from "../../src/embedded/server.ts";
import { withConnection } from "../../src/setup.ts";
import { makeTemporaryDirectory, removeWithServers, testCluster } from "./cluster.ts";
import { keyrow as runKeyrow } from "./command.ts";
import { createTestDatabase, type TestDatabase, testUrl } from "./database.ts";

/** A login of a person's, as a database's admin makes them. */
export interface PersonalLogin {
  readonly name: string;
  /** Its address of a test's database. */
  readonly url: string;
  drop(): Promise<void>;
}

/** Makes a login that may become the given roles. Roles are the server's, so the name is random, and `drop` it. */
export async function createLogin(database: TestDatabase, ...roles: string[]): Promise<PersonalLogin> {
  const name = `alice-${randomBytes(6).toString("hex")}`;
  const password = randomBytes(12).toString("hex");
  const superuser = (text: string) =>
    withConnection(testUrl("postgres", "postgres"), async (client) => {
      await client.query(text);
    });
  await superuser(`create role "${name}" login noinherit password '${password}'`);
  for (const role of roles) await superuser(`grant ${role} to "${name}"`);
  return {
    name,
    url: socketUrl(testCluster(), { user: name, password }, database.name),
    drop: () => superuser(`drop role "${name}"`),
  };
}

/** Runs an operator's command with this environment and no other; `input` is its standard input. */
export function keyrow(args: readonly string[], env: Record<string, string>, input: string | Uint8Array = "") {
  return runKeyrow(args, { env, input });
}

/** A database, a key file, and the environment of an operator's commands on them, until the test is over. */
export async function stageOperator(t: ExecutionContext) {
  const database = await createTestDatabase();
  const login = await createLogin(database, "keyrow_admin");
  const directory = makeTemporaryDirectory("keyrow-operator-");
  t.teardown(async () => {
    await login.drop();
    await database.drop();
    await removeWithServers(directory);
  });
  const keyFile = join(directory, "keys.json");
  await createKeyFile(keyFile);
  const env = {
    ADMIN_DATABASE_URL: login.url,
    WORKER_DATABASE_URL: database.url("keyrow_worker"),
    KEYROW_KEY_FILE: keyFile,
    KEYROW_DATA_DIR: join(directory, "none"),
  };
  return { database, keyFile, env };
}
