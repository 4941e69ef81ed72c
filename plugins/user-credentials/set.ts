import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { KeyrowError } from "../../src/errors.ts";
import type { TrialQuery } from "../../src/with-pg-client.ts";
import type { EncryptedColumn } from "../encrypted-columns/column.ts";
import type { EncryptedColumnsOptions } from "../encrypted-columns/options.ts";
import { forRequest } from "../encrypted-columns/patience.ts";
import type { RequestContext } from "../encrypted-columns/reveal.ts";
import { type Columns, sealAll } from "../encrypted-columns/seal.ts";

/** A credential and its value; what is undefined stays as it is. */
export interface SetInput {
  readonly scope: string;
  readonly workspaceId?: string | null;
  readonly provider: string;
  readonly name: string;
  readonly value: string;
  readonly type?: string;
  readonly description?: string | null;
  readonly expiresAt?: string | null;
  readonly metadata?: unknown;
}

/** What was done: the credential's id, and whether it was created. */
export interface SetResult {
  readonly id: string;
  readonly created: boolean;
}

// As the schema says.
const MAX_SET = 1_000;

// A round is lost to a change made between its look and its write; so many in a row are no accident.
const MAX_ROUNDS = 10;

/**
 * Gives credentials their values, or creates them: all, or none. A value is bound to its row's id, so an upsert would
 * leave the old id under a value that was sealed for the new one: look first, then write only what still holds, and go
 * round again. `dryRun`: what was written is taken back, with its record.
 */
export async function setCredentials(
  encrypted: EncryptedColumn,
  inputs: readonly SetInput[],
  context: RequestContext,
  options: EncryptedColumnsOptions,
  dryRun = false,
): Promise<SetResult[]> {
  refuse(inputs);
  let unwritten: ReadonlyArray<Found | undefined> | undefined;
  for (let round = 0; round < MAX_ROUNDS && inputs.length > 0; round++) {
    const rows = await find(inputs, context);
    // Nobody came between: the policies let the rows be seen, and not be written.
    if (!rows.includes(undefined) && isDeepStrictEqual(rows, unwritten)) throw new KeyrowError("FORBIDDEN");
    const ids = rows.map((row) => row?.id ?? randomUUID());
    const owner = context.pgSettings?.["jwt.claims.user_id"] ?? null;
    const bound = inputs.map(
      ({ scope, workspaceId = null }, index): Columns =>
        rows[index]?.row ?? { scope, user_id: owner, workspace_id: workspaceId },
    );
    const sealed = await sealAll(
      encrypted,
      inputs.map(({ value }, index) => ({ id: ids[index] as string, row: bound[index] as Columns, value })),
      forRequest(options, context.pgSettings),
    );
    const items = inputs.map((input, index) => ({
      created: rows[index] === undefined,
      ...given(input),
      ...bound[index],
      ...sealed[index],
      id: ids[index] as string,
      provider: input.provider,
      name: input.name,
    }));
    const outcome = await write(items, context, dryRun);
    if (outcome === "written") return items.map(({ id, created }) => ({ id, created }));
    unwritten = outcome === "other rows" ? rows : undefined;
  }
  if (inputs.length === 0) return [];
  throw new KeyrowError("CONFLICT", {
    message: "A credential of this provider and name exists already, in another scope or not visible to you.",
  });
}

function refuse(inputs: readonly SetInput[]): void {
  if (inputs.length > MAX_SET) {
    throw new KeyrowError("LIMIT_EXCEEDED", {
      message: `At most ${MAX_SET} credentials can be set at once.`,
      hint: "set them in parts",
    });
  }
  if (inputs.some(({ scope, workspaceId }) => scope === "WORKSPACE" && workspaceId == null)) {
    throw new KeyrowError("VALIDATION", { message: "A WORKSPACE credential needs a workspaceId." });
  }
  const places = inputs.map(({ scope, workspaceId, provider, name }) =>
    JSON.stringify([scope, workspaceId?.toLowerCase(), provider, name]),
  );
  if (new Set(places).size < places.length) {
    throw new KeyrowError("VALIDATION", { message: "One credential is named twice." });
  }
}

interface Found {
  readonly id: string;
  readonly row: Columns;
}

/** The rows that the inputs name, in their order; undefined where there is none. */
async function find(inputs: readonly SetInput[], context: RequestContext): Promise<Array<Found | undefined>> {
  const asked = inputs.map(({ scope, workspaceId, provider, name }) => ({
    scope,
    workspace_id: workspaceId ?? null,
    provider,
    name,
  }));
  const rows = await query<Columns & { id: string; place: number }>(
    context,
    `select i.place::int, c.id::text, c.scope::text, c.user_id::text, c.workspace_id::text
     from rows from (
       json_to_recordset($1) as (scope public."CredentialScope", workspace_id uuid, provider text, name text)
     ) with ordinality as i (scope, workspace_id, provider, name, place)
     join public.user_credentials c
       on c.scope = i.scope and c.workspace_id is not distinct from i.workspace_id
       and c.provider = i.provider and c.name = i.name
       and (c.scope <> 'USER' or c.user_id = (select public.current_user_id()))`,
    [JSON.stringify(asked)],
  );
  const byPlace = new Map(rows.map(({ place, id, ...row }) => [place, { id, row }]));
  return inputs.map((_, index) => byPlace.get(index + 1));
}

// What changed since the look is no row of either part, or a conflict. A division by zero then takes all of it back:
// the statement is the whole transaction, and nothing else in it divides.
const WRITE = `
  with item as (
    select i.*, j.value as given
    from jsonb_array_elements($1) j,
      jsonb_to_record(j.value) as i (
        created boolean, id uuid, scope public."CredentialScope", user_id uuid, workspace_id uuid, provider text,
        name text, type public."CredentialType", description text, expires_at timestamptz, metadata text,
        encrypted_value text, masked_value text, key_id text
      )
  ),
  renewed as (
    update public.user_credentials c set
      encrypted_value = i.encrypted_value,
      masked_value = i.masked_value,
      key_id = i.key_id,
      type = case when i.given ? 'type' then i.type else c.type end,
      description = case when i.given ? 'description' then i.description else c.description end,
      expires_at = case when i.given ? 'expires_at' then i.expires_at else c.expires_at end,
      metadata = case when i.given ? 'metadata' then i.metadata::jsonb else c.metadata end
    from item i
    -- Renamed meanwhile, it is another credential, which nobody asked to change.
    where not i.created and c.id = i.id and c.scope = i.scope and c.user_id = i.user_id
      and c.workspace_id is not distinct from i.workspace_id and c.provider = i.provider and c.name = i.name
    returning c.id
  ),
  created as (
    insert into public.user_credentials (
      id, scope, user_id, workspace_id, provider, name, type, description, expires_at, metadata,
      encrypted_value, masked_value, key_id
    )
    select id, scope, user_id, workspace_id, provider, name, case when given ? 'type' then type else 'SECRET' end,
      description, expires_at, case when given ? 'metadata' then metadata::jsonb else '{}' end, encrypted_value, masked_value, key_id
    from item where item.created
    returning id
  )
  select 1 / ((select count(*) from renewed) + (select count(*) from created) = $2)::int as written`;

/** Writes all items, or none: where a row is no longer as it was found, or somebody else was faster. */
async function write(
  items: readonly object[],
  context: RequestContext,
  onTrial: boolean,
): Promise<"written" | "other rows" | "somebody was faster"> {
  try {
    await query(context, WRITE, [JSON.stringify(items), items.length], onTrial);
    return "written";
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === "22012") return "other rows";
    // A unique index, and two writers that waited for each other.
    if (code === "23505" || code === "40P01") return "somebody was faster";
    throw error;
  }
}

/** The columns that the input names, of those that may change. */
function given({ type, description, expiresAt, metadata }: SetInput): Record<string, unknown> {
  const columns = {
    type,
    description,
    expires_at: expiresAt,
    // Null is no value here, as it is for the table's own mutations; as JSON it could be stored, and not be read.
    metadata: metadata == null ? metadata : JSON.stringify(metadata),
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}

async function query<T>(
  { pgSettings, withPgClient }: RequestContext,
  text: string,
  values: unknown[],
  onTrial = false,
): Promise<T[]> {
  const asked: TrialQuery = { text, values: values as never[], onTrial };
  const { rows } = await withPgClient(pgSettings, (client) => client.query<T>(asked));
  return [...rows];
}
