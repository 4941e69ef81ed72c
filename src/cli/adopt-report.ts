import type { Finding, Severity } from "../adopt/finding.ts";
import type { Adoption } from "../adopt.ts";
import { coloured } from "../colour.ts";
import { printable } from "../printable.ts";

const severities: ReadonlyArray<[Severity, "red" | "yellow" | "dim"]> = [
  ["in the way", "red"],
  ["to run", "yellow"],
  ["note", "dim"],
];

/** The check's findings for a terminal, the gravest first, and then the SQL that is next. */
export function renderAdoption({ ready, findings, sql }: Adoption): string {
  const sorted = severities.flatMap(([severity, colour]) =>
    findings.filter((one) => one.severity === severity).map((one) => renderFinding(one, colour)),
  );
  const verdict = ready ? "Nothing stands in the way.\n" : "";
  // Names in the SQL come from the database, and must not steer the terminal. `--sql` and `--json` give them as they are.
  const script = (sql.before || sql.after).split("\n").map(printable).join("\n");
  return [...sorted, verdict, script].filter((part) => part !== "").join("\n");
}

function renderFinding({ name, severity, what, remedy, rows }: Finding, colour: "red" | "yellow" | "dim"): string {
  const lines = [what, rows && `rows (${rows.count}): ${named(rows)}`, `remedy: ${remedy}`];
  const shown = lines.filter((line) => line !== undefined).map((line) => `    ${printable(line)}\n`);
  return `${coloured(colour, severity, process.stdout)}  ${name}\n${shown.join("")}`;
}

function named({ count, ids }: NonNullable<Finding["rows"]>): string {
  return `${ids.join(", ")}${count > ids.length ? " and others" : ""}`;
}
