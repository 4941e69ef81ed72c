import type pg from "pg";
import { withAdmin } from "../admin-database.ts";
import type { Config } from "../config.ts";
import { endOf, parseDuration } from "../duration.ts";
import { KeyrowError } from "../errors.ts";
import { issuerToAdd, type NamedIssuer } from "../issuers/file.ts";
import { machineSigner } from "../own-tokens.ts";
import { readSigningKey, signingKeyPath } from "../signing-key.ts";
import { knownWorkspace, namesAreReadable, unknownWorkspace } from "./workspace.ts";

/** What a machine is made of. */
export interface MachineRequest {
  readonly name: string;
  /** By its name or its `iss`; undefined: tokens come from `keyrow machine token`. */
  readonly issuer: string | undefined;
  /** What its issuer's tokens say, all of it. */
  readonly claims: Readonly<Record<string, string>>;
  /** By id or name. */
  readonly workspace: string;
  /** Patterns `provider/name`. */
  readonly credentials: readonly string[];
}

/** A machine, as an admin sees it. */
export interface Machine extends Omit<MachineRequest, "issuer" | "workspace"> {
  readonly id: string;
  readonly issuer: string | null;
  readonly workspaceId: string;
  /** Where keyrow_admin may read it. */
  readonly workspaceName: string | null;
  readonly createdAt: Date;
  /** The login that made it. */
  readonly createdBy: string;
}

/**
 * Makes a machine, as a DB admin. Throws NOT_FOUND for an unknown workspace, CONFLICT where there is one of that name, and
 * USAGE for an unknown issuer, or where an issuer comes without claims or claims without an issuer.
 */
export function addMachine(
  config: Config,
  request: MachineRequest,
): Promise<{ id: string; workspaceId: string; issuer: NamedIssuer | undefined }> {
  const { name, claims, workspace, credentials } = request;
  if ((request.issuer === undefined) !== (Object.keys(claims).length === 0)) {
    throw new KeyrowError("USAGE", {
      message: "An issuer and claims belong together.",
      hint: "Give --issuer with one --claim or more: without, every token of it would be the machine. Or neither, and take tokens from `keyrow machine token`.",
    });
  }
  const issuer = request.issuer === undefined ? undefined : issuerToAdd(config, request.issuer);
  return withAdmin(config, async (client) => {
    const workspaceId = await knownWorkspace(client, workspace);
    const { rows } = await client
      .query<{ id: string }>(
        `insert into keyrow.machines (name, issuer, claims, workspace_id, credentials) values ($1, $2, $3, $4, $5)
         on conflict (name) do nothing returning id`,
        [name, issuer?.iss, JSON.stringify(claims), workspaceId, credentials],
      )
      .catch((error: unknown) => {
        throw (error as { constraint?: string }).constraint === "machines_workspace_id_fkey"
          ? unknownWorkspace()
          : error;
      });
    const [made] = rows;
    if (made !== undefined) return { id: made.id, workspaceId, issuer };
    throw new KeyrowError("CONFLICT", {
      message: "There is a machine of this name.",
      hint: "Take another name, or remove that one with `keyrow machine rm`.",
    });
  });
}

/** All machines, by name. */
export function listMachines(config: Config): Promise<Machine[]> {
  return withAdmin(config, async (client) => {
    const named = await namesAreReadable(client);
    const { rows } = await client.query<Machine>(
      `select m.id, m.name, m.issuer, m.claims, m.workspace_id as "workspaceId", m.credentials,
         ${named ? "w.name::text" : "null"} as "workspaceName", m.created_at as "createdAt", m.created_by as "createdBy"
       from keyrow.machines m ${named ? "left join public.workspaces w on w.id = m.workspace_id" : ""}
       order by m.name`,
    );
    return rows;
  });
}

/** Removes a machine: its tokens are a stranger's from the next request on. Throws NOT_FOUND. */
export function removeMachine(config: Config, name: string): Promise<{ id: string }> {
  return withAdmin(config, async (client) => {
    const { rows } = await client.query<{ id: string }>("delete from keyrow.machines where name = $1 returning id", [
      name,
    ]);
    return rows[0] ?? unknown();
  });
}

/** A token that was made here. */
export interface MachineToken {
  readonly id: string;
  readonly jwt: string;
  readonly expiresAt: Date;
}

/**
 * A token for a machine without an issuer, valid as long as `expires` says. Throws USAGE for a bad duration,
 * CONFIG_INVALID without Keyrow's own key, NOT_FOUND, and CONFLICT for a machine whose tokens are its issuer's.
 */
export async function makeMachineToken(config: Config, name: string, expires: string): Promise<MachineToken> {
  const expiresIn = parseDuration(expires);
  const sign = machineSigner(await readSigningKey(signingKeyPath(config)), config.jwt.audience);
  const { id, issuer } = await withAdmin(config, (client) => findMachine(client, name));
  if (issuer !== null) {
    throw new KeyrowError("CONFLICT", {
      message: "This machine's tokens come from its issuer.",
      hint: "Make a machine without --issuer for tokens from here.",
    });
  }
  const expiresAt = endOf(expiresIn);
  return { id, jwt: sign({ id, expiresAt }), expiresAt };
}

async function findMachine(client: pg.ClientBase, name: string): Promise<{ id: string; issuer: string | null }> {
  const { rows } = await client.query<{ id: string; issuer: string | null }>(
    "select id, issuer from keyrow.machines where name = $1",
    [name],
  );
  return rows[0] ?? unknown();
}

function unknown(): never {
  throw new KeyrowError("NOT_FOUND", {
    message: "There is no machine of this name.",
    hint: "`keyrow machine list` names them.",
  });
}
