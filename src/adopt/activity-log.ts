import { readFile } from "node:fs/promises";
import { isPrintable } from "../printable.ts";
import { migrationsFolder } from "../setup.ts";
import type { Column, Facts, Table } from "./facts.ts";
import { BY_OWNER, type Finding, identifier, shown, tableOf } from "./finding.ts";
import { logged } from "./objects.ts";
import { allows } from "./rights.ts";

/** What Keyrow's own `log_credential_events` writes. */
const written: Readonly<Record<string, string>> = {
  user_id: "uuid",
  workspace_id: "uuid",
  action: 'public."ActivityAction"',
  entity_type: 'public."EntityType"',
  entity_id: "uuid",
  details: "jsonb",
};

/** What is in a skeleton where only the application's owner knows what to write. */
export const TO_FILL_IN = "/* fill in: ";

/** What an application's activity log needs that Keyrow's own has: rights, a policy, a function that fills it. */
export function logFindings(facts: Facts, stockSeam: string): Finding[] {
  const table = tableOf(facts, "activity_logs");
  if (table === undefined) return [];
  return [
    ...formFindings(facts, table, stockSeam),
    ...loginFindings(facts, table),
    ...keyFindings(table),
    ...insertFindings(facts, table),
  ];
}

/** Why Keyrow's own function can't fill this log: a line each. */
function misfits({ columns }: Table): string[] {
  return [
    ...Object.entries(written).flatMap(([name, type]) => {
      const found = columns.find((one) => one.name === name);
      if (found === undefined) return [`it has no ${name}`];
      return found.type === type ? [] : [`${name} has the type ${shown(found.type)}`];
    }),
    ...columns
      .filter(({ name, notNull, filled }) => notNull && !filled && !(name in written))
      .map(({ name }) => `${shown(name)} can't be null and has no default`),
    // Without claims there is no user, and for a USER credential no workspace.
    ...columns
      .filter(({ name, notNull }) => notNull && ["user_id", "workspace_id"].includes(name))
      .map(({ name }) => `${name} can't be null`),
    // The entry about a deletion is written when the row it points to is gone.
    ...columns
      .filter(({ name, refers }) => refers !== null && name in written)
      .map(({ name, refers }) => `${name} refers to ${shown(refers?.table ?? "")}`),
  ];
}

/** What nobody's claims are set for is done by a login, and the function that fills the log does not say by which. */
function loginFindings(facts: Facts, { columns }: Table): Finding[] {
  if (columns.some(({ saysLogin }) => saysLogin) || /\bsession_user\b/i.test(seamOf(facts)?.source ?? "")) return [];
  return [
    {
      name: "log.login",
      severity: "note",
      what: "Entries of public.activity_logs don't say whose login made them: of what is done without a token, as by `keyrow system get`, nothing else says who did it.",
      remedy:
        "its owner runs: alter table public.activity_logs add column session_role text; alter table public.activity_logs alter column session_role set default session_user;",
    },
  ];
}

const seamOf = ({ routines }: Facts) =>
  routines.find(({ schema, name }) => schema === "keyrow" && name === "log_credential_events");

/** Whether the function that fills the log is missing, Keyrow's own, or one with places left to fill in. */
function seamState(facts: Facts, stockSeam: string): "missing" | "stock" | "unfinished" | "own" {
  const seam = seamOf(facts);
  if (seam === undefined) return "missing";
  if (sameWords(seam.source, stockSeam)) return "stock";
  return seam.source.includes(TO_FILL_IN) ? "unfinished" : "own";
}

/** Whether the log needs a function of the application's own, and has none. */
export function lacksSeam(facts: Facts, table: Table, stockSeam: string): boolean {
  return misfits(table).length > 0 && seamState(facts, stockSeam) !== "own";
}

/**
 * The columns whose names or types can't stand in the skeleton: it is quoted with dollars, and a name that ends the quote
 * has all that follows it read by psql, which runs programs where it finds a backslash outside of quotes.
 */
export function outOfPlace(table: Table): Column[] {
  return columnsToFill(table).filter(
    // In a type, the quotes around its name are the server's.
    ({ name, type }) => !isPrintable(name + type) || /[$\\'"`]/.test(name) || /[$\\'`]|""/.test(type),
  );
}

/** Whether two texts differ in spaces and line ends alone: each migration indents as it stands. */
const sameWords = (one: string, other: string) =>
  one.trim().split(/\s+/).join(" ") === other.trim().split(/\s+/).join(" ");

function formFindings(facts: Facts, table: Table, stockSeam: string): Finding[] {
  if (!lacksSeam(facts, table, stockSeam)) return [];
  const state = seamState(facts, stockSeam);
  const what = `public.activity_logs is not filled as Keyrow's own is: ${misfits(table).join("; ")}.`;
  const odd = outOfPlace(table);
  if (odd.length > 0) return [oddNames(what, odd)];
  const name = "log.form";
  if (state === "missing") {
    const remedy =
      "after `keyrow migrate`, replace keyrow.log_credential_events: `keyrow adopt --sql after` prints a skeleton";
    return [{ name, severity: "note", what, remedy }];
  }
  const remedy =
    state === "stock"
      ? "replace keyrow.log_credential_events: `keyrow adopt --sql after` prints a skeleton"
      : `replace each \`${TO_FILL_IN.trim()} ... */\` in keyrow.log_credential_events by what your log needs there`;
  return [{ name, severity: "to run", what, remedy }];
}

function oddNames(what: string, columns: readonly Column[]): Finding {
  const titles = columns.map(({ name, type }) => `${name} (${type})`);
  return {
    name: "log.names",
    severity: "in the way",
    what: `${what} No skeleton is printed for it: with dollars, backslashes, quotes or characters that can't be seen, these can't stand in one: ${shown(titles)}.`,
    remedy:
      "give these columns or types other names, or write keyrow.log_credential_events yourself once `keyrow migrate` has run",
  };
}

/** What deleting a user or a workspace does to the log. */
function keyFindings({ columns }: Table): Finding[] {
  return columns.flatMap(({ name, refers, notNull }): Finding[] => {
    if (refers === null || !["users", "workspaces"].includes(refers.table)) return [];
    const column = `public.activity_logs.${shown(name)}`;
    const remedy = `drop the foreign key, or ${notNull ? "let the column be null and make the key" : "make it"} \`on delete set null\``;
    if (["a", "r"].includes(refers.onDelete)) {
      return [
        {
          name: `log.undeletable.${shown(name)}`,
          severity: "note",
          what: `${column} refers to ${refers.table} without \`on delete\`: who is in the log can't be deleted, and every reveal is.`,
          remedy,
        },
      ];
    }
    if (refers.onDelete !== "c") return [];
    return [
      {
        name: `log.cascade.${shown(name)}`,
        severity: "note",
        what: `${column} refers to ${refers.table} \`on delete cascade\`: the record of reveals goes with the row.`,
        remedy,
      },
    ];
  });
}

function insertFindings(facts: Facts, table: Table): Finding[] {
  const filled = columnsToFill(table);
  const found: Finding[] = [];
  const lacks = (right: string) => !facts.rights.has(`keyrow_reveal ${right}`);
  if (filled.some(({ name }) => lacks(`insert activity_logs.${name}`))) {
    found.push({
      name: "grant.activity_logs.insert",
      severity: "to run",
      what: "keyrow_reveal may not insert into public.activity_logs.",
      remedy: BY_OWNER,
      sql: [
        `grant insert (${filled.map(({ name }) => identifier(name)).join(", ")}) on public.activity_logs to keyrow_reveal;`,
      ],
    });
  }
  if (table.rowSecurity && !allows(table, "a", "keyrow_reveal")) {
    found.push({
      name: "policy.activity_logs",
      severity: "to run",
      what: "Row level security on public.activity_logs has no policy that lets keyrow_reveal insert.",
      remedy: BY_OWNER,
      sql: [
        "create policy activity_logs_insert_reveal on public.activity_logs for insert to keyrow_reveal with check (true);",
      ],
    });
  }
  return [
    ...found,
    ...checkFindings(filled),
    ...sequenceFindings(facts, filled),
    ...defaultFindings(facts, filled),
    ...lookUpFindings(facts, filled),
  ];
}

/** What decides about the columns that an entry gives. */
function checkFindings(filled: readonly Column[]): Finding[] {
  const checks = [...new Set(filled.flatMap((column) => column.checks))];
  if (checks.length === 0) return [];
  return [
    {
      name: "log.check",
      severity: "note",
      what: `public.activity_logs checks what an entry gives: ${shown(checks)}. Where it refuses one, nothing is changed or revealed.`,
      remedy:
        "let it take CREDENTIAL_CREATED, CREDENTIAL_ACCESSED, CREDENTIAL_ROTATED and CREDENTIAL_REVOKED, and CREDENTIAL for what they are about",
    },
  ];
}

/** What the columns that an entry leaves out draw from. */
function sequenceFindings({ sequences }: Facts, filled: readonly Column[]): Finding[] {
  const lacking = sequences.filter(({ column, usable }) => !usable && !filled.some(({ name }) => name === column));
  if (lacking.length === 0) return [];
  return [
    {
      name: "grant.activity_logs.sequence",
      severity: "to run",
      what: `keyrow_reveal may not draw from the sequences of public.activity_logs: ${shown(lacking.map(({ column }) => column))}.`,
      remedy: BY_OWNER,
      sql: lacking.map(
        ({ schema, name }) => `grant usage on sequence ${identifier(schema)}.${identifier(name)} to keyrow_reveal;`,
      ),
    },
  ];
}

/** What the columns that an entry leaves out call. */
function defaultFindings({ defaults }: Facts, filled: readonly Column[]): Finding[] {
  const lacking = defaults.filter(({ column, usable }) => !usable && !filled.some(({ name }) => name === column));
  if (lacking.length === 0) return [];
  const columns = [...new Set(lacking.map(({ column }) => column))];
  const sql = lacking.map(({ schema, name, types }) => {
    const given = types.map((type) => type.map(identifier).join("."));
    return `grant execute on function ${identifier(schema)}.${identifier(name)}(${given.join(", ")}) to keyrow_reveal;`;
  });
  return [
    {
      name: "grant.activity_logs.default",
      severity: "to run",
      what: `keyrow_reveal may not execute the functions that columns of public.activity_logs are filled by: ${shown(columns)}.`,
      remedy: BY_OWNER,
      sql: [...new Set(sql)],
    },
  ];
}

/** The skeleton looks for users and workspaces that an entry may point to. Reading workspaces is needed anyway. */
function lookUpFindings(facts: Facts, filled: readonly Column[]): Finding[] {
  const users = tableOf(facts, "users");
  if (users === undefined || !filled.some(({ refers }) => refers?.table === "users")) return [];
  const sql = [
    !facts.rights.has("keyrow_reveal select users.id") && "grant select (id) on public.users to keyrow_reveal;",
    users.rowSecurity &&
      !allows(users, "r", "keyrow_reveal") &&
      "create policy users_select_reveal on public.users for select to keyrow_reveal using (true);",
  ].filter((line) => line !== false);
  if (sql.length === 0) return [];
  const what = "keyrow_reveal can't look up the users that an entry of public.activity_logs refers to.";
  return [{ name: "grant.users.select", severity: "to run", what, remedy: BY_OWNER, sql }];
}

/** The columns that an entry gives: those Keyrow knows something for, and those that can't be left out. */
function columnsToFill({ columns }: Table): Column[] {
  return columns.filter(({ name, notNull, filled }) => plain(name) in known || (notNull && !filled));
}

const plain = (name: string) => name.replaceAll("_", "").toLowerCase();

/** What an entry's columns hold, by name without case and underscores, as Prisma and others write them. */
const known: Readonly<Record<string, string>> = {
  userid: "public.current_user_id()",
  workspaceid: "entry.workspace_id",
  action: "log_credential_events.action",
  entitytype: "'CREDENTIAL'",
  entityid: "entry.credential_id",
  details: `entry.details || jsonb_strip_nulls(
      jsonb_build_object('request', nullif(left(current_setting('keyrow.request_id', true), 64), '')))`,
};

/** What keyrow_migrate runs after the migrations, where the log has a form of its own; else nothing. */
export function seamScript(table: Table): string {
  const filled = columnsToFill(table);
  const names = filled.map(({ name }) => identifier(name)).join(", ");
  const mandatory = table.columns.filter(({ notNull, filled: given }) => notNull && !given).map(({ name }) => name);
  return `-- The activity log has a form of its own: this writes to it. Fill in what is marked, then run it as keyrow_migrate.
-- Can't be null and have no default: ${shown(mandatory, 100)}.
begin;
set local role keyrow_owner;
grant create on schema keyrow to keyrow_reveal;
set local role keyrow_reveal;
create or replace function keyrow.log_credential_events(
  action public."ActivityAction", credential_ids uuid[], workspace_ids uuid[], details jsonb[]
) returns boolean
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $function$
declare
  written bigint;
begin${unwritten(filled)}
  insert into public.activity_logs (${names})
  select
    ${filled.map(expression).join(",\n    ")}
  from unnest(credential_ids, workspace_ids, log_credential_events.details)
    as entry (credential_id, workspace_id, details);
  -- A trigger or rule can swallow a row without an error; what is not on the record must not go on.
  get diagnostics written = row_count;
  if written <> cardinality(credential_ids) then
    raise exception 'the activity log took fewer entries than it was given' using errcode = 'internal_error';
  end if;
  return true;
end
$function$;
set local role keyrow_owner;
revoke create on schema keyrow from keyrow_reveal;
commit;
`;
}

/** What an entry has to say, where no column is known to take it. */
function unwritten(filled: readonly Column[]): string {
  const missing = ["user_id", "action", "entity_id"].filter(
    (name) => !filled.some((one) => plain(one.name) === plain(name)),
  );
  return missing
    .map((name) => `\n  ${TO_FILL_IN}a column for ${name}: ${(known[plain(name)] ?? "").trim()} */`)
    .join("");
}

// What their values are called, and how many characters they have at most.
const uuid = ["a uuid", 36] as const;
const held: Readonly<Record<string, readonly [what: string, length: number]>> = {
  userid: uuid,
  workspaceid: uuid,
  action: ["CREDENTIAL_ACCESSED", 19],
  entitytype: ["CREDENTIAL", 10],
  entityid: uuid,
  details: ["jsonb", Number.POSITIVE_INFINITY],
};

// What an enum of the application's own has to hold.
const entries: Readonly<Record<string, readonly string[]>> = {
  action: logged.ActivityAction,
  entitytype: logged.EntityType,
};

/** Whether a column takes such a value whole: a cast to another type raises, or cuts it off. */
function takes({ name, type, labels }: Column, length: number): boolean {
  const own = Object.entries(written).find(([title]) => plain(title) === plain(name))?.[1];
  if (type === own || (own === "jsonb" && type === "json")) return true;
  if (labels !== null) return entries[plain(name)]?.every((one) => labels.includes(one)) ?? false;
  const [text, most = length] = /^(?:text|character varying)(?:\((\d+)\))?$/.exec(type) ?? [];
  return text !== undefined && Number(most) >= length;
}

function expression(column: Column): string {
  const { name, type, labels, notNull, refers } = column;
  const value = known[plain(name)];
  const [what, length] = held[plain(name)] ?? [];
  if (value === undefined || length === undefined) return toFillIn(`${name}, ${type}`);
  if (!takes(column, length)) {
    const missing = entries[plain(name)]?.find((one) => labels?.includes(one) === false) ?? what;
    return toFillIn(`${name}, ${type}, which does not hold ${missing}`);
  }
  const target = refers !== null && ["users", "workspaces"].includes(refers.table) ? refers.table : undefined;
  // Who or what an entry is about may be gone by now: this is written by the deletion itself.
  const found = target === undefined ? value : `(select it.id from public.${target} it where it.id = ${value})`;
  // No enum is cast to another by itself.
  const cast = type === written[name] ? found : `(${found})::${labels === null ? "" : "text::"}${type}`;
  if (!notNull || !["userid", "workspaceid"].includes(plain(name))) return cast;
  const when = plain(name) === "userid" ? "nobody's claims are set" : "the credential is no workspace's";
  return `coalesce(${cast}, ${toFillIn(`${name}, ${type}, for when ${when}`)})`;
}

const toFillIn = (what: string) => `${TO_FILL_IN}${what.replaceAll(/[^\w ,.'()]/g, "?")} */ null`;

/** The body of Keyrow's own `log_credential_events`, as the catalogue has it. */
export async function readStockSeam(): Promise<string> {
  const text = await readFile(`${migrationsFolder}/fixtures/functions/log_credential_events.sql`, "utf8");
  return /as \$function\$(.*)\$function\$;/s.exec(text)?.[1] ?? "";
}
