import type { SystemCredential } from "./credentials.ts";

const columns: ReadonlyArray<readonly [head: string, cell: (credential: SystemCredential) => string]> = [
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
  const rows = [
    columns.map(([head]) => head),
    ...credentials.map((one) => columns.map(([, cell]) => shown(cell(one)))),
  ];
  const widths = columns.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

function minute(time: Date | null): string {
  return time === null ? "-" : `${time.toISOString().slice(0, 16)}Z`;
}

/** What comes from the database must not steer the terminal. */
function shown(text: string): string {
  return text.replaceAll(/\p{Cc}/gu, "?");
}
