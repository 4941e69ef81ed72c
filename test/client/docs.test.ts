import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { execa } from "execa";
import { keyrow } from "../../src/client.ts";
import { makeTemporaryDirectory } from "../helpers/cluster.ts";
import { makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { pageOf } from "../helpers/shell.ts";

const page = pageOf("client.md", "js");
const directory = makeTemporaryDirectory();
let server: TestServer;
test.before(async () => {
  server = await startTestServer();
});
test.after.always(async () => {
  await server?.stop();
  rmSync(directory, { recursive: true, force: true });
});

test("the examples of docs/client.md run as they stand, one after the other", async (t) => {
  t.is(page.blocks.length, 2);
  const [example, errors] = [page.block("freshToken"), page.block("nobody has set it yet")];
  const script = join(directory, "example.mjs");
  writeFileSync(
    script,
    `const freshToken = () => process.env.TOKEN;
    ${example.replace("keyrow/client", new URL("../../src/client.ts", import.meta.url).href).replace("https://keyrow.example.com", server.url)}
    console.log(value);
    ${errors}
    await client.remove("github/deploy");
    ${errors}`,
  );
  const { stdout, stderr } = await execa(process.execPath, [script], {
    env: { TOKEN: server.token(await makeUser(server.database)) },
    extendEnv: false,
  });
  t.deepEqual([stdout, stderr], ["ghp_...", "nobody has set it yet"]);
});

test("the methods of docs/client.md are those of the client, but for the tokens' in docs/tokens.md", (t) => {
  const [, table = ""] = /\| method \|.*\n\|---.*\n((?:\|.*\n)+)/.exec(page.text) ?? [];
  const named = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap(([, cell = ""]) => [...cell.matchAll(/`(\w+)\(/g)]);
  const methods = Object.keys(keyrow({ url: server.url, token: "t" }));
  const tokens = ["createToken", "tokens", "revokeToken"];
  t.deepEqual([...named.map(([, name]) => name), ...tokens].toSorted(), methods.toSorted());
  for (const name of tokens) t.true(pageOf("tokens.md").text.includes(`\`${name}\``), name);
});
