import type { Credential, Token } from "../client.ts";
import { type Column, minute, renderTable } from "../table.ts";

const at = (time: string | null) => minute(time === null ? null : new Date(time));

const columns: ReadonlyArray<Column<Credential>> = [
  ["CREDENTIAL", ({ provider, name }) => `${provider}/${name}`],
  ["TYPE", ({ type }) => type],
  ["VALUE", ({ maskedValue }) => maskedValue ?? "-"],
  ["ACTIVE", ({ isActive }) => (isActive ? "yes" : "no")],
  ["EXPIRES", ({ expiresAt }) => at(expiresAt)],
  ["LAST USED", ({ lastUsedAt }) => at(lastUsedAt)],
  // The widest, which most are without: the others stand below one another on a narrow terminal, too.
  ["WORKSPACE", ({ workspaceId }) => workspaceId ?? "-"],
];

/** Credentials as lines of text, a head first; times are UTC, to the minute. */
export function credentialTable(credentials: readonly Credential[]): string[] {
  return renderTable(columns, credentials);
}

const tokenColumns: ReadonlyArray<Column<Token>> = [
  ["ID", ({ id }) => id],
  ["NAME", ({ name }) => name],
  ["EXPIRES", ({ expiresAt }) => at(expiresAt)],
  ["REVOKED", ({ revokedAt }) => at(revokedAt)],
  // The widest, as a credential's workspace.
  ["LIMITS", ({ limits }) => JSON.stringify(limits)],
];

/** Tokens as lines of text, a head first; times are UTC, to the minute. */
export function tokenTable(tokens: readonly Token[]): string[] {
  return renderTable(tokenColumns, tokens);
}

/** One credential as lines of a name and what it is. */
export function credentialLines(credential: Credential): string[] {
  const rows: Array<[string, string]> = [
    ["credential", `${credential.provider}/${credential.name}`],
    ["id", credential.id],
    ["scope", credential.scope],
    ["workspace", credential.workspaceId ?? "-"],
    ["type", credential.type],
    ["value", credential.maskedValue ?? "-"],
    ["description", credential.description ?? "-"],
    ["active", credential.isActive ? "yes" : "no"],
    ["expires", at(credential.expiresAt)],
    ["last used", at(credential.lastUsedAt)],
    ["rotated", at(credential.rotatedAt)],
    ["created", at(credential.createdAt)],
  ];
  return pairs(rows);
}

/** Names and what they are, in two columns. */
export function pairs(rows: ReadonlyArray<readonly [name: string, value: string]>): string[] {
  // The head of such a table would say nothing.
  return renderTable<readonly [string, string]>(
    [
      ["", ([name]) => name],
      ["", ([, value]) => value],
    ],
    rows,
  ).slice(1);
}
