import test from "ava";
import { pages, stalePages, WRITE_COMMAND } from "../src/docs.ts";
import { catalogue } from "../src/errors.ts";
import { settings } from "../src/settings.ts";

test("the generated pages of docs/reference and the client's types are up to date", async (t) => {
  t.deepEqual(await stalePages(), [], `run: ${WRITE_COMMAND}`);
});

test("every setting and every error has its line", async (t) => {
  const { "config.md": config = "", "errors.md": errors = "" } = await pages();
  for (const name of Object.keys(settings)) t.true(config.includes(`| \`${name}\` |`), name);
  for (const code of Object.keys(catalogue)) t.true(errors.includes(`| \`${code}\` |`), code);
});
