import type pg from "pg";
import { lacksSeam, logFindings, outOfPlace, readStockSeam, seamScript } from "./adopt/activity-log.ts";
import { NoAnswer } from "./adopt/attempt.ts";
import { credentialFindings, formerCredentials, loadScript, rowFindings } from "./adopt/credentials.ts";
import { type Facts, readFacts } from "./adopt/facts.ts";
import { type Finding, inUtf8, shown, tableOf } from "./adopt/finding.ts";
import { identityFindings } from "./adopt/identity.ts";
import { limitFindings, usageScript } from "./adopt/limits.ts";
import { objectFindings, versionFinding } from "./adopt/objects.ts";
import { rightFindings } from "./adopt/rights.ts";
import { refuseReach } from "./reach.ts";
import { elsewhere, withConnection } from "./setup.ts";
import { unreachable } from "./unreachable.ts";

/** What the check of an application's database comes to. */
export interface Adoption {
  /** Nothing stands in the way, and nothing is left to run. */
  readonly ready: boolean;
  readonly findings: readonly Finding[];
  readonly sql: {
    /** For the application's owner: before `keyrow migrate`, and after it what names Keyrow's functions; empty where there is nothing to run. */
    readonly before: string;
    /** For keyrow_migrate, after it; empty where there is nothing to run. */
    readonly after: string;
  };
}

const STATEMENT_MS = 60_000;

const OWN_LOGIN =
  "Connect as the application's owner; where that is a superuser, as a login with BYPASSRLS that was granted pg_read_all_data.";

/**
 * Checks an application's database, in one read-only transaction, which ends with the connection. `userSetting`: what its
 * `current_user_id()` is said to read; `statementMs`: how long one answer may take. Throws DATABASE_UNREACHABLE, and
 * DATABASE_RIGHTS for a login that could do more there than read.
 */
export async function checkAdoption(
  url: string,
  userSetting: string,
  statementMs: number = STATEMENT_MS,
): Promise<Adoption> {
  const work = async (client: pg.Client) => {
    await client.query(`
      begin isolation level repeatable read read only;
      set local search_path = pg_catalog, pg_temp;
      set local statement_timeout = ${statementMs}`);
    // A transaction that only reads can still run programs and write files.
    await refuseReach(client, OWN_LOGIN);
    return check(client, userSetting);
  };
  try {
    // A function can go on after the server has ended its statement.
    return await withConnection(url, work, { ...elsewhere, query_timeout: statementMs * 1.1 });
  } catch (error) {
    throw unreachable(url, error) ?? error;
  }
}

async function check(client: pg.Client, userSetting: string): Promise<Adoption> {
  const { rows } = await client.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  );
  const tooOld = versionFinding(rows[0]?.version ?? 0);
  if (tooOld !== undefined) return { ready: false, findings: [tooOld], sql: { before: "", after: "" } };
  const facts = await readFacts(client);
  const stockSeam = await readStockSeam();
  const findings = [
    ...objectFindings(facts),
    ...rightFindings(facts),
    ...limitFindings(facts),
    ...logFindings(facts, stockSeam),
    ...credentialFindings(facts),
    ...(await answeredFindings(client, facts, userSetting)),
  ];
  return {
    ready: findings.every(({ severity }) => severity === "note"),
    findings,
    sql: { before: scriptBefore(facts, findings), after: scriptAfter(facts, stockSeam) },
  };
}

/** What the application's own functions and rows say, as far as they do. */
async function answeredFindings(client: pg.Client, facts: Facts, userSetting: string): Promise<Finding[]> {
  const found: Finding[] = [];
  try {
    for await (const one of identityFindings(client, facts, userSetting)) found.push(one);
    for await (const one of rowFindings(client, facts)) found.push(one);
  } catch (error) {
    if (!(error instanceof NoAnswer)) throw error;
    found.push(error.finding);
  }
  return found;
}

function scriptBefore({ tables, migrated }: Facts, findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ name, sql = [] }) => (sql.length > 0 ? [`-- ${shown(name)}`, ...sql] : []));
  if (lines.length === 0) return "";
  const owners = [...new Set(tables.map(({ owner }) => owner))].filter((owner) => owner !== "keyrow_owner");
  return inUtf8(`-- For the owner of the application's tables (${shown(owners)}), ${migrated ? "after" : "after `keyrow setup --print` and before"} \`keyrow migrate\`:
--   keyrow adopt --sql before | psql -v ON_ERROR_STOP=1 "$APP_OWNER_URL"
${lines.join("\n")}
`);
}

function scriptAfter(facts: Facts, stockSeam: string): string {
  const log = tableOf(facts, "activity_logs");
  const former = formerCredentials(facts);
  const seam = log !== undefined && lacksSeam(facts, log, stockSeam) && outOfPlace(log).length === 0;
  const parts = [seam && seamScript(log), former !== undefined && loadScript(former), usageScript(facts)].filter(
    (part) => part !== false && part !== "",
  );
  return parts.length > 0 ? inUtf8(parts.join("\n")) : "";
}
