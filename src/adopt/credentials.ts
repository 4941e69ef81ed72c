import type pg from "pg";
import { attempt } from "./attempt.ts";
import type { Facts, Table } from "./facts.ts";
import { BY_OWNER, type Finding, identifier, shown, tableOf, USUAL_PATH } from "./finding.ts";

/** What the application's own table of credentials is called once it is set aside. */
const ASIDE = "user_credentials_before_keyrow";
const OWNER = "keyrow_owner";
const MAX_IDS = 20;

// The specification's columns; those of the first list have no default.
const required = ["id", "user_id", "name", "provider", "type", "encrypted_value"] as const;
const optional = [
  "workspace_id",
  "scope",
  "masked_value",
  "description",
  "expires_at",
  "last_used_at",
  "metadata",
  "is_active",
  "rotated_at",
  "created_at",
  "updated_at",
] as const;
const enums: Readonly<Record<string, { readonly name: string; readonly labels: readonly string[] }>> = {
  type: { name: "CredentialType", labels: ["API_KEY", "OAUTH_TOKEN", "ACCESS_TOKEN", "SECRET", "PASSWORD", "CUSTOM"] },
  scope: { name: "CredentialScope", labels: ["USER", "WORKSPACE", "SYSTEM"] },
};

/** What a row gets that says nothing where it has to. */
const unset: Readonly<Record<string, string>> = {
  metadata: "'{}'",
  is_active: "true",
  created_at: "now()",
  updated_at: "now()",
};

/** The application's own credentials: `public.user_credentials` that is not Keyrow's, or what it was renamed to. */
export function formerCredentials(facts: Facts): Table | undefined {
  const current = tableOf(facts, "user_credentials");
  return current !== undefined && current.owner !== OWNER ? current : tableOf(facts, ASIDE);
}

/** What of the application's own credentials is in the migration's place, and what of them would not load. */
export function credentialFindings(facts: Facts): Finding[] {
  const table = formerCredentials(facts);
  const found = placeFindings(facts);
  if (table === undefined) return found;
  const wrong = unloadable(table);
  if (wrong.length > 0) {
    found.push({
      name: "credentials.columns",
      severity: "in the way",
      what: `The rows of public.${table.name} can't be loaded: ${wrong.join("; ")}.`,
      remedy: "give it the specification's columns, or load its rows by SQL of your own",
    });
  }
  const columns = table.columns.map(({ name }) => name);
  const extra = columns.filter((name) => ![...required, ...optional].includes(name as never));
  if (extra.length > 0) {
    found.push({
      name: "credentials.extra",
      severity: "note",
      what: `public.${table.name} has columns that are not loaded: ${shown(extra)}.`,
      remedy: "keep what they hold in `metadata`, or in a table of your own",
    });
  }
  return found;
}

/** Why no row of it can be loaded: what it lacks, or has in another form. */
function unloadable({ columns }: Table): string[] {
  const typeOf = (name: string) => columns.find((column) => column.name === name)?.type;
  return [
    ...required.filter((name) => typeOf(name) === undefined).map((name) => `it has no ${name}`),
    ...["id", "user_id", "workspace_id"]
      .filter((name) => ![undefined, "uuid"].includes(typeOf(name)))
      .map((name) => `${name} is no uuid`),
  ];
}

/** What has a name that the migrations give to something of Keyrow's. */
function placeFindings(facts: Facts): Finding[] {
  const sql: string[] = [];
  const names: string[] = [];
  const current = tableOf(facts, "user_credentials");
  if (current !== undefined && current.owner !== OWNER) {
    names.push("the table user_credentials");
    sql.push(`alter table public.user_credentials rename to ${ASIDE};`);
    // Names of indexes belong to the schema, not to the table.
    sql.push(
      ...current.indexes.map((index, i) => `alter index public.${identifier(index)} rename to ${ASIDE}_${i + 1};`),
    );
    sql.push(`grant select on public.${ASIDE} to ${OWNER};`);
    if (current.rowSecurity) {
      sql.push(`create policy ${ASIDE}_load on public.${ASIDE} for select to ${OWNER} using (true);`);
    }
  }
  for (const { name, owner } of facts.enums) {
    if (owner === OWNER || !Object.values(enums).some((one) => one.name === name)) continue;
    names.push(`the enum ${name}`);
    sql.push(`alter type public.${identifier(name)} rename to ${identifier(`${name}_before_keyrow`)};`);
  }
  for (const { schema, name, types, owner } of facts.routines) {
    if (schema !== "public" || name !== "update_user_credentials_updated_at" || types !== "" || owner === OWNER)
      continue;
    names.push(`the function ${name}()`);
    sql.push(`alter function public.${name}() rename to ${name}_before_keyrow;`);
  }
  if (sql.length === 0) return [];
  return [
    {
      name: "credentials.place",
      severity: "to run",
      what: `The application has its own of what the migrations make: ${names.join(", ")}.`,
      remedy: `${BY_OWNER}, which renames it; after \`keyrow migrate\`, \`keyrow adopt --sql after\` loads the rows`,
      sql,
    },
  ];
}

interface RowRule {
  readonly name: string;
  readonly columns: readonly string[];
  /** What makes rows twins; nulls are alike. Then `c.twins` counts them. */
  readonly twins?: string;
  /** True of a row, `c`, that does not load. */
  readonly wrong: string;
  readonly what: string;
  readonly remedy: string;
  /** Such rows load, and something is to be known of them. */
  readonly loads?: true;
}

const LEGACY = [
  "^vault:v[1-9][0-9]*:[A-Za-z0-9+/]+={0,2}$",
  "^([0-9a-fA-F]{24}|[0-9a-fA-F]{32}|[A-Za-z0-9+/]{16}|[A-Za-z0-9+/]{22}==):([0-9a-fA-F]{32}|[A-Za-z0-9+/]{22}==):[A-Za-z0-9+/]*={0,2}$",
];

const labels = (column: string) => enums[column]?.labels.map((label) => `'${label}'`).join(", ");

/** The rows that the migrated table refuses, by its constraints and triggers, and those that the API would not make. */
export const rowRules: readonly RowRule[] = [
  {
    name: "rows.duplicate",
    columns: ["workspace_id"],
    twins: "user_id, workspace_id, provider, name",
    wrong: "c.twins > 1",
    what: "have another of the same user, workspace, provider and name",
    remedy: "rename or delete all but one of each; no workspace counts as one workspace",
  },
  {
    name: "rows.duplicate.workspace",
    columns: ["workspace_id", "scope"],
    twins: "scope::text, workspace_id, provider, name",
    wrong: "c.scope::text = 'WORKSPACE' and c.workspace_id is not null and c.twins > 1",
    what: "share provider and name with another of their workspace, whoever made it",
    remedy: "rename or delete all but one of each",
  },
  {
    name: "rows.value",
    columns: [],
    wrong: `c.encrypted_value is null or not (${LEGACY.map((form) => `c.encrypted_value ~ '${form}'`).join(" or ")})`,
    what: "have a value of neither form, iv:authTag:encrypted or vault:vN:data; it may be plaintext",
    remedy: "let the application encrypt them, or delete them and have their owners set them anew",
  },
  {
    name: "rows.workspace",
    columns: ["workspace_id", "scope"],
    wrong: "c.scope::text = 'WORKSPACE' and c.workspace_id is null",
    what: "are of the scope WORKSPACE and have none",
    remedy: "give them their workspace, or the scope USER",
  },
  {
    name: "rows.type",
    columns: [],
    wrong: `c.type is null or c.type::text not in (${labels("type")})`,
    what: "have a type that the specification does not know",
    remedy: "give them one it knows; CUSTOM fits everything",
  },
  {
    name: "rows.scope",
    columns: ["scope"],
    wrong: `c.scope is null or c.scope::text not in (${labels("scope")})`,
    what: "have a scope that the specification does not know",
    remedy: "give them USER, WORKSPACE or SYSTEM",
  },
  {
    name: "rows.length",
    columns: ["masked_value"],
    wrong:
      "c.name is null or c.provider is null or length(c.name) > 255 or length(c.provider) > 100 or length(c.masked_value) > 20",
    what: "have no name or provider, or a name, provider or mask beyond 255, 100 or 20 characters",
    remedy: "name them, and shorten what is too long",
  },
  {
    name: "rows.expiry",
    columns: ["expires_at"],
    wrong: "not isfinite(c.expires_at)",
    what: "expire at infinity, which is no date",
    remedy: "set expires_at to null where they never expire",
  },
  {
    name: "rows.user",
    columns: [],
    wrong: "c.user_id is null or not exists (select from public.users u where u.id::text = c.user_id::text)",
    what: "belong to no user that there is",
    remedy: "give them to a user, or delete them",
  },
  {
    name: "rows.team",
    columns: ["workspace_id"],
    wrong:
      "c.workspace_id is not null and not exists (select from public.workspaces w where w.id::text = c.workspace_id::text)",
    what: "name a workspace that there isn't",
    remedy: "name one that there is, or none",
  },
  {
    name: "rows.unnamed",
    columns: [],
    wrong: "'' in (c.name, c.provider)",
    what: "have an empty name or provider, by which no command finds them",
    remedy: "name them; the API renews, renames and revokes them by their ids, and makes none of the kind",
    loads: true,
  },
  {
    name: "rows.description",
    columns: ["description"],
    wrong: "octet_length(c.description::text) > 16384",
    what: "have a description of more than 16384 bytes",
    remedy: "shorten it, or leave it: the API takes no other of the kind",
    loads: true,
  },
  {
    name: "rows.metadata",
    columns: ["metadata"],
    wrong: "octet_length(c.metadata::text) > 16384",
    what: "have metadata of more than 16384 bytes",
    remedy: "keep less in it, or leave it: the API takes no other of the kind",
    loads: true,
  },
];

/** Which rows of the application's own credentials would not load. Throws NoAnswer. */
export async function* rowFindings(client: pg.ClientBase, facts: Facts): AsyncGenerator<Finding> {
  const table = formerCredentials(facts);
  if (table === undefined || unloadable(table).length > 0) return;
  const name = `public.${table.name}`;
  if (!table.readable) {
    yield {
      name: "rows.unread",
      severity: "in the way",
      what: `The login of ADOPT_DATABASE_URL may not read ${name}.`,
      remedy: "connect as its owner",
    };
    return;
  }
  if (table.securedHere) {
    yield {
      name: "rows.hidden",
      severity: "note",
      what: `Row level security on ${name} holds for this login: rows that no policy shows it are not checked.`,
      remedy: "its policies must show it every row where no claims are set, or check as a login with BYPASSRLS",
    };
  }
  const columns = table.columns.map((column) => column.name);
  for (const rule of rowRules) {
    if (!rule.columns.every((column) => columns.includes(column))) continue;
    const rows = await wrongRows(client, name, rule);
    if (rows === undefined) {
      yield {
        name: rule.name,
        severity: "in the way",
        what: `The rows of ${name} can't be checked for it: whether they ${rule.what}.`,
        remedy: "connect as a login that may read users, workspaces and the credentials, whatever claims are set",
      };
    } else if (rows.count > 0) {
      const { what, remedy, loads } = rule;
      yield {
        name: rule.name,
        severity: loads ? "note" : "in the way",
        what: `Rows of ${name} ${what}.`,
        remedy,
        rows,
      };
    }
  }
}

/** How many rows there are that a rule refuses, and the ids of the first; undefined where they can't be read. */
function wrongRows(client: pg.ClientBase, table: string, rule: RowRule): Promise<Finding["rows"]> {
  const counted = rule.twins === undefined ? "" : `, count(*) over (partition by ${rule.twins}) as twins`;
  const late = {
    name: rule.name,
    what: `In a minute it could not be told whether rows of ${table} ${rule.what}; what comes after it was not checked.`,
    remedy: "see what it waits for: a lock, or a slow function in the policies of the table",
  };
  return attempt(client, late, async () => {
    // The application's policies may call functions that find their tables by it.
    await client.query(`set local search_path = ${USUAL_PATH}`);
    const { rows } = await client.query<{ id: string; count: string }>(
      `select c.id::text as id, count(*) over () as count from (select *${counted} from ${table}) c
       where ${rule.wrong} order by c.id limit ${MAX_IDS}`,
    );
    return { count: Number(rows[0]?.count ?? 0), ids: rows.map(({ id }) => id) };
  });
}

/** What keyrow_migrate runs after the migrations to load the rows; it can be run again. */
export function loadScript({ columns }: Table): string {
  const there = [...required, ...optional].filter((name) => columns.some((column) => column.name === name));
  const values = there.map((name) => {
    const type = enums[name] && `public.${identifier(enums[name].name)}`;
    if (type !== undefined) return `b.${name}::text::${type}`;
    const nullable = columns.find((column) => column.name === name)?.notNull === false;
    return nullable && name in unset ? `coalesce(b.${name}, ${unset[name]})` : `b.${name}`;
  });
  return `-- The application's own credentials, as they are, under the key id \`legacy\`. Run it as keyrow_migrate; it can be run again.
begin;
set local role keyrow_owner;
insert into public.user_credentials (
  ${there.join(", ")}
)
select
  ${values.join(", ")}
from public.${ASIDE} b
where not exists (select from public.user_credentials c where c.id = b.id);
commit;
`;
}
