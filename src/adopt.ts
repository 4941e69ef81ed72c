import type pg from "pg";
import { logFindings, misfits, readStockSeam, seamScript, seamState } from "./adopt/activity-log.ts";
import { credentialFindings, formerCredentials, loadScript } from "./adopt/credentials.ts";
import { type Facts, readFacts } from "./adopt/facts.ts";
import { type Finding, shown, tableOf } from "./adopt/finding.ts";
import { identityFindings } from "./adopt/identity.ts";
import { objectFindings, versionFinding } from "./adopt/objects.ts";
import { rightFindings } from "./adopt/rights.ts";
import { withConnection } from "./setup.ts";
import { unreachable } from "./unreachable.ts";

/** What the check of an application's database comes to. */
export interface Adoption {
  /** Nothing stands in the way, and nothing is left to run. */
  readonly ready: boolean;
  readonly findings: readonly Finding[];
  readonly sql: {
    /** For the application's owner, before `keyrow migrate`; empty where there is nothing to run. */
    readonly before: string;
    /** For keyrow_migrate, after it; empty where there is nothing to run. */
    readonly after: string;
  };
}

/**
 * Checks an application's database, in one read-only transaction that is taken back. `userSetting`: what its
 * `current_user_id()` is said to read. Throws DATABASE_UNREACHABLE.
 */
export async function checkAdoption(url: string, userSetting: string): Promise<Adoption> {
  try {
    return await withConnection(url, async (client) => {
      await client.query("begin isolation level repeatable read read only; set local search_path = pg_catalog");
      try {
        return await check(client, userSetting);
      } finally {
        await client.query("rollback");
      }
    });
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
    ...(await identityFindings(client, facts, userSetting)),
    ...rightFindings(facts),
    ...logFindings(facts, stockSeam),
    ...(await credentialFindings(client, facts)),
  ];
  return {
    ready: findings.every(({ severity }) => severity === "note"),
    findings,
    sql: { before: scriptBefore(facts, findings), after: scriptAfter(facts, stockSeam) },
  };
}

function scriptBefore({ tables }: Facts, findings: readonly Finding[]): string {
  const lines = findings.flatMap(({ name, sql = [] }) => (sql.length > 0 ? [`-- ${shown(name)}`, ...sql] : []));
  if (lines.length === 0) return "";
  const owners = [...new Set(tables.map(({ owner }) => owner))].filter((owner) => owner !== "keyrow_owner");
  return `-- For the owner of the application's tables (${shown(owners)}), after \`keyrow setup --print\` and before \`keyrow migrate\`:
--   keyrow adopt --sql before | psql -v ON_ERROR_STOP=1 "$APP_OWNER_URL"
${lines.join("\n")}
`;
}

function scriptAfter(facts: Facts, stockSeam: string): string {
  const log = tableOf(facts, "activity_logs");
  const former = formerCredentials(facts);
  const seam = log !== undefined && misfits(log).length > 0 && seamState(facts, stockSeam) !== "own";
  return [seam && seamScript(log), former !== undefined && loadScript(former)]
    .filter((part) => part !== false)
    .join("\n");
}
