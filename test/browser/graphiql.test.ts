import test from "ava";
import type { Page } from "playwright-core";
import { type Browser, filesHolding, inBrowser, startBrowser, startSite } from "../helpers/browser.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";
import { type Made, makeCredentials, recordedReveals } from "../reveal/credentials.ts";

let server: TestServer;
let browser: Browser;
let credential: Made;
test.before(async () => {
  const database = await createTestDatabase();
  const ana = await makeUser(database, "Ana");
  server = await startTestServer({ database, graphiqlUser: ana, env: { KEYROW_GRAPHIQL: "on" } });
  [credential] = (await makeCredentials(server, ana, 1)) as [Made];
  browser = await startBrowser();
});
test.after.always(() => Promise.all([browser?.stop(), server?.stop()]));

/** Opens GraphiQL. Its buttons are there before its editors hold their texts, and do nothing until then. */
async function open(from: Browser) {
  const opened = await from.open(`${server.url}/graphiql`);
  for (const [editor, text] of [
    ["query-editor", "userCredentials"],
    ["editor-tool", "Authorization"],
  ] as const)
    await opened.page.locator(`.graphiql-${editor} .view-lines`, { hasText: text }).waitFor();
  return opened;
}
const execute = (page: Page) => page.getByRole("button", { name: /execute/i }).click();
const shows = (page: Page, text: string) => page.locator(".result-window", { hasText: text }).waitFor();

/** Waits until GraphiQL has saved a text: in the page's memory. */
async function remembers(page: Page, key: string, text: string): Promise<void> {
  const saved = () => page.evaluate<string>(`localStorage["graphiql:${key}"] ?? ""`);
  await until(
    async () => (await saved()).includes(JSON.stringify(text).slice(1, -1)),
    () => `GraphiQL to save ${text}`,
  );
}

/** Asks for completions until there is this one: before the worker has read the schema there are none. */
async function suggests(page: Page, text: string): Promise<void> {
  const widget = page.locator(".suggest-widget", { hasText: text });
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; await page.keyboard.press("Escape")) {
    await page.keyboard.press("Control+Space");
    const shown = await widget.waitFor({ timeout: 3_000 }).then(
      () => true,
      () => false,
    );
    if (shown) return;
  }
  throw new Error(`GraphiQL did not suggest ${text}`);
}

/** Puts a text in place of the query, as somebody who pastes it. */
async function type(page: Page, text: string): Promise<void> {
  await page.locator(".graphiql-query-editor .view-lines").click();
  await page.keyboard.press("ControlOrMeta+A");
  await page.keyboard.insertText(text);
  // It closes each bracket by itself.
  await page.keyboard.press("ControlOrMeta+Shift+End");
  await page.keyboard.press("Delete");
  // It reads what was typed after a moment: the operation's name is the old one's until then.
  await remembers(page, "tabState", text);
}

inBrowser("GraphiQL loads under its policy without a complaint, and its first query runs as it stands", async (t) => {
  const { page, complaints } = await open(browser);
  t.is(await page.title(), "Keyrow: GraphiQL");
  await execute(page);
  await shows(page, credential.name);
  await shows(page, "Ana");
  t.deepEqual(await recordedReveals(server.database), []);
  t.deepEqual(complaints, []);
});

inBrowser("GraphiQL's policy lets no other inline script run, and nothing from elsewhere load", async (t) => {
  const response = await browser.context.request.get(`${server.url}/graphiql`);
  const { "content-security-policy": policy = "", ...headers } = response.headers();
  t.like(headers, {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
  });
  t.regex(policy, /^default-src 'none'; script-src 'self'( 'sha256-[\w+/=]{44}'){5};/);
  t.notRegex(policy, /unsafe-eval|script-src[^;]*unsafe|https?:|\*/);
  const { page, complaints } = await open(browser);
  const run = (code: string) =>
    page.evaluate(`{ const script = document.createElement("script"); script.textContent = ${JSON.stringify(code)};
      document.head.append(script); }`);
  await run("globalThis.wasRun = true");
  t.is(await page.evaluate("globalThis.wasRun"), undefined);
  t.regex(complaints.join("\n"), /inline script.*Content Security Policy/);
});

inBrowser("completion, the schema's pages and the settings work under the policy", async (t) => {
  const { page, complaints } = await open(browser);
  await type(page, "{ userCredentials { nodes { maske");
  await suggests(page, "maskedValue");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Show Documentation Explorer" }).click();
  await page.locator(".graphiql-doc-explorer-content", { hasText: "Query" }).waitFor();
  await page.getByRole("button", { name: /settings dialog/i }).click();
  await page.getByRole("button", { name: "Dark" }).click();
  t.deepEqual(complaints, []);
});

inBrowser("a query with value reveals and is on the record; neither it nor a token is kept on disk", async (t) => {
  const own = await startBrowser();
  t.teardown(own.stop);
  const { page, complaints } = await open(own);
  await type(page, `{ userCredential(id: "${credential.id}") { value } }`);
  await execute(page);
  await page.waitForTimeout(1500);
  await shows(page, credential.value);
  t.deepEqual(complaints, []);
  t.deepEqual(
    (await recordedReveals(server.database)).map(({ entity_id }) => entity_id),
    [credential.id],
  );
  await remembers(page, "queries", credential.id);
  t.deepEqual((await own.context.storageState()).origins, []);
  await own.quit();
  for (const secret of ["Bearer ey", credential.value]) t.deepEqual(filesHolding(own.profile, secret), []);
});

inBrowser("another site can neither frame GraphiQL nor read its token", async (t) => {
  const site = await startSite((_request, response) => {
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>a stranger</title><iframe src="${server.url}/graphiql"></iframe>`);
  });
  t.teardown(site.stop);
  const { page, complaints } = await browser.open(site.origin);
  const [, frame] = page.frames();
  t.false(((await frame?.content()) ?? "").includes("RURU_CONFIG"));
  t.regex(complaints.join("\n"), /frame/i);
  const read = `fetch(${JSON.stringify(`${server.url}/graphiql`)}).then((r) => r.text(), (error) => error.name)`;
  t.is(await page.evaluate(read), "TypeError");
});
