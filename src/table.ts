import { printable } from "./printable.ts";

/** A column of a table: its head, and what it shows of an item. */
export type Column<T> = readonly [head: string, cell: (item: T) => string];

/** Items as lines of text in columns, a head first. What comes from a database can't steer the terminal. */
export function renderTable<T>(columns: ReadonlyArray<Column<T>>, items: readonly T[]): string[] {
  const rows = [columns.map(([head]) => head), ...items.map((one) => columns.map(([, cell]) => printable(cell(one))))];
  const widths = columns.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd(widths[index] ?? 0))
      .join("  ")
      .trimEnd(),
  );
}

/** A time in UTC, to the minute. PostgreSQL has times that a Date does not reach. */
export function minute(time: Date | null): string {
  if (time === null) return "-";
  return Number.isNaN(time.getTime()) ? "out of range" : `${time.toISOString().slice(0, 16)}Z`;
}
