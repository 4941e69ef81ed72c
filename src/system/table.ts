import { type Column, minute, renderTable } from "../table.ts";
import type { SystemCredential } from "./credentials.ts";

const columns: ReadonlyArray<Column<SystemCredential>> = [
  ["CREDENTIAL", ({ provider, name }) => `${provider}/${name}`],
  ["TYPE", ({ type }) => type],
  ["VALUE", ({ maskedValue }) => maskedValue ?? "-"],
  ["ACTIVE", ({ isActive }) => (isActive ? "yes" : "no")],
  ["EXPIRES", ({ expiresAt }) => minute(expiresAt)],
  ["LAST USED", ({ lastUsedAt }) => minute(lastUsedAt)],
  ["CARRIED BY", ({ userEmail, userId }) => userEmail ?? userId],
];

/** SYSTEM credentials as lines of text, a head first; times are UTC, to the minute. */
export function systemTable(credentials: readonly SystemCredential[]): string[] {
  return renderTable(columns, credentials);
}
