import { existsSync } from "node:fs";
import { createKeyFile, readKeyFile } from "./cipher/keyfile.ts";
import { coloured } from "./colour.ts";
import type { Config } from "./config.ts";
import { type Demo, findDemo, loadDemo } from "./demo.ts";
import type { EmbeddedOpenBao } from "./embedded/openbao/server.ts";
import type { EmbeddedDatabase } from "./embedded-database.ts";
import { openEmbeddedParts } from "./embedded-parts.ts";
import { KeyrowError } from "./errors.ts";
import { listedIssuers } from "./issuers/file.ts";
import { secretKey } from "./jwt-key.ts";
import { createLog, redirectConsole } from "./log.ts";
import { createMetrics } from "./metrics.ts";
import { startHealing } from "./reseal/heal.ts";
import { createRing } from "./ring.ts";
import { serve } from "./serve.ts";
import { withConnection } from "./setup.ts";
import { interruption } from "./signals.ts";
import { ownSigningKey, readSigningKey, type SigningKey, signingKeyPath } from "./signing-key.ts";
import { createSigner, type TokenRules } from "./token.ts";
import { version } from "./version.ts";
import { openWorkerDatabase } from "./worker-database.ts";

const DEMO_TOKEN_SECONDS = 24 * 60 * 60;

/** What the command line adds to the configuration. */
export interface StartOptions {
  /** Follow changes of the database's schema. */
  readonly watch: boolean;
  /** Run an OpenBao, though the data directory has none yet. */
  readonly openbao: boolean;
}

/** Runs everything on one machine, until a signal ends it. */
export async function runStart(config: Config, { watch, openbao }: StartOptions): Promise<void> {
  const interrupted = interruption();
  const issuers = listedIssuers(config.jwt);
  const progress = (line: string) => void process.stderr.write(`${coloured("dim", line, process.stderr)}\n`);
  const { database, openBao, stop } = await openEmbeddedParts(config, openbao, progress);
  const cleanUp: Array<() => Promise<unknown>> = [stop];
  try {
    const log = createLog(config.logLevel);
    const metrics = createMetrics();
    const ring = createRing({
      localKeys: await localKeys(config, database, progress),
      keyFile: config.keyFile.path,
      openBao: openBaoOf(config, openBao),
      fallback: config.fallback,
      log,
      meters: metrics,
    });
    cleanUp.push(() => ring.close());
    await ring.check();
    const rules: TokenRules = { ...config.jwt, key: config.jwt.key ?? secretKey(database.secrets.jwtSecret) };
    const signingKey = await signingKeyOf(config);
    const demo = await withConnection(database.url("postgres"), async (client) => {
      await database.firstStart(async () => {
        if (config.demo) await loadDemo(client, ring.cipher);
      });
      return findDemo(client);
    });
    const token = demo && demoToken(rules, demo);
    redirectConsole(log);
    progress("Building the API...");
    const serving = await serve(config, {
      databaseUrl: database.url("keyrow_authenticator"),
      ring,
      metrics,
      rules,
      issuers,
      signingKey,
      log,
      graphiqlToken: token,
      watchAs: watch ? database.url("postgres") : undefined,
    });
    cleanUp.push(() => serving.stop());
    if (ring.transit !== undefined) {
      const worker = await openWorkerDatabase(database.url("keyrow_worker"));
      const healing = startHealing({ ...worker, ring, log });
      cleanUp.push(
        () => worker.pool.end(),
        () => healing.stop(),
      );
    }
    process.stdout.write(banner(config, { port: serving.port, openBao, demo, token }));
    await Promise.race([interrupted, unexpectedExit(database)]);
    progress("Stopping...");
  } finally {
    await closeAll(cleanUp.reverse());
  }
}

/** Closes what was opened last first, all of it whatever fails, and throws the first failure. */
async function closeAll(steps: ReadonlyArray<() => Promise<unknown>>): Promise<void> {
  const failures: unknown[] = [];
  for (const close of steps) await close().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
}

/** The OpenBao that seals: the one that is configured, or the data directory's own. */
function openBaoOf({ openBao: given, transitKey }: Config, own: EmbeddedOpenBao | undefined) {
  if (given !== undefined) return { access: given, place: transitKey };
  return own && { access: own.access, place: own.transitKey };
}

/** The key of the file that is named, which must exist, or the data directory's own. */
function signingKeyOf(config: Config): Promise<SigningKey> {
  const path = signingKeyPath(config);
  return config.signingKeyFile === undefined ? ownSigningKey(path) : readSigningKey(path);
}

async function unexpectedExit(database: EmbeddedDatabase): Promise<never> {
  await database.exited;
  throw new KeyrowError("EMBEDDED_POSTGRES", {
    message: "The embedded PostgreSQL ended by itself.",
    hint: "Nothing that was answered is lost. Start again; its log in the data directory says more.",
  });
}

async function localKeys(
  { keyFile: { path, mayCreate } }: Config,
  database: EmbeddedDatabase,
  progress: (line: string) => void,
) {
  if (!mayCreate || existsSync(path)) return readKeyFile(path);
  // Values without their key: a new one would open none of them, and look like the one that is missing.
  const { rows } = await withConnection(database.url("keyrow_authenticator"), (client) =>
    client.query("select from keyrow.key_census() where key_id like 'local:%'"),
  );
  if (rows.length > 0) return readKeyFile(path);
  progress(`Making a key: ${path}. Back it up: without it no value opens.`);
  return createKeyFile(path);
}

function demoToken(rules: TokenRules, { userId }: Demo): string | undefined {
  // With a public key, tokens come from elsewhere.
  if (rules.key.algorithm !== "HS256") return undefined;
  return createSigner(rules)({ userId, expiresIn: DEMO_TOKEN_SECONDS });
}

/** What of a start its banner tells. */
interface Started {
  readonly port: number;
  readonly openBao: EmbeddedOpenBao | undefined;
  readonly demo: Demo | undefined;
  readonly token: string | undefined;
}

function banner(config: Config, { port, openBao, demo, token }: Started): string {
  const { host, graphiql, dataDirectory } = config;
  const name = host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host.includes(":") ? `[${host}]` : host;
  const base = `http://${name}:${port}`;
  const bold = (text: string) => coloured("bold", text, process.stdout);
  const rows = [
    ["GraphQL", `${base}/graphql`],
    ...(graphiql ? [["GraphiQL", `${base}/graphiql`]] : []),
    ["Health", `${base}/readyz`],
    ["Data", dataDirectory],
    ...(openBao ? [["OpenBao", `unsealed, on ${openBao.socket}`]] : []),
    ["psql", "npx keyrow db psql"],
  ];
  const lines = [
    "",
    bold(`Keyrow ${version} is ready`),
    "",
    ...rows.map(([label = "", text]) => `  ${label.padEnd(10)}${text}`),
    "",
  ];
  if (demo !== undefined && token !== undefined) {
    const query = `{ userCredential(id: "${demo.credentialId}") { provider name value } }`;
    lines.push(
      `${demo.userName}'s demo credential, revealed and on the record (the token is good for a day):`,
      "",
      `curl -s ${base}/graphql -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '${JSON.stringify({ query })}'`,
      "",
    );
  }
  return `${[...lines, "Ctrl-C stops it."].join("\n")}\n`;
}
