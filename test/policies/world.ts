import type { ExecutionContext } from "ava";
import type pg from "pg";
import { DatabaseError } from "pg";
import type { Login } from "../helpers/database.ts";

/** The people and things of the policy tests, by id. The last digits tell them apart in a failure. */
export const ids = {
  ana: "00000000-0000-4000-8000-0000000000a1",
  stranger: "00000000-0000-4000-8000-0000000000a2",
  workspaceOwner: "00000000-0000-4000-8000-0000000000a3",
  workspaceAdmin: "00000000-0000-4000-8000-0000000000a4",
  member: "00000000-0000-4000-8000-0000000000a5",
  guest: "00000000-0000-4000-8000-0000000000a6",
  removedAdmin: "00000000-0000-4000-8000-0000000000a7",
  machine: "00000000-0000-4000-8000-0000000000d1",
  otherMachine: "00000000-0000-4000-8000-0000000000d2",
  strangersMachine: "00000000-0000-4000-8000-0000000000d3",
  removedMachine: "00000000-0000-4000-8000-0000000000d4",
  team: "00000000-0000-4000-8000-0000000000b1",
  otherTeam: "00000000-0000-4000-8000-0000000000b2",
  USER: "00000000-0000-4000-8000-0000000000c1",
  WORKSPACE: "00000000-0000-4000-8000-0000000000c2",
  SYSTEM: "00000000-0000-4000-8000-0000000000c3",
  token: "00000000-0000-4000-8000-0000000000e1",
  childToken: "00000000-0000-4000-8000-0000000000e2",
  revokedToken: "00000000-0000-4000-8000-0000000000e3",
  orphanedToken: "00000000-0000-4000-8000-0000000000e4",
  endedToken: "00000000-0000-4000-8000-0000000000e5",
} as const;

/** A value in the local cipher's form; each letter makes another one. */
export function sealed(letter = "A"): string {
  return `${letter.repeat(16)}:${"A".repeat(22)}==:${letter.repeat(4)}`;
}

/**
 * The world: Ana, a member of the team, with a USER credential that notes the team; a WORKSPACE credential of the team
 * that a since removed admin made; a SYSTEM credential that carries Ana's id. So each of them has a claim on a row
 * that is not theirs. The stranger owns another team. Machines have what they were given of a team. The workspace's
 * admin has tokens that Keyrow made.
 */
export const world = `
  insert into public.users (id, email, name) values
    ('${ids.ana}', 'ana@example.org', 'Ana'),
    ('${ids.stranger}', 'stranger@example.org', 'Stranger'),
    ('${ids.workspaceOwner}', 'owner@example.org', 'Workspace owner'),
    ('${ids.workspaceAdmin}', 'admin@example.org', 'Workspace admin'),
    ('${ids.member}', 'member@example.org', 'Member'),
    ('${ids.guest}', 'guest@example.org', 'Guest'),
    ('${ids.removedAdmin}', 'removed@example.org', 'Removed admin');
  insert into public.workspaces (id, name) values ('${ids.team}', 'Team'), ('${ids.otherTeam}', 'Other team');
  insert into public.workspace_members (workspace_id, user_id, role) values
    ('${ids.team}', '${ids.ana}', 'MEMBER'),
    ('${ids.team}', '${ids.workspaceOwner}', 'OWNER'),
    ('${ids.team}', '${ids.workspaceAdmin}', 'ADMIN'),
    ('${ids.team}', '${ids.member}', 'MEMBER'),
    ('${ids.team}', '${ids.guest}', 'GUEST'),
    ('${ids.team}', '${ids.removedAdmin}', 'ADMIN'),
    ('${ids.otherTeam}', '${ids.stranger}', 'OWNER');
  insert into public.user_credentials
    (id, user_id, workspace_id, name, provider, type, scope, encrypted_value, key_id)
  values
    ('${ids.USER}', '${ids.ana}', '${ids.team}', 'mine', 'github', 'API_KEY', 'USER', '${sealed()}', 'local:20260101-0000000a'),
    ('${ids.WORKSPACE}', '${ids.removedAdmin}', '${ids.team}', 'deploy', 'github', 'API_KEY', 'WORKSPACE', '${sealed()}', 'local:20260101-0000000a'),
    ('${ids.SYSTEM}', '${ids.ana}', null, 'mail', 'smtp', 'PASSWORD', 'SYSTEM', '${sealed()}', 'local:20260101-0000000a');
  delete from public.workspace_members where user_id = '${ids.removedAdmin}';
  insert into keyrow.machines (id, name, workspace_id, credentials) values
    ('${ids.machine}', 'machine', '${ids.team}', array['github/*']),
    ('${ids.otherMachine}', 'other', '${ids.team}', array['gitlab/*', 'GitHub/*', 'git*b/m', 'github/deploy?', '_ithub/deploy']),
    ('${ids.strangersMachine}', 'strangers', '${ids.otherTeam}', array['*/*']);
  insert into keyrow.tokens (id, user_id, parent_id, name, limits, created_at, expires_at, revoked_at) values
    ('${ids.token}', '${ids.workspaceAdmin}', null, 'reveal', '[{"credentials": ["github/*"], "actions": ["reveal", "write"]}]',
      now(), now() + interval '1 hour', null),
    ('${ids.childToken}', '${ids.workspaceAdmin}', '${ids.token}', 'child', '[{"credentials": ["*/deploy"]}, {"actions": ["reveal"]}]',
      now(), now() + interval '1 hour', null),
    ('${ids.revokedToken}', '${ids.workspaceAdmin}', null, 'revoked', '[{}]', now(), now() + interval '1 hour', now()),
    ('${ids.orphanedToken}', '${ids.workspaceAdmin}', '${ids.revokedToken}', 'orphaned', '[{}]',
      now(), now() + interval '1 hour', null),
    ('${ids.endedToken}', '${ids.workspaceAdmin}', null, 'ended', '[{}]',
      now() - interval '2 hours', now() - interval '1 hour', null)`;

/** Who is asking: a login, the role it takes, and the user that the claims name. */
export interface Persona {
  readonly login: Login;
  readonly role?: string;
  /** Null: no claims are set. */
  readonly user: string | null;
  /** What the token is limited to; absent: it has no limits. */
  readonly limits?: unknown;
}

const api = (user: string | null): Persona => ({ login: "keyrow_authenticator", role: "keyrow_user", user });
const owner = (limits: unknown): Persona => ({ ...api(ids.ana), limits });
const admin = (limits: unknown): Persona => ({ ...api(ids.workspaceAdmin), limits });

const everybody = {
  owner: api(ids.ana),
  stranger: api(ids.stranger),
  "workspace owner": api(ids.workspaceOwner),
  "workspace admin": api(ids.workspaceAdmin),
  member: api(ids.member),
  guest: api(ids.guest),
  "removed admin": api(ids.removedAdmin),
  anonymous: { login: "keyrow_authenticator", role: "keyrow_anonymous", user: null },
  "no claims": api(null),
  "malformed claims": api("not-a-uuid"),
  "DB admin": { login: "postgres", role: "keyrow_admin", user: null },
  worker: { login: "keyrow_worker", user: null },
  "table owner": { login: "keyrow_migrate", role: "keyrow_owner", user: null },
  "owner, github/* only": owner({ credentials: ["github/*"] }),
  "owner, other credentials only": owner({ credentials: ["github/deploy", "gitlab/*", "git*b/m", "GitHub/*"] }),
  "owner, to read": owner({ actions: ["read"] }),
  "owner, to reveal github/mine": owner({ credentials: ["github/mine"], actions: ["reveal"] }),
  "owner, to write": owner({ actions: ["write"] }),
  "owner, in the team": owner({ workspace: ids.team }),
  "owner, in another team": owner({ workspace: ids.otherTeam }),
  "admin, github/* only": admin({ credentials: ["github/*"] }),
  "admin, other credentials only": admin({ credentials: ["github/mine", "*/deploy?", "_ithub/deploy", "github/d.*"] }),
  "admin, to read": admin({ actions: ["read"] }),
  "admin, to reveal */deploy": admin({ credentials: ["*/deploy"], actions: ["reveal"] }),
  "admin, to write": admin({ actions: ["write"] }),
  "admin, to reveal and write github/dep*": admin({ credentials: ["github/dep*"], actions: ["reveal", "write"] }),
  "admin, in the team": admin({ workspace: ids.team }),
  "admin, in another team": admin({ workspace: ids.otherTeam }),
  "admin, no action": admin({ actions: [] }),
  "admin, no credential": admin({ credentials: [] }),
  "admin, limits that hold together": admin([
    { credentials: ["github/*"], actions: ["reveal"] },
    { actions: ["write"] },
  ]),
  "admin, a limit of nothing": admin({}),
  "stranger, without limits on anything": { ...api(ids.stranger), limits: {} },
  machine: api(ids.machine),
  "machine, given other credentials": api(ids.otherMachine),
  "machine, of another team": api(ids.strangersMachine),
  "machine, removed": api(ids.removedMachine),
  "machine, to read": { ...api(ids.machine), limits: { actions: ["read"] } },
  "machine, to reveal and write": { ...api(ids.machine), limits: { actions: ["reveal", "write"] } },
  "machine, in another team": { ...api(ids.machine), limits: { workspace: ids.otherTeam } },
  "machine, an unknown limit": { ...api(ids.machine), limits: { only: ["github/*"] } },
  "admin, an unknown limit": admin({ credential: ["github/*"] }),
  "admin, no limits in the list": admin([]),
  "admin, a token made here": admin({ token: ids.token }),
  "admin, one made here that may less by its issuer": admin([{ token: ids.token }, { actions: ["read"] }]),
  "admin, a token made of it": admin({ token: ids.childToken }),
  "admin, a revoked token": admin({ token: ids.revokedToken }),
  "admin, a token made of a revoked one": admin({ token: ids.orphanedToken }),
  "admin, a token that has ended": admin({ token: ids.endedToken }),
  "admin, an unknown token": admin({ token: ids.USER }),
  "stranger, somebody else's token": { ...api(ids.stranger), limits: { token: ids.token } },
} as const satisfies Record<string, Persona>;

/** The name of somebody in the policy matrix. */
export type PersonaName = keyof typeof everybody;

/** Everybody of the policy matrix. */
export const personas: Readonly<Record<PersonaName, Persona>> = everybody;

/** How claims are set: by the server, or by PostgREST. */
export type Convention = "keyrow" | "postgrest";

/** What the setting keyrow.limits says of a persona. */
export function limitsOf({ limits }: Persona): string {
  return limits === undefined ? "none" : JSON.stringify(Array.isArray(limits) ? limits : [limits]);
}

/** Takes the persona's role and sets its claims, until the transaction ends. */
export async function become(client: pg.ClientBase, who: Persona, convention: Convention = "keyrow"): Promise<void> {
  if (who.role) await client.query(`set local role ${who.role}`);
  // Undefined limits are left out.
  const claims = JSON.stringify({ sub: who.user, role: who.role, keyrow: who.limits });
  const settings =
    convention === "keyrow"
      ? { "jwt.claims.user_id": who.user ?? "", "keyrow.limits": limitsOf(who) }
      : { "request.jwt.claims": who.user === null ? "" : claims };
  for (const entry of Object.entries(settings)) await client.query("select set_config($1, $2, true)", entry);
}

/** Runs `work` in a transaction that is rolled back, whatever happens. */
export async function rolledBack<T>(pool: pg.Pool, work: (client: pg.ClientBase) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  try {
    await client.query("begin");
    return await work(client);
  } finally {
    await client.query("rollback");
    client.release();
  }
}

/** What a statement came to: the rows it touched, or the SQLSTATE that stopped it. */
export type Outcome = number | string;

/** Runs a statement and gives what it came to. The transaction is over when it fails, unless `Sandbox` runs it. */
export async function outcome(client: pg.ClientBase, text: string, values?: unknown[]): Promise<Outcome> {
  try {
    return (await client.query(text, values)).rowCount ?? 0;
  } catch (error) {
    if (error instanceof DatabaseError && error.code) return error.code;
    throw error;
  }
}

/** Everybody in one transaction, which begins as the superuser and in which the world exists. */
export class Sandbox {
  readonly client: pg.ClientBase;

  constructor(client: pg.ClientBase) {
    this.client = client;
  }

  /** Back to the superuser, without claims. */
  async superuser(): Promise<void> {
    await this.client.query(`
      reset session authorization;
      reset role;
      set local jwt.claims.user_id = '';
      set local request.jwt.claims = '';
      set local keyrow.limits = ''`);
  }

  /** Becomes somebody, with the login they come in through. */
  async become(who: Persona): Promise<void> {
    await this.superuser();
    if (who.login !== "postgres") await this.client.query(`set local session authorization ${who.login}`);
    await become(this.client, who);
  }

  /** Runs a statement as somebody and gives what it came to; what failed leaves the transaction usable. */
  async try(who: Persona, text: string, values?: unknown[]): Promise<Outcome> {
    await this.become(who);
    await this.client.query("savepoint attempt");
    const came = await outcome(this.client, text, values);
    if (typeof came === "string") await this.client.query("rollback to savepoint attempt");
    await this.superuser();
    return came;
  }

  /** Runs a statement as somebody, and gives the error that it must fail with. */
  async error(who: Persona, text: string, values?: unknown[]): Promise<DatabaseError> {
    await this.become(who);
    await this.client.query("savepoint attempt");
    try {
      await this.client.query(text, values);
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      await this.client.query("rollback to savepoint attempt");
      await this.superuser();
      return error;
    }
    throw new Error(`did not fail: ${text}`);
  }

  /** Runs a query as somebody, and gives its rows. */
  async rows<Row extends pg.QueryResultRow>(who: Persona, text: string, values?: unknown[]): Promise<Row[]> {
    await this.become(who);
    const { rows } = await this.client.query<Row>(text, values);
    await this.superuser();
    return rows;
  }

  /** Runs statements as the superuser. */
  async run(text: string): Promise<void> {
    await this.client.query(text);
  }
}

/** The superuser: sees and does everything, triggers and constraints aside. */
export const superuser: Persona = { login: "postgres", user: null };

/**
 * Runs `work` in a world of its own, in a transaction that begins as the superuser and is rolled back. Worlds of one
 * database queue up, so that one which changes the schema and one which reads it never wait for each other in a circle.
 */
export async function inWorld<T>(pool: pg.Pool, work: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  return rolledBack(pool, async (client) => {
    await client.query("select pg_advisory_xact_lock(1)");
    await client.query(world);
    return work(new Sandbox(client));
  });
}

/** A claim about the world: what a scenario comes to, and what it comes to once a piece of the schema is missing. */
export interface Claim {
  readonly scenario: (sandbox: Sandbox) => Promise<unknown>;
  readonly holds: unknown;
  /** SQL that takes the piece away, run as the superuser in a world of its own. */
  readonly withoutIt: string;
  readonly broken: unknown;
}

/** Tests a claim twice: it holds, and without the piece of the schema that it is about it does not. */
export async function holdsBecauseOfIt(t: ExecutionContext, pool: pg.Pool, claim: Claim): Promise<void> {
  t.deepEqual(await inWorld(pool, claim.scenario), claim.holds);
  const broken = await inWorld(pool, async (sandbox) => {
    await sandbox.run(claim.withoutIt);
    return claim.scenario(sandbox);
  });
  t.deepEqual(broken, claim.broken, `without it: ${claim.withoutIt}`);
}
