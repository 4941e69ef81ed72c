import { existsSync, readdirSync, readFileSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type BrowserContext, chromium, type Page } from "playwright-core";
import { makeTemporaryDirectory, removeWithServers } from "./cluster.ts";

const path = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
].find((one) => existsSync(one));

/**
 * A test in a real browser, one after another within a file. On a machine without one it is skipped, aloud, and counted;
 * in CI its absence is a failure.
 */
export function inBrowser(title: string, run: (t: ExecutionContext) => Promise<void>): void {
  if (path !== undefined || process.env.CI) test.serial(title, run);
  else test.serial.skip(`${title} (there is NO CHROMIUM here: apt-get install chromium)`, run);
}

/** A headless Chromium with a profile of its own, on disk. */
export interface Browser {
  readonly context: BrowserContext;
  /** Where it keeps what it keeps: cache, storage and all. */
  readonly profile: string;
  /** A new page, and what went wrong in it so far: errors, warnings and what a policy stopped, as its console has them. */
  open(url: string): Promise<{ page: Page; complaints: readonly string[] }>;
  /** Ends the browser; its profile stays to be looked at. */
  quit(): Promise<void>;
  /** Ends the browser and removes its profile. */
  stop(): Promise<void>;
}

/** Starts a browser of the system's packages. */
export async function startBrowser(): Promise<Browser> {
  if (path === undefined) throw new Error("There is no Chromium here: apt-get install chromium");
  const profile = makeTemporaryDirectory("keyrow-chromium-");
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: path,
    // As root it can't have one.
    chromiumSandbox: process.getuid?.() !== 0,
    args: ["--disable-gpu", "--disable-quic"],
    // It writes beside its profile as well.
    env: { ...process.env, HOME: profile, XDG_CONFIG_HOME: profile, XDG_CACHE_HOME: join(profile, "cache") },
    viewport: { width: 1280, height: 800 },
  });
  context.setDefaultTimeout(30_000);
  const quit = () => context.close();
  return {
    context,
    profile,
    quit,
    async open(url) {
      const page = await context.newPage();
      const complaints: string[] = [];
      // A complaint may hold a whole file.
      const complain = (text: string) => complaints.push(text.slice(0, 300));
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) complain(message.text());
      });
      page.on("pageerror", ({ message }) => complain(message));
      await page.goto(url);
      return { page, complaints };
    },
    async stop() {
      await quit();
      await removeWithServers(profile);
    },
  };
}

/** The files of a profile that hold a text. The browser has to be gone, for it writes as it goes. */
export function filesHolding(profile: string, text: string): string[] {
  return readdirSync(profile, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => [text, Buffer.from(text, "utf16le")].some((form) => readFileSync(file).includes(form)));
}

/** A web site of a test's, on an origin of its own. */
export interface Site {
  readonly origin: string;
  stop(): Promise<void>;
}

/** Serves a site on loopback. */
export async function startSite(answer: RequestListener): Promise<Site> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
