import { execFileSync } from "node:child_process";
import { cpus, totalmem } from "node:os";
import { version } from "../src/version.ts";
import type { Compared } from "./compare.ts";
import type { Figures } from "./rounds.ts";
import type { Goal, Measured } from "./speed.ts";

/** All that a run came to. */
export interface Report {
  readonly version: string;
  readonly commit: string;
  readonly at: string;
  readonly machine: {
    readonly cpus: number;
    readonly model: string;
    readonly memoryGiB: number;
    readonly node: string;
  };
  readonly compared?: Compared | undefined;
  readonly measured: readonly Measured[];
}

/** Puts where and when it was measured to what was measured. */
export function makeReport(measured: readonly Measured[], compared?: Compared): Report {
  const [first] = cpus();
  return {
    version,
    commit: commit(),
    at: new Date().toISOString(),
    machine: {
      cpus: cpus().length,
      model: first?.model ?? "unknown",
      memoryGiB: Math.round(totalmem() / 2 ** 30),
      node: process.versions.node,
    },
    compared,
    measured,
  };
}

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  try {
    return git("rev-parse", "--short", "HEAD").trim() + (git("status", "--porcelain") === "" ? "" : ", changed");
  } catch {
    return "unknown";
  }
}

/** The report as tables for a person. Only ratios are claims: the rest is of the machine. */
export function formatReport({ machine, commit, compared, measured, ...report }: Report): string {
  const heads = [
    `Keyrow ${report.version} (${commit}), ${report.at}`,
    `Node ${machine.node}, ${machine.cpus} x ${machine.model}, ${machine.memoryGiB} GiB`,
    ...(compared
      ? [`The servers gave ${compared.answers} like answers and left ${compared.entries} like entries in the log.`]
      : []),
  ];
  return `${[...heads, ...measured.map(formatMeasured)].join("\n")}\n`;
}

function formatMeasured({ title, figures, ratios }: Measured): string {
  const all = Object.values(figures);
  const shown = columns.filter(({ of }) => all.some((figure) => of(figure) !== undefined));
  const rows = Object.entries(figures).map(([name, figure]) => [
    name,
    ...shown.map(({ of, digits }) => of(figure)?.toFixed(digits) ?? ""),
  ]);
  const width = Math.max(10, ...rows.map(([name = ""]) => name.length));
  const line = ([name = "", ...cells]: string[]) =>
    `  ${name.padEnd(width)}${cells.map((cell) => cell.padStart(13)).join("")}`;
  const lines = [line(["", ...shown.map(({ head }) => head)]), ...rows.map(line)];
  for (const { name, median, min, max, goal } of ratios) {
    lines.push(
      `  ${name.padEnd(width)}  ${median.toFixed(2)} (${min.toFixed(2)} to ${max.toFixed(2)})${verdict(median, goal)}`,
    );
  }
  return `\n${title}\n${lines.join("\n")}`;
}

// Those that nobody has are left out.
const columns: ReadonlyArray<{ head: string; digits: number; of(figures: Figures): number | undefined }> = [
  { head: "requests/s", digits: 0, of: ({ requestsPerSecond }) => requestsPerSecond },
  { head: "values/s", digits: 0, of: ({ valuesPerSecond }) => valuesPerSecond },
  { head: "rows/s", digits: 0, of: ({ rowsPerSecond }) => rowsPerSecond },
  { head: "p50 ms", digits: 2, of: ({ p50 }) => p50 },
  { head: "p99 ms", digits: 2, of: ({ p99 }) => p99 },
  { head: "cpu ms", digits: 2, of: ({ cpu }) => cpu },
  { head: "memory MiB", digits: 0, of: ({ memory }) => memory },
];

function verdict(median: number, goal: Goal | undefined): string {
  if (goal === undefined) return "";
  const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = goal;
  const wanted = goal.least === undefined ? `at most ${most}` : `at least ${least}`;
  return `, ${wanted}: ${median >= least && median <= most ? "reached" : "NOT reached"}`;
}
