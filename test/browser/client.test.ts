import test from "ava";
import { type Browser, inBrowser, type Site, startBrowser, startSite } from "../helpers/browser.ts";
import { bundleClient } from "../helpers/bundle.ts";
import { makeUser, startTestServer, type TestServer } from "../helpers/server.ts";

let site: Site;
let server: TestServer;
let browser: Browser;
test.before(async () => {
  const { code } = await bundleClient();
  site = await startSite(({ url }, response) => {
    const [type, body] =
      url === "/client.js" ? ["text/javascript", code] : ["text/html", "<!doctype html><title>x</title>"];
    response.writeHead(200, { "content-type": type }).end(body);
  });
  server = await startTestServer({ env: { CORS_ORIGINS: site.origin } });
  browser = await startBrowser();
});
test.after.always(() => Promise.all([browser?.stop(), site?.stop(), server?.stop()]));

inBrowser(
  "the client sets, lists and reveals from a page of another origin, and its errors have their codes",
  async (t) => {
    const ana = await makeUser(server.database);
    const { page, complaints } = await browser.open(site.origin);
    const script = `(async () => {
    const { keyrow, KeyrowError } = await import("/client.js");
    const client = keyrow({ url: ${JSON.stringify(server.url)}, token: async () => ${JSON.stringify(server.token(ana))} });
    await client.set({ credential: "github/deploy", value: "a value" });
    const names = [];
    for await (const { provider, name } of client.list()) names.push(provider + "/" + name);
    const values = await Promise.all([client.get("github/deploy"), client.get("github/deploy")]);
    const error = await client.get("github/none").catch((error) => error);
    return { names, values, known: error instanceof KeyrowError, code: error.code };
  })()`;
    t.deepEqual(await page.evaluate(script), {
      names: ["github/deploy"],
      values: ["a value", "a value"],
      known: true,
      code: "NOT_FOUND",
    });
    t.deepEqual(complaints, []);
  },
);
