import { callers, type Facts, type Table } from "./facts.ts";
import { BY_OWNER, type Finding, identifier, shown, tableOf, USUAL_PATH } from "./finding.ts";

/** What Keyrow's roles lack on the application's objects, and what everybody may do there. */
export function rightFindings(facts: Facts): Finding[] {
  return [
    ...readFindings(facts),
    ...grantFindings(facts),
    ...executeFindings(facts),
    ...reachFindings(facts),
    ...policyFindings(facts),
    ...restrictionFindings(facts),
    ...openFindings(facts),
  ];
}

/** What is granted on a table, where all its columns are there. */
function grantFindings(facts: Facts): Finding[] {
  const admin = facts.routines.find(({ name, types }) => name === "is_workspace_admin" && types === "uuid, uuid");
  // Called by keyrow_reveal's functions: without its owner's rights it reads with theirs.
  const members =
    admin?.definer === false ? (tableOf(facts, "workspace_members")?.columns ?? []).map(({ name }) => name) : [];
  const grants = [
    { to: "keyrow_owner", right: "references", table: "users", columns: ["id"], why: "for foreign keys" },
    { to: "keyrow_owner", right: "references", table: "workspaces", columns: ["id"], why: "for foreign keys" },
    { to: "keyrow_reveal", right: "select", table: "workspaces", columns: ["id"], why: "to ask who is admin of which" },
    {
      to: "keyrow_reveal",
      right: "select",
      table: "workspace_members",
      columns: members.length > 0 ? members : ["workspace_id", "user_id"],
      why: "to ask who belongs where",
    },
  ];
  return grants.flatMap(({ to, right, table, columns, why }): Finding[] => {
    if (right === "select" && table === "workspaces" && !readsWorkspaces(facts)) return [];
    const there = tableOf(facts, table)?.columns.map(({ name }) => name) ?? [];
    if (!columns.every((column) => there.includes(column))) return [];
    if (columns.every((column) => facts.rights.has(`${to} ${right} ${table}.${column}`))) return [];
    return [
      {
        name: `grant.${table}.${right}`,
        severity: "to run",
        what: `${to} lacks the right ${right} on public.${table}, ${why}.`,
        remedy: BY_OWNER,
        sql: [`grant ${right} (${columns.map(identifier).join(", ")}) on public.${table} to ${to};`],
      },
    ];
  });
}

/** Whether keyrow_reveal looks into workspaces: a faster `admin_workspace_ids` may not, and a log without keys to them. */
function readsWorkspaces(facts: Facts): boolean {
  const seam = facts.routines.find(({ schema, name }) => schema === "keyrow" && name === "admin_workspace_ids");
  const log = tableOf(facts, "activity_logs");
  return (
    seam === undefined ||
    /\bworkspaces\b/.test(seam.source) ||
    (log?.columns.some(({ refers }) => refers?.table === "workspaces") ?? false)
  );
}

function executeFindings({ routines, rights }: Facts): Finding[] {
  return Object.entries(callers).flatMap(([name, roles]): Finding[] => {
    const found = ofPublic(routines, name);
    const lacking = roles.filter((role) => !rights.has(`${role} execute ${name}`));
    if (found === undefined || found.forEverybody || lacking.length === 0) return [];
    return [
      {
        name: `grant.${name}`,
        severity: "to run",
        what: `${lacking.join(", ")} may not execute public.${name}(${found.types}).`,
        remedy: BY_OWNER,
        sql: [`grant execute on function public.${name}(${found.types}) to ${lacking.join(", ")};`],
      },
    ];
  });
}

function ofPublic(routines: Facts["routines"], named: string): Facts["routines"][number] | undefined {
  return routines.find(({ schema, name }) => schema === "public" && name === named);
}

/** Without its owner's rights, a function calls others with those of Keyrow's role that calls it. */
function reachFindings({ reach }: Facts): Finding[] {
  return reach.map(({ routine, name, lacking }) => ({
    name: `grant.${routine}.schema`,
    severity: "to run",
    what: `public.${routine} calls what is in the schema ${shown(name)}, which ${lacking.join(", ")} may not name.`,
    remedy: BY_OWNER,
    sql: [`grant usage on schema ${identifier(name)} to ${lacking.join(", ")};`],
  }));
}

/** Which table it is can be told from its text; whether all of its rows are meant, the application alone knows. */
function readFindings({ reads, routines }: Facts): Finding[] {
  return reads.map(({ routine, name, lacking }) => {
    const types = ofPublic(routines, routine)?.types;
    return {
      name: `function.${routine}.reads`,
      severity: "in the way",
      what: `public.${routine} reads ${shown(name)} with its caller's rights, and ${lacking.join(", ")} may not read that.`,
      remedy: `let it run with its owner's rights: alter function public.${routine}(${types}) security definer set search_path = ${USUAL_PATH}; or let them read the table, by a policy too where it has row level security`,
    };
  });
}

/** Where the application has row level security, keyrow_reveal needs a policy of its own to read who belongs where. */
function policyFindings(facts: Facts): Finding[] {
  return ["workspaces", "workspace_members"].flatMap((name): Finding[] => {
    if (name === "workspaces" && !readsWorkspaces(facts)) return [];
    const table = tableOf(facts, name);
    if (table === undefined || !table.rowSecurity || allows(table, "r", "keyrow_reveal")) return [];
    return [
      {
        name: `policy.${name}`,
        severity: "to run",
        what: `Row level security on public.${name} has no policy for keyrow_reveal, which answers for the asking user alone.`,
        remedy: BY_OWNER,
        sql: [`create policy ${name}_select_reveal on public.${name} for select to keyrow_reveal using (true);`],
      },
    ];
  });
}

/** Whether a table has a policy that names the role for a command (`r` select, `a` insert). */
export function allows({ policies }: Table, command: "r" | "a", role: string): boolean {
  return policies.some((one) => one.permissive && [command, "*"].includes(one.command) && one.roles.includes(role));
}

/** Whether a restrictive policy of a table binds the role for a command, by its name or as it binds everybody. */
export function binds({ policies }: Table, command: "r" | "a", role: string): boolean {
  return policies.some(
    (one) =>
      !one.permissive &&
      [command, "*"].includes(one.command) &&
      one.roles.some((bound) => ["public", role].includes(bound)),
  );
}

/** Restrictive policies bind keyrow_reveal as they bind everybody; what they let pass only their owner knows. */
function restrictionFindings({ tables }: Facts): Finding[] {
  const uses = [
    { table: "workspaces", command: "r", what: "reads it for whoever asks" },
    { table: "workspace_members", command: "r", what: "reads it for whoever asks" },
    { table: "activity_logs", command: "a", what: "writes to it with any claims or none" },
  ] as const;
  return uses.flatMap(({ table, command, what }): Finding[] => {
    const found = tables.find(({ name }) => name === table);
    if (!found?.rowSecurity || !binds(found, command, "keyrow_reveal")) return [];
    return [
      {
        name: `policy.${table}.restrictive`,
        severity: "note",
        what: `A restrictive policy on public.${table} binds keyrow_reveal as well, which ${what}.`,
        remedy: "see that it lets keyrow_reveal pass, or make it for the application's roles alone",
      },
    ];
  });
}

/** What a stolen API-role connection may do beside Keyrow: the API itself shows none of it. */
function openFindings({ openTables, openRoutines }: Facts): Finding[] {
  const open = [
    {
      name: "public.tables",
      names: openTables,
      what: "Tables that everybody may use, and so Keyrow's roles as well",
      remedy: "grant on them to the application's roles alone, and revoke from public",
    },
    {
      name: "public.functions",
      names: openRoutines,
      what: "Functions that run with their owner's rights, for everybody",
      remedy: "revoke execute on them from public, and grant it to the application's roles",
    },
  ];
  return open
    .filter(({ names }) => names.length > 0)
    .map(({ name, names, what, remedy }) => ({ name, severity: "note", what: `${what}: ${shown(names)}.`, remedy }));
}
