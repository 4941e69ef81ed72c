import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { KeyrowError } from "../../src/errors.ts";
import type { EncryptedColumn } from "../encrypted-columns/column.ts";
import type { EncryptedColumnsOptions } from "../encrypted-columns/options.ts";
import type { RequestContext } from "../encrypted-columns/reveal.ts";
import { type Columns, sealFor } from "../encrypted-columns/seal.ts";

/** The input of `setUserCredential`; what is undefined stays as it is. */
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

// A round is lost to a change made between its look and its write; so many in a row are no accident.
const MAX_ROUNDS = 10;

/**
 * Gives the credential its value, or creates it. A value is bound to its row's id, so an upsert would leave the old id
 * under a value that was sealed for the new one: look first, then write only what still holds, and go round again.
 */
export async function setCredential(
  encrypted: EncryptedColumn,
  input: SetInput,
  context: RequestContext,
  options: EncryptedColumnsOptions,
): Promise<SetResult> {
  if (input.scope === "WORKSPACE" && input.workspaceId == null) {
    throw new KeyrowError("VALIDATION", { message: "A WORKSPACE credential needs a workspaceId." });
  }
  let unwritten: Row | undefined;
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const existing = await find(input, context);
    // Nobody came between: the policies let the row be seen, and not be written.
    if (existing !== undefined && isDeepStrictEqual(existing, unwritten)) throw new KeyrowError("FORBIDDEN");
    const done =
      existing === undefined
        ? await create(encrypted, input, context, options)
        : await renew(encrypted, existing, input, context, options);
    if (done !== undefined) return done;
    unwritten = existing;
  }
  throw new KeyrowError("CONFLICT", {
    message: "A credential of this provider and name exists already, in another scope or not visible to you.",
  });
}

type Row = Columns & { id: string };

async function find(input: SetInput, context: RequestContext): Promise<Row | undefined> {
  const [row] = await query<Row>(
    context,
    `select id::text, scope::text, user_id::text, workspace_id::text
     from public.user_credentials
     where scope = $1 and workspace_id is not distinct from $2 and provider = $3 and name = $4
       and (scope <> 'USER' or user_id = (select public.current_user_id()))`,
    [input.scope, input.workspaceId ?? null, input.provider, input.name],
  );
  return row;
}

async function renew(
  encrypted: EncryptedColumn,
  { id, ...row }: Row,
  input: SetInput,
  context: RequestContext,
  options: EncryptedColumnsOptions,
): Promise<SetResult | undefined> {
  const columns = { ...given(input), ...(await sealFor(encrypted, id, row, input.value, options)) };
  const names = Object.keys(columns);
  const sets = names.map((name, index) => `${name} = $${index + 7}`);
  const written = await query(
    context,
    `update public.user_credentials set ${sets.join(", ")}
     where id = $1 and scope::text = $2 and user_id::text = $3 and workspace_id::text is not distinct from $4
       and provider = $5 and name = $6
     returning id`,
    // Renamed meanwhile, it is another credential, which nobody asked to change.
    [id, row.scope, row.user_id, row.workspace_id, input.provider, input.name, ...Object.values(columns)],
  );
  return written.length === 1 ? { id, created: false } : undefined;
}

async function create(
  encrypted: EncryptedColumn,
  input: SetInput,
  context: RequestContext,
  options: EncryptedColumnsOptions,
): Promise<SetResult | undefined> {
  const id = randomUUID();
  const owner = context.pgSettings?.["jwt.claims.user_id"] ?? null;
  const row: Columns = { scope: input.scope, user_id: owner, workspace_id: input.workspaceId ?? null };
  const columns = {
    type: "SECRET",
    ...given(input),
    ...row,
    id,
    provider: input.provider,
    name: input.name,
    ...(await sealFor(encrypted, id, row, input.value, options)),
  };
  const names = Object.keys(columns);
  const written = await query(
    context,
    `insert into public.user_credentials (${names.join(", ")})
     values (${names.map((_, index) => `$${index + 1}`).join(", ")})
     on conflict do nothing returning id`,
    Object.values(columns),
  );
  return written.length === 1 ? { id, created: true } : undefined;
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

async function query<T>({ pgSettings, withPgClient }: RequestContext, text: string, values: unknown[]): Promise<T[]> {
  const { rows } = await withPgClient(pgSettings, (client) => client.query<T>({ text, values: values as never[] }));
  return [...rows];
}
