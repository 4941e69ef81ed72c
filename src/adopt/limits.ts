import type { Facts, Table } from "./facts.ts";
import { BY_OWNER, type Finding, identifier, literal } from "./finding.ts";
import { binds } from "./rights.ts";

const ALL = "(select keyrow.is_unlimited())";
const COMMANDS = ["select", "insert", "update", "delete"] as const;

/** What a limited token sees of a table, as `keyrow.limit_foundation()` has it for tables of Keyrow's own. */
const sees: Readonly<Record<string, readonly [rule: string, comment: string]>> = {
  users: ["id = (select public.current_user_id())", "A limited token sees its own user alone."],
  workspaces: [
    "id = all (array(select keyrow.limit_workspace_ids()))",
    "A token that is limited to a workspace sees that one alone.",
  ],
  workspace_members: [
    "user_id = (select public.current_user_id()) and workspace_id = all (array(select keyrow.limit_workspace_ids()))",
    "A limited token sees its own user's memberships alone, and that of the workspace that it is limited to.",
  ],
  activity_logs: ["false", "A limited token reads nothing of the log, which tells of credentials beyond its limits."],
};

/** What holds tokens, those with limits, and machines, to theirs on the application's tables: only their owner can make it. */
export function limitFindings(facts: Facts): Finding[] {
  return facts.tables.flatMap((table): Finding[] => {
    const { name, columns } = table;
    if (!columns.some((column) => facts.rights.has(`keyrow_user select ${name}.${column.name}`))) return [];
    return [...unsecured(table), ...unlimited(facts, table), ...machineless(facts, table)];
  });
}

/** Policies on a table without row level security are there, and bind nobody. */
function unsecured({ name, rowSecurity }: Table): Finding[] {
  if (rowSecurity) return [];
  return [
    {
      name: `security.${name}`,
      severity: "in the way",
      what: `keyrow_user may read public.${name}, which has no row level security: everybody with a token sees all its rows, and limits of tokens don't hold there.`,
      remedy:
        "its owner enables it, with policies for all who use the table, or revokes select on it from keyrow_user, and from public where everybody has it",
    },
  ];
}

function unlimited(facts: Facts, table: Table): Finding[] {
  const { name, policies } = table;
  const [rule, comment] = sees[name] ?? [];
  if (binds(table, "r", "keyrow_user") || rule === undefined || comment === undefined) return [];
  const what = `keyrow_user may read public.${name}, where no restrictive policy holds a token to its limits.`;
  const sql = COMMANDS.map((command) => [`${name}_${command}_limited`, command] as const)
    .filter(([policy]) => !policies.some((one) => one.name === policy))
    .flatMap(([policy, command]) => [
      `create policy ${policy} on public.${name} as restrictive for ${command} to ${boundBy(name, command)}${clauses(command, rule)};`,
      `comment on policy ${policy} on public.${name} is ${literal(command === "select" ? comment : "A limited token writes nothing but credentials.")};`,
    ]);
  return [finding(facts, table, `limits.${name}`, what, sql)];
}

// A user's row at a first token is made by keyrow_reveal, and not for a limited one.
function boundBy(table: string, command: string): string {
  return table === "users" && command === "insert" ? "keyrow_user, keyrow_reveal" : "keyrow_user";
}

function clauses(command: (typeof COMMANDS)[number], rule: string): string {
  if (command === "select") return `\n  using (${ALL} or (${rule}))`;
  if (command === "insert") return ` with check (${ALL})`;
  return command === "update" ? `\n  using (${ALL}) with check (${ALL})` : ` using (${ALL})`;
}

/** A machine is nobody's member, so that no policy of the application shows it its workspace. */
function machineless(facts: Facts, table: Table): Finding[] {
  const policy = "workspaces_select_machine";
  if (table.name !== "workspaces" || !table.rowSecurity || table.policies.some(({ name }) => name === policy))
    return [];
  const what = "No policy on public.workspaces shows a machine its workspace, which it then can't find by its name.";
  const sql = [
    `create policy ${policy} on public.workspaces\n  for select to keyrow_user using (id = (select keyrow.machine_workspace_id()));`,
    `comment on policy ${policy} on public.workspaces is ${literal("A machine sees the workspace whose credentials it has.")};`,
  ];
  return [finding(facts, table, "machines.workspaces", what, sql)];
}

/** They name Keyrow's functions, which are there after the migration, and to its owner after `usageScript`. */
function finding(facts: Facts, { owner }: Table, name: string, what: string, sql: string[]): Finding {
  if (!facts.migrated) {
    return { name, severity: "note", what, remedy: "check again after `keyrow migrate`: it then prints one" };
  }
  if (facts.withoutUsage.includes(owner)) {
    return {
      name,
      severity: "to run",
      what,
      remedy: "keyrow_migrate runs what `keyrow adopt --sql after` prints; then check again",
    };
  }
  return { name, severity: "to run", what, remedy: BY_OWNER, sql };
}

/** For keyrow_migrate: lets the owners of the application's tables name Keyrow's functions in policies; empty where they may. */
export function usageScript({ migrated, withoutUsage }: Facts): string {
  if (!migrated || withoutUsage.length === 0) return "";
  return `-- Policies on the application's tables name functions of Keyrow: this lets their owner name them, and execute none.
begin;
set local role keyrow_owner;
grant usage on schema keyrow to ${withoutUsage.map(identifier).join(", ")};
commit;
`;
}
