import { randomUUID } from "node:crypto";
import type pg from "pg";
import { type Columns, type Place, sealFor } from "../../plugins/encrypted-columns/seal.ts";
import { contextOf } from "../../plugins/encrypted-columns/tag.ts";
import { withAdmin } from "../admin-database.ts";
import { type Cipher, isHeld } from "../cipher/cipher.ts";
import type { Config } from "../config.ts";
import { credentialPlace } from "../credential-place.ts";
import { type ErrorCode, KeyrowError } from "../errors.ts";
import { MAX_VALUE_BYTES } from "../limits.ts";
import { maskValue } from "../mask.ts";
import { knownUser, readableUserColumns } from "../users.ts";

/** Which SYSTEM credential: `smtp/relay` has the provider `smtp` and the name `relay`. */
export interface CredentialName {
  readonly provider: string;
  readonly name: string;
}

/** What `setSystem` is given; what is undefined stays as it is. */
export interface SystemInput {
  readonly value: string;
  /** Whose id a new one carries: a user's id or e-mail address. */
  readonly user?: string | undefined;
  readonly type?: string | undefined;
  readonly description?: string | undefined;
  /** Null: it never expires. */
  readonly expiresAt?: Date | null | undefined;
}

/** What was done to a credential. */
export interface SystemResult {
  readonly id: string;
  readonly created: boolean;
  readonly maskedValue: string | null;
}

/** A SYSTEM credential, without its value. */
export interface SystemCredential extends CredentialName {
  readonly id: string;
  readonly type: string;
  readonly maskedValue: string | null;
  readonly description: string | null;
  readonly isActive: boolean;
  readonly expiresAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly rotatedAt: Date | null;
  readonly createdAt: Date;
  readonly keyId: string;
  /** The user whose id it carries, and the address where it can be read. */
  readonly userId: string;
  readonly userEmail: string | null;
}

/** Everything that a value needs to be sealed or opened. */
interface Vault {
  readonly client: pg.ClientBase;
  readonly cipher: Cipher;
  readonly place: Place;
}

/**
 * Gives a SYSTEM credential its value, or creates it; a renewed one is active and keeps its owner. Throws USAGE where it
 * can't be told whose id a new one carries, and CONFLICT where that user has a credential of the same name.
 */
export function setSystem(
  config: Config,
  cipher: Cipher,
  which: CredentialName,
  input: SystemInput,
): Promise<SystemResult> {
  return withAdmin(config, async (client) => {
    // No index keeps two of one name apart that different users carry: one at a time sets it.
    await client.query("select pg_advisory_xact_lock(hashtextextended($1, 0))", [
      `keyrow system ${which.provider}/${which.name}`,
    ]);
    if (input.type !== undefined) await checkType(client, input.type);
    const vault = { client, cipher, place: await credentialPlace(client) };
    const existing = await find(client, which, "for update");
    if (existing !== undefined) return renew(vault, existing, input);
    return create(vault, which, input);
  });
}

/**
 * The value of a SYSTEM credential, opened once the record is committed. Throws NOT_FOUND, CREDENTIAL_REVOKED,
 * CREDENTIAL_EXPIRED, KEY_MISSING and CANNOT_OPEN.
 */
export async function getSystem(config: Config, cipher: Cipher, which: CredentialName): Promise<string> {
  const { id, row, place } = await withAdmin(config, async (client) => {
    const { id } = await mustFind(client, which);
    const { rows } = await client.query<Revealed>("select * from keyrow.reveal_system_credentials($1)", [[id]]);
    const row = rows.find((revealed) => revealed.id === id);
    if (row?.recorded) await client.query("select keyrow.touch($1)", [[id]]);
    return { id, row, place: await credentialPlace(client) };
  });
  if (row === undefined) throw notFound();
  if (row.refusal !== null) throw refused(row.refusal);
  if (!row.recorded || row.encrypted_value === null || row.key_id === null) throw new KeyrowError("CANNOT_OPEN");
  if (!isHeld(cipher.state(row.key_id))) throw keyMissing(row.key_id);
  // Whatever the database calls it, what was asked for is a SYSTEM credential of this id.
  const context = contextOf(place.tag, { table: place.table, column: place.column, id }, { scope: "SYSTEM" });
  const [opened] = await cipher.open([{ context, encrypted: row.encrypted_value, keyId: row.key_id }]);
  if (typeof opened === "string") return opened;
  throw opened ?? new KeyrowError("CANNOT_OPEN");
}

/** All SYSTEM credentials by provider and name, without their values. */
export function listSystem(config: Config): Promise<SystemCredential[]> {
  return withAdmin(config, async (client) => {
    const readable = await readableUserColumns(client);
    const email = readable.has("id") && readable.has("email");
    const { rows } = await client.query<SystemCredential>(`
      select c.id::text, c.provider, c.name, c.type::text, c.masked_value as "maskedValue", c.description,
        c.is_active as "isActive", c.expires_at as "expiresAt", c.last_used_at as "lastUsedAt",
        c.rotated_at as "rotatedAt", c.created_at as "createdAt", c.key_id as "keyId", c.user_id::text as "userId",
        ${email ? "u.email::text" : "null"} as "userEmail"
      from public.user_credentials c ${email ? "left join public.users u on u.id = c.user_id" : ""}
      where c.scope = 'SYSTEM' order by c.provider, c.name, c.id`);
    return rows;
  });
}

/** Deletes a SYSTEM credential; gives its id. Throws NOT_FOUND. */
export function removeSystem(config: Config, which: CredentialName): Promise<string> {
  return withAdmin(config, async (client) => {
    const { id } = await mustFind(client, which, "for update");
    const { rowCount } = await client.query("delete from public.user_credentials where id = $1", [id]);
    if (rowCount !== 1) throw notFound();
    return id;
  });
}

// ------------------------------------------------------------------------------------------------------------- set

async function renew(vault: Vault, { id, ...row }: Row, input: SystemInput): Promise<SystemResult> {
  const value = await sealed(vault, id, row, input.value);
  const columns = { ...given(input), ...value };
  const sets = Object.keys(columns).map((name, index) => `${name} = $${index + 2}`);
  await vault.client.query(`update public.user_credentials set ${sets.join(", ")} where id = $1`, [
    id,
    ...Object.values(columns),
  ]);
  return { id, created: false, maskedValue: value.masked_value ?? null };
}

async function create(vault: Vault, { provider, name }: CredentialName, input: SystemInput): Promise<SystemResult> {
  const id = randomUUID();
  const row: Columns = { scope: "SYSTEM", user_id: await carrier(vault.client, input.user), workspace_id: null };
  const value = await sealed(vault, id, row, input.value);
  const columns = { type: "SECRET", ...given(input), ...row, id, provider, name, ...value };
  const names = Object.keys(columns);
  const { rowCount } = await vault.client.query(
    `insert into public.user_credentials (${names.join(", ")})
     values (${names.map((_, index) => `$${index + 1}`).join(", ")})
     on conflict do nothing returning id`,
    Object.values(columns),
  );
  if (rowCount === 1) return { id, created: true, maskedValue: value.masked_value ?? null };
  throw new KeyrowError("CONFLICT", {
    message: "The user who would carry it has a credential of this provider and name already.",
    hint: "Name another with --user.",
  });
}

function sealed({ cipher, place }: Vault, id: string, row: Columns, value: string): Promise<Columns> {
  return sealFor(place, id, row, value, { cipher, mask: maskValue, maxBytes: MAX_VALUE_BYTES });
}

/** The columns that the input names, of those that may change. */
function given({ type, description, expiresAt }: SystemInput): Columns {
  return {
    ...(type !== undefined && { type }),
    ...(description !== undefined && { description }),
    ...(expiresAt !== undefined && { expires_at: expiresAt?.toISOString() ?? null }),
  };
}

/** Whose id a new one carries: who was named, else who carries all the others. */
async function carrier(client: pg.ClientBase, user: string | undefined): Promise<string> {
  if (user !== undefined) return knownUser(client, user);
  const { rows } = await client.query<{ id: string }>(
    "select distinct user_id::text as id from public.user_credentials where scope = 'SYSTEM' limit 2",
  );
  const [only, another] = rows;
  if (only !== undefined && another === undefined) return only.id;
  throw new KeyrowError("USAGE", {
    message: "A new SYSTEM credential carries a user's id: give --user <email or id>.",
    hint: "Name somebody who stays. `keyrow handover` gives it to another later.",
  });
}

/** The types are the database's: an admin may have added some. */
async function checkType(client: pg.ClientBase, type: string): Promise<void> {
  const { rows } = await client.query<{ label: string }>(
    `select enumlabel as label from pg_catalog.pg_enum
     where enumtypid = 'public."CredentialType"'::regtype order by enumsortorder`,
  );
  const labels = rows.map(({ label }) => label);
  if (labels.includes(type)) return;
  throw new KeyrowError("USAGE", {
    message: "The value of --type is not a type of credentials.",
    hint: `Give ${labels.slice(0, -1).join(", ")} or ${labels.at(-1)}.`,
  });
}

// ------------------------------------------------------------------------------------------------------------ find

type Row = Columns & { readonly id: string };

/** The credential of this name. Locked, where asked for, until the transaction ends: those who only read don't queue. */
async function find(client: pg.ClientBase, { provider, name }: CredentialName, lock = ""): Promise<Row | undefined> {
  const { rows } = await client.query<Row>(
    `select id::text, scope::text, user_id::text, workspace_id::text
     from public.user_credentials
     where scope = 'SYSTEM' and provider = $1 and name = $2
     ${lock}`,
    [provider, name],
  );
  if (rows.length < 2) return rows[0];
  throw new KeyrowError("CONFLICT", {
    message: "Several SYSTEM credentials have this provider and name: SQL made what this command would not.",
    hint: "`keyrow system list` shows who carries them. Rename or delete one in SQL, as keyrow_admin.",
  });
}

async function mustFind(client: pg.ClientBase, which: CredentialName, lock = ""): Promise<Row> {
  const found = await find(client, which, lock);
  if (found === undefined) throw notFound();
  return found;
}

// ---------------------------------------------------------------------------------------------------------- reveal

interface Revealed {
  readonly id: string;
  readonly refusal: string | null;
  readonly recorded: boolean;
  readonly encrypted_value: string | null;
  readonly key_id: string | null;
}

function notFound(): KeyrowError {
  return new KeyrowError("NOT_FOUND", {
    message: "There is no SYSTEM credential of this provider and name.",
    hint: "`keyrow system list` shows what there is.",
  });
}

const refusals = ["CREDENTIAL_REVOKED", "CREDENTIAL_EXPIRED"] as const satisfies readonly ErrorCode[];

function refused(refusal: string): KeyrowError {
  // A refusal that this version doesn't know tells nothing.
  const code = refusals.find((known) => known === refusal) ?? "CANNOT_OPEN";
  return new KeyrowError(code, { hint: "`keyrow system set` gives it a new value, and --expires another end." });
}

function keyMissing(keyId: string): KeyrowError {
  return new KeyrowError("KEY_MISSING", {
    message: `The value is sealed under the key ${keyId}, which is not in the key file.`,
    hint: "Name the file that has it by KEYROW_KEY_FILE.",
  });
}
