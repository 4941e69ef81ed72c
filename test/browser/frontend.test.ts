import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import jwt from "jsonwebtoken";
import type { Page } from "playwright-core";
import { withConnection } from "../../src/setup.ts";
import { type Browser, filesHolding, inBrowser, type Site, startBrowser, startSite } from "../helpers/browser.ts";
import { asAdmin, makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";
import { makeCredentials, recordedReveals } from "../reveal/credentials.ts";

const guide = readFileSync(fileURLToPath(new URL("../../docs/frontend.md", import.meta.url)), "utf8");

/** A block of the guide as it stands there. */
function block(language: string): string {
  const [found, ...others] = [...guide.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))];
  if (found?.[1] === undefined || others.length > 0) throw new Error(`the guide has not one block of ${language}`);
  return found[1];
}

const headers = block("http")
  .trim()
  .split("\n")
  .map((line) => line.split(/: (.*)/, 2) as [string, string]);

/** Who is signed in to the application, and where its API is. */
const session = { api: "", token: "" };

/** The application: the guide's page and module under its headers, and the session that is the application's own. */
function startApplication(): Promise<Site> {
  const files: Record<string, () => [type: string, body: string]> = {
    "/": () => ["text/html; charset=utf-8", block("html")],
    "/vault.js": () => ["text/javascript", block("js")],
    "/session.js": () => [
      "text/javascript",
      `export const api = ${JSON.stringify(`${session.api}/graphql`)};
       export const getToken = async () => (await fetch("/token")).text();
       export const signIn = () => location.assign("/sign-in");`,
    ],
    "/token": () => ["text/plain", session.token],
    "/sign-in": () => ["text/html", "<!doctype html><title>Sign in</title>"],
  };
  return startSite(({ url = "" }, response) => {
    const [type, body] = files[url]?.() ?? ["image/x-icon", ""];
    for (const [name, value] of headers) {
      response.setHeader(name, value.replace("https://keyrow.example.com", session.api));
    }
    // A test looks for what the browser must not keep where it finds what it may.
    response.setHeader("cache-control", url === "/vault.js" ? "max-age=3600" : "no-store");
    response.setHeader("content-type", type);
    response.end(body);
  });
}

let application: Site;
let stranger: Site;
let server: TestServer;
let browser: Browser;
test.before(async () => {
  [application, stranger] = await Promise.all([startApplication(), startApplication()]);
  server = await startTestServer({ env: { CORS_ORIGINS: application.origin } });
  browser = await startBrowser();
});
test.after.always(() => Promise.all([browser?.stop(), application?.stop(), stranger?.stop(), server?.stop()]));

/** Signs somebody new in; gives the id. */
async function signIn(to = server): Promise<string> {
  const id = await makeUser(to.database);
  Object.assign(session, { api: to.url, token: to.token(id) });
  return id;
}

async function create(page: Page, name: string, value: string): Promise<void> {
  await page.getByPlaceholder("Provider").fill("github");
  await page.getByPlaceholder("Name").fill(name);
  await page.getByPlaceholder("Value").fill(value);
  await page.getByRole("button", { name: "Create" }).click();
}

const row = (page: Page, name: string) => page.getByRole("row", { name });
const press = (page: Page, name: string, button: string) =>
  row(page, name).getByRole("button", { name: button }).click();
const shows = (page: Page, text: string) => page.getByText(text, { exact: true }).waitFor();
const says = (page: Page, text: string | RegExp) => page.getByRole("alert").filter({ hasText: text }).waitFor();

/** The requests that the server has logged so far, as "POST 200". */
function requests(): string[] {
  const lines = server.log().trim().split("\n");
  const logged = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "request");
  return logged.map(({ method, status }) => `${method} ${status}`);
}

/** Those after the first so many, once there are so many more: the log comes a moment after the answer. */
async function requestsSince(before: number, count: number): Promise<string[]> {
  await until(() => requests().length >= before + count);
  return requests().slice(before);
}

async function namesOf(userId: string): Promise<string[]> {
  const { rows } = await asAdmin(server.database, "select name from public.user_credentials where user_id = $1", [
    userId,
  ]);
  return rows.map(({ name }) => name);
}

inBrowser(
  "the guide's page, on another origin, lists, creates and reveals with a token, after a preflight",
  async (t) => {
    const ana = await signIn();
    const [listed] = await makeCredentials(server, ana, 1);
    const before = requests().length;
    const { page, complaints } = await browser.open(application.origin);
    await row(page, "n0").waitFor();
    t.deepEqual(await requestsSince(before, 2), ["OPTIONS 204", "POST 200"]);
    t.deepEqual(await recordedReveals(server.database), [], "a list reveals nothing");

    const value = "ghp_0123456789abcdefghij0123456789 <b>&amp;</b>";
    await create(page, "deploy", value);
    await row(page, "deploy").waitFor();
    t.deepEqual((await namesOf(ana)).toSorted(), ["deploy", "n0"]);
    t.is(await page.getByPlaceholder("Value").inputValue(), "");
    t.false((await page.content()).includes("0123456789abc"));

    const masked = await row(page, "deploy").getByRole("cell").nth(2).innerText();
    t.regex(masked, /\*{5}/);
    await press(page, "deploy", "Reveal");
    await shows(page, value);
    const [entry, ...others] = await recordedReveals(server.database);
    t.is(entry?.user_id, ana);
    t.deepEqual(others, []);
    await press(page, "deploy", "Hide");
    await shows(page, masked);
    await press(page, "n0", "Reveal");
    await shows(page, listed?.value ?? "");
    t.deepEqual(complaints, []);
  },
);

inBrowser("a value that is shown goes after half a minute, and when the page is left", async (t) => {
  const ana = await signIn();
  const [made] = await makeCredentials(server, ana, 1);
  const { page } = await browser.open(application.origin);
  await row(page, "n0").waitFor();
  await page.clock.install();
  const isShown = async () => (await page.content()).includes(made?.value ?? "");
  await press(page, "n0", "Reveal");
  await shows(page, made?.value ?? "");
  await page.clock.fastForward(15_000);
  t.true(await isShown());
  await page.clock.fastForward(16_000);
  t.false(await isShown());

  await press(page, "n0", "Reveal");
  await shows(page, made?.value ?? "");
  await page.evaluate('dispatchEvent(new PageTransitionEvent("pagehide"))');
  t.false(await isShown());
});

inBrowser("further pages come when they are asked for", async (t) => {
  const ana = await signIn();
  await makeCredentials(server, ana, 51);
  const { page } = await browser.open(application.origin);
  await row(page, "n50").waitFor();
  const rows = page.locator("#list tr");
  t.is(await rows.count(), 50);
  await page.getByRole("button", { name: "More" }).click();
  await rows.nth(50).waitFor();
  t.false(await page.getByRole("button", { name: "More" }).isVisible());
});

inBrowser("neither a revealed value nor a token is among what the browser keeps on disk", async (t) => {
  const ana = await signIn();
  const [made] = await makeCredentials(server, ana, 1);
  const own = await startBrowser();
  t.teardown(own.stop);
  const { page } = await own.open(application.origin);
  await press(page, "n0", "Reveal");
  await shows(page, made?.value ?? "");
  t.deepEqual((await own.context.storageState()).origins, []);
  await own.quit();
  const kept = (text: string) => filesHolding(own.profile, text).length;
  t.true(kept("What the API refused.") > 0, "the module, which it may keep, is found there");
  t.is(kept(made?.value ?? ""), 0);
  t.is(kept(session.token), 0);
});

inBrowser("the page of an origin that is not named gets nothing, and nothing is done for it", async (t) => {
  const ana = await signIn();
  await makeCredentials(server, ana, 1);
  const before = { requests: requests().length, reveals: await recordedReveals(server.database) };
  const { page, complaints } = await browser.open(stranger.origin);
  await says(page, "The server can't be reached.");
  await create(page, "stolen", "a value");
  await says(page, "The server can't be reached.");
  t.is(await page.locator("#list tr").count(), 0);
  t.regex(complaints.join("\n"), /blocked by CORS policy/);
  t.deepEqual(await requestsSince(before.requests, 2), ["OPTIONS 403", "OPTIONS 403"], "it never came to a request");
  t.deepEqual(await namesOf(ana), ["n0"]);
  t.deepEqual(await recordedReveals(server.database), before.reveals);
});

inBrowser("a token that is not valid, or no longer, leads to the sign-in", async (t) => {
  const ana = await signIn();
  const expired = jwt.sign({ sub: ana, aud: "keyrow", exp: Math.floor(Date.now() / 1000) - 60 }, server.secret);
  for (const token of ["not.a.token", expired]) {
    session.token = token;
    const { page } = await browser.open(application.origin);
    await page.waitForURL(`${application.origin}/sign-in`);
    t.is(await page.title(), "Sign in");
  }
});

inBrowser("what the API refuses is said in its own words, and the page goes on", async (t) => {
  const ana = await signIn();
  const { page } = await browser.open(application.origin);
  await create(page, "twice", "a");
  await row(page, "twice").waitFor();
  await create(page, "twice", "b");
  await says(page, "A row with these identifying values exists already.");
  await create(page, "large", "x".repeat(64 * 1024 + 1));
  await says(page, /64 KiB|limit/);
  await asAdmin(server.database, "update public.user_credentials set is_active = false where user_id = $1", [ana]);
  await press(page, "twice", "Reveal");
  await says(page, "This credential is revoked.");
  await create(page, "large", "no longer");
  await row(page, "large").waitFor();
  t.deepEqual((await namesOf(ana)).toSorted(), ["large", "twice"]);
});

inBrowser("while the server is busy the page waits as long as it is told, and tries again", async (t) => {
  const busy = await startTestServer({ env: { CORS_ORIGINS: application.origin, KEYROW_MAX_REQUESTS: "1" } });
  t.teardown(busy.stop);
  const ana = await signIn(busy);
  await makeCredentials(busy, ana, 1);
  await withConnection(busy.database.url("postgres"), async (client) => {
    await client.query("begin; lock table public.user_credentials in access exclusive mode");
    const holding = busy.query(ana, "{ userCredentials { nodes { id } } }");
    const waits = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    await until(async () => (await client.query(waits)).rowCount !== 0);
    const { page } = await browser.open(application.origin);
    const refused = await page.waitForResponse((response) => response.status() === 503);
    t.is(refused.headers()["retry-after"], "1");
    await client.query("commit");
    await row(page, "n0").waitFor();
    t.deepEqual((await holding).codes, []);
  });
});
