import test from "ava";
import { withConnection } from "../../src/setup.ts";
import { post } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";
import { makeUsers, startLoad } from "./load.ts";
import { startPostgres } from "./postgres.ts";
import { serve } from "./serving.ts";

const MINUTE = 60_000;
const preload = new URL("./clock.ts", import.meta.url).href;
const list = "{ userCredentials { nodes { name } } }";

test("a clock that jumps refuses nobody for longer than it is wrong, and nothing stands still", async (t) => {
  const postgres = await startPostgres(t);
  const served = await serve(t, postgres.url("keyrow_authenticator"), { preload, env: { JWT_PROVISION: "on" } });
  const load = await startLoad(t, postgres, served);
  const [user = ""] = await makeUsers(postgres, 1);
  const short = served.token(user, 30 * 60);
  const mutation = `mutation { setUserCredential(input: { provider: "p", name: "n", value: "v" }) { userCredential { id } } }`;
  const made = await post(served.url, short, { query: mutation });
  const { id } = made.data.setUserCredential.userCredential;
  const lastUse = () =>
    withConnection(postgres.url("postgres"), async (client) => {
      const { rows } = await client.query("select last_used_at from public.user_credentials where id = $1", [id]);
      return rows[0].last_used_at as Date | null;
    });
  for (const minutes of [60, -60, 24 * 60, 0]) {
    await served.moveClock(minutes * MINUTE);
    await withConnection(postgres.url("postgres"), (client) =>
      client.query("update public.user_credentials set last_used_at = null where id = $1", [id]),
    );
    const reveal = `{ userCredential(id: "${id}") { value } }`;
    const token = served.token(user, 48 * 60 * 60);
    t.is((await post(served.url, token, { query: reveal })).data.userCredential.value, "v");
    await until(lastUse, () => "the last use, which is noted");
    const { codes } = await post(served.url, short, { query: list });
    t.deepEqual(codes, minutes > 30 ? ["UNAUTHENTICATED"] : [], `a token of half an hour, ${minutes} minutes off`);
    await load.more(60);
  }
  await load.settle();
  t.deepEqual(load.refusals, [], "nobody noticed");
  t.is(await served.end(), 0);
});
