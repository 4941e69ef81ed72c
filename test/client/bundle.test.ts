import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import test from "ava";
import { execa } from "execa";
import { bundleClient } from "../helpers/bundle.ts";
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

/** The system's own Node, where it is older than the one that tests run on. */
const old = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((directory) => !directory.includes("node_modules"))
  .map((directory) => join(directory, "node"))
  .filter((file) => existsSync(file))
  .find((file) => {
    const major = Number.parseInt(execFileSync(file, ["--version"], { encoding: "utf8" }).slice(1), 10);
    return major >= 20 && major < 24;
  });

(old === undefined ? test.skip : test)("the client works on Node 20, without a package", async (t) => {
  const { code } = await bundleClient();
  const ana = await makeUser(server.database);
  const program = `${code}
    const client = keyrow({ url: process.env.URL, token: process.env.TOKEN });
    await client.set({ credential: "p/n", value: "v" });
    const values = await Promise.all([client.get("p/n"), client.get("p/n", { signal: AbortSignal.timeout(60_000) })]);
    process.stdout.write(values.join());
    process.exit();`;
  const { stdout } = await execa(old ?? "", ["--input-type=module", "-"], {
    input: program,
    env: { URL: server.url, TOKEN: server.token(ana) },
    extendEnv: false,
  });
  t.is(stdout, "v,v");
});
