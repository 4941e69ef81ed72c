import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import ava, { type ExecutionContext } from "ava";
import { readKeyFile } from "../src/cipher/keyfile.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { serve } from "./faults/serving.ts";
import { keyrow, stageOperator } from "./helpers/admin.ts";
import { cli } from "./helpers/command.ts";
import { openBaoTest, settingsOf, startOpenBao } from "./helpers/openbao.ts";
import { asAdmin, makeUser, post } from "./helpers/server.ts";
import { until } from "./helpers/until.ts";
import { makeOwner, store, worker } from "./reseal/stage.ts";

// Keys of the key file come and go while servers and workers run: none of them is started again.

async function stage(t: ExecutionContext) {
  const staged = await stageOperator(t);
  const [first] = await readKeyFile(staged.keyFile);
  return { ...staged, first: first?.id ?? "" };
}

ava(
  "running servers seal under a key that was added, never again under the one that is retired, and open all",
  async (t) => {
    const { database, keyFile, first, env } = await stage(t);
    const user = await makeUser(database);
    const url = database.url("keyrow_authenticator");
    const servers = await Promise.all([1, 2].map(() => serve(t, url, { env: { KEYROW_KEY_FILE: keyFile } })));
    const set = async (name: string) => {
      for (const [index, server] of servers.entries()) {
        const { errors } = await post(server.url, server.token(user), {
          query: `mutation { setUserCredential(input: { provider: "p", name: "${name}${index}", value: "${name}" }) { userCredential { id } } }`,
        });
        t.deepEqual(errors, []);
      }
    };
    const list = () =>
      Promise.all(
        servers.map(async (server) => {
          const { data } = await post(server.url, server.token(user), {
            query: "{ userCredentials(orderBy: [NAME_ASC]) { nodes { name value } } }",
          });
          return data.userCredentials.nodes.map(({ name, value }: { name: string; value: string }) => [name, value]);
        }),
      );
    const keyIds = async () =>
      (await asAdmin(database, "select distinct key_id from public.user_credentials order by key_id")).rows.map(
        ({ key_id }) => key_id,
      );

    await set("a");
    t.deepEqual(await keyIds(), [first]);
    const { stdout } = await keyrow(["keys", "rotate"], env);
    const second = stdout.trim();
    await set("b");
    t.deepEqual(await keyIds(), [first, second].toSorted());
    t.is((await keyrow(["rewrap"], env)).exitCode, 0);
    t.deepEqual(await keyIds(), [second]);
    t.is((await keyrow(["keys", "retire", first], env)).exitCode, 0);
    await set("c");
    t.deepEqual(await keyIds(), [second]);
    const all = ["a", "b", "c"].flatMap((name) => [0, 1].map((index) => [`${name}${index}`, name]));
    t.deepEqual(await list(), [all, all], "each server opens what the other sealed");
    for (const server of servers) t.is(await server.end(), 0);
  },
);

openBaoTest("a running worker moves what was sealed under a local key that was added since", async (t) => {
  const bao = await startOpenBao(t);
  const { database, keyFile, env } = await stage(t);
  const vault = { ...env, ...settingsOf(bao.access) };
  const child = spawn(process.execPath, [cli, "worker"], { env: vault, stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "close");
  t.teardown(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  await says(child, '"ready"');
  t.is((await keyrow(["keys", "rotate", "local"], vault)).exitCode, 0);
  const ring = createKeyring((await readKeyFile(keyFile)).map(createLocalCipher));
  const stored = await store(database, await worker(t, database), ring, await makeOwner(database), 20);
  const moved = async () =>
    (await asAdmin(database, "select from public.user_credentials where key_id like 'transit:%'")).rowCount;
  await until(async () => (await moved()) === stored.length);
  child.kill("SIGTERM");
  t.deepEqual(await ended, [0, null]);
});

async function says(child: ChildProcess, text: string): Promise<void> {
  let said = "";
  for await (const chunk of child.stderr?.iterator({ destroyOnReturn: false }) ?? []) {
    said += chunk;
    if (said.includes(text)) break;
  }
  child.stderr?.resume();
}
