import type { Outcome, PersonaName } from "./world.ts";
import { ids, personas, sealed } from "./world.ts";

/** Whom a credential belongs to. */
export const scopes = ["USER", "WORKSPACE", "SYSTEM"] as const;
/** One of the scopes. */
export type Scope = (typeof scopes)[number];

/** What is done to a credential, in the order of the matrix's columns. */
export const commands = ["select", "insert", "update", "delete", "reveal"] as const;
/** One of the commands. */
export type Command = (typeof commands)[number];

/** Those who come in through the API, as claims of a token would make them. */
export const apiPersonas = [
  "owner",
  "stranger",
  "workspace owner",
  "workspace admin",
  "member",
  "guest",
  "removed admin",
] as const satisfies readonly PersonaName[];

/** Rows touched, or the SQLSTATE; a list where Postgres may meet the error first or may not. */
export type Expected = Outcome | readonly Outcome[];
type Cells = readonly [select: Expected, insert: Expected, update: Expected, delete_: Expected, reveal: Expected];

/** A grant or a policy refuses it. */
const no = "42501";
const nothing: Cells = [0, no, 0, 0, 0];
const everything: Cells = [1, 1, 1, 1, 1];
const never: Cells = [no, no, no, no, no];
/** Without claims a policy hides the row, or its function raises before. */
const unknown: Cells = [[0, "28000"], [no, "28000"], [0, "28000"], [0, "28000"], "28000"];
/** A claim that is no UUID is an error as soon as a policy reads it. */
const malformed: Cells = [[0, "22P02"], [no, "22P02"], [0, "22P02"], [0, "22P02"], "22P02"];
/** Limits that can't be understood are an error as soon as a policy reads them. */
const senseless: Cells = [
  [0, "28000"],
  [no, "28000"],
  [0, "28000"],
  [0, "28000"],
  [0, "28000"],
];
const notTheirs: Cells = [0, 1, 0, 0, 0];
const listed: Cells = [1, no, 0, 0, 0];
const revealed: Cells = [1, no, 0, 0, 1];
const written: Cells = [1, 1, 1, 1, 0];
/** Everything but the ciphertext by the reveal function, which is the API's; `systemRevealers` has the other one. */
const maintenance: Cells = [1, 1, 1, 1, no];
/** It reads every row, and may change its ciphertext, but nothing else. */
const worker: Cells = [1, no, no, no, no];

/** The policy matrix: who x scope, and what comes of select, insert, update, delete and reveal. */
export const matrix: Readonly<Record<PersonaName, Readonly<Record<Scope, Cells>>>> = {
  owner: { USER: everything, WORKSPACE: nothing, SYSTEM: nothing },
  // Everybody may create a USER credential of their own: the insert is in the persona's name.
  stranger: { USER: [0, 1, 0, 0, 0], WORKSPACE: nothing, SYSTEM: nothing },
  "workspace owner": { USER: [0, 1, 0, 0, 0], WORKSPACE: everything, SYSTEM: nothing },
  "workspace admin": { USER: [0, 1, 0, 0, 0], WORKSPACE: everything, SYSTEM: nothing },
  member: { USER: [0, 1, 0, 0, 0], WORKSPACE: nothing, SYSTEM: nothing },
  guest: { USER: [0, 1, 0, 0, 0], WORKSPACE: nothing, SYSTEM: nothing },
  "removed admin": { USER: [0, 1, 0, 0, 0], WORKSPACE: nothing, SYSTEM: nothing },
  anonymous: { USER: never, WORKSPACE: never, SYSTEM: never },
  "no claims": { USER: unknown, WORKSPACE: unknown, SYSTEM: unknown },
  "malformed claims": { USER: malformed, WORKSPACE: malformed, SYSTEM: malformed },
  "DB admin": { USER: maintenance, WORKSPACE: maintenance, SYSTEM: maintenance },
  worker: { USER: worker, WORKSPACE: worker, SYSTEM: worker },
  "table owner": { USER: maintenance, WORKSPACE: maintenance, SYSTEM: maintenance },
  // Limits take away and never give. The insert is of github/new, and under USER scope of no workspace.
  "owner, github/* only": { USER: everything, WORKSPACE: nothing, SYSTEM: nothing },
  "owner, other credentials only": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "owner, to read": { USER: listed, WORKSPACE: nothing, SYSTEM: nothing },
  "owner, to reveal github/mine": { USER: revealed, WORKSPACE: nothing, SYSTEM: nothing },
  "owner, to write": { USER: written, WORKSPACE: nothing, SYSTEM: nothing },
  "owner, in the team": { USER: [1, no, 1, 1, 1], WORKSPACE: nothing, SYSTEM: nothing },
  "owner, in another team": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "admin, github/* only": { USER: notTheirs, WORKSPACE: everything, SYSTEM: nothing },
  "admin, other credentials only": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "admin, to read": { USER: nothing, WORKSPACE: listed, SYSTEM: nothing },
  "admin, to reveal */deploy": { USER: nothing, WORKSPACE: revealed, SYSTEM: nothing },
  "admin, to write": { USER: notTheirs, WORKSPACE: written, SYSTEM: nothing },
  "admin, to reveal and write github/dep*": { USER: nothing, WORKSPACE: [1, no, 1, 1, 1], SYSTEM: nothing },
  "admin, in the team": { USER: nothing, WORKSPACE: everything, SYSTEM: nothing },
  "admin, in another team": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "admin, no action": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "admin, no credential": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "admin, limits that hold together": { USER: nothing, WORKSPACE: listed, SYSTEM: nothing },
  "admin, a limit of nothing": { USER: notTheirs, WORKSPACE: everything, SYSTEM: nothing },
  "stranger, without limits on anything": { USER: notTheirs, WORKSPACE: nothing, SYSTEM: nothing },
  // No person: nothing of its own, of the team what it was given, to list and to reveal. No token gives it more.
  machine: { USER: nothing, WORKSPACE: revealed, SYSTEM: nothing },
  "machine, given other credentials": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "machine, of another team": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  // Nobody: what it would create in its own name has no user to belong to.
  "machine, removed": { USER: [0, "23503", 0, 0, 0], WORKSPACE: nothing, SYSTEM: nothing },
  "machine, to read": { USER: nothing, WORKSPACE: listed, SYSTEM: nothing },
  "machine, to reveal and write": { USER: nothing, WORKSPACE: revealed, SYSTEM: nothing },
  "machine, in another team": { USER: nothing, WORKSPACE: nothing, SYSTEM: nothing },
  "machine, an unknown limit": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
  "admin, an unknown limit": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
  "admin, no limits in the list": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
  "admin, a token made here": { USER: notTheirs, WORKSPACE: everything, SYSTEM: nothing },
  "admin, one made here that may less by its issuer": { USER: nothing, WORKSPACE: listed, SYSTEM: nothing },
  "admin, a token made of it": { USER: nothing, WORKSPACE: revealed, SYSTEM: nothing },
  "admin, a revoked token": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
  "admin, a token made of a revoked one": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
  "admin, a token that has ended": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
  "admin, an unknown token": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
  "stranger, somebody else's token": { USER: senseless, WORKSPACE: senseless, SYSTEM: senseless },
};

/** Who reveals a SYSTEM credential, by a function of its own; to all others it is refused. USER and WORKSPACE rows it never gives. */
export const systemRevealers: Readonly<Partial<Record<PersonaName, Outcome>>> = { "DB admin": 1 };

/** One cell of the matrix. */
export interface Cell {
  readonly who: PersonaName;
  readonly scope: Scope;
  readonly command: Command;
  readonly expected: Expected;
}

/** The matrix, cell by cell. */
export const cells: readonly Cell[] = Object.entries(matrix).flatMap(([who, byScope]) =>
  Object.entries(byScope).flatMap(([scope, row]) =>
    row.map((expected, index) => ({ who, scope, command: commands[index], expected }) as Cell),
  ),
);

/** What somebody runs for a command, on the world's row of that scope. */
export function statement({ who, scope, command }: Pick<Cell, "who" | "scope" | "command">): string {
  const id = ids[scope];
  switch (command) {
    case "select":
      return `select id from public.user_credentials where id = '${id}'`;
    case "insert": {
      const { user } = personas[who];
      const own = user === null || user === "not-a-uuid" ? ids.ana : user;
      return `
        insert into public.user_credentials
          (user_id, workspace_id, name, provider, type, scope, encrypted_value, key_id)
        values ('${own}', ${scope === "WORKSPACE" ? `'${ids.team}'` : "null"}, 'new', 'github', 'API_KEY', '${scope}',
          '${sealed()}', 'local:20260101-0000000a')`;
    }
    case "update":
      return `update public.user_credentials set description = 'changed' where id = '${id}'`;
    case "delete":
      return `delete from public.user_credentials where id = '${id}'`;
    case "reveal":
      return `select id from keyrow.reveal_user_credentials(array['${id}']::uuid[]) where encrypted_value is not null`;
  }
}
