import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { styleText } from "node:util";
import { interruption } from "../src/signals.ts";
import { type BenchCluster, startCluster } from "./database.ts";
import { startOpenBao } from "./openbao.ts";
import { type Options, readOptions, usage } from "./options.ts";
import { makeSecrets, type Secrets } from "./people.ts";
import { stopAll } from "./processes.ts";
import { formatReport, makeReport, type Report } from "./report.ts";
import { measureRewrap } from "./rewrap.ts";
import type { Pace } from "./rounds.ts";
import { measureScale } from "./scale.ts";
import { measureSpeed } from "./speed.ts";
import { measureTransit } from "./transit.ts";

const interrupted = interruption();
const progress = (line: string) =>
  void (process.stderr.isTTY && process.stderr.write(`${styleText("dim", line, { stream: process.stderr })}\n`));

try {
  const options = readOptions(process.argv.slice(2));
  if (options.help) process.stdout.write(usage);
  else process.exitCode = await main(options);
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
process.exit();

async function main(options: Options): Promise<number> {
  progress("Making a PostgreSQL...");
  const cluster = await startCluster();
  try {
    const report = await Promise.race([measure(cluster, options), interrupted]);
    if (report === undefined) return 130;
    const json = `${JSON.stringify(report, null, 2)}\n`;
    process.stdout.write(options.json ? json : formatReport(report));
    if (options.out !== undefined) writeFileSync(options.out, json);
    return 0;
  } finally {
    await stopAll();
    await cluster.stop();
  }
}

async function measure(cluster: BenchCluster, options: Options): Promise<Report> {
  const { quick, scale, openbao, rewrap, only } = options;
  // Many short rounds: what else the machine does then hits those side by side alike. Before them Node compiles what runs
  // often, which takes it some thousand requests.
  const pace = quick ? { rounds: 5, ms: 250, warmUpMs: 500 } : { rounds: 21, ms: 400, warmUpMs: 5_000 };
  const secrets = await makeSecrets(cluster.directory);
  const profiles = options.profiles && resolve(options.profiles);
  if (scale) return makeReport(await measureScale(cluster, secrets, { pace, profiles, progress }));
  if (openbao || rewrap) return measureOpenBao(cluster, secrets, options, pace);
  const hotRow = only.includes("reveal-one");
  const { compared, measured } = await measureSpeed(cluster, secrets, { pace, only, hotRow, profiles, progress });
  return makeReport(measured, compared);
}

async function measureOpenBao(cluster: BenchCluster, secrets: Secrets, options: Options, pace: Pace): Promise<Report> {
  progress("Starting an OpenBao...");
  const openBao = await startOpenBao(cluster.directory);
  try {
    const database = await cluster.database("bench_openbao");
    const { only, rows } = options;
    if (options.rewrap) return makeReport(await measureRewrap({ database, secrets, openBao }, { rows, progress }));
    const profiles = options.profiles && resolve(options.profiles);
    const { compared, measured } = await measureTransit(database, secrets, openBao, { pace, only, profiles, progress });
    return makeReport(measured, compared);
  } finally {
    await openBao.stop();
  }
}
