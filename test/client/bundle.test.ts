import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { execa } from "execa";
import { bundleClient } from "../helpers/bundle.ts";
import { oldNode } from "../helpers/old-node.ts";
import { makeUser, startTestServer, type TestServer } from "../helpers/server.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(() => server?.stop());

test("the client is made of its own modules and the catalogue of errors, and of nothing of Node's", async (t) => {
  const { modules } = await bundleClient();
  const root = join(import.meta.dirname, "../../src/");
  const names = modules.map((one) => one.replace(root, ""));
  t.deepEqual(names.filter((name) => !name.startsWith("client/")).toSorted(), ["client.ts", "errors.ts"]);
  for (const one of modules) t.notRegex(readFileSync(one, "utf8"), /\bnode:|\bprocess\.|\bBuffer\b/, one);
});

(oldNode === undefined ? test.skip : test)("the client works on Node 20, without a package", async (t) => {
  const { code } = await bundleClient();
  const ana = await makeUser(server.database);
  const program = `${code}
    const client = keyrow({ url: process.env.URL, token: process.env.TOKEN });
    await client.set({ credential: "p/n", value: "v" });
    const values = await Promise.all([client.get("p/n"), client.get("p/n", { signal: AbortSignal.timeout(60_000) })]);
    process.stdout.write(values.join());
    process.exit();`;
  const { stdout } = await execa(oldNode ?? "", ["--input-type=module", "-"], {
    input: program,
    env: { URL: server.url, TOKEN: server.token(ana) },
    extendEnv: false,
  });
  t.is(stdout, "v,v");
});
