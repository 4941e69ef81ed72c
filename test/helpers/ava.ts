import { join } from "node:path";

const root = join(import.meta.dirname, "../..");

/** How ava is started: Node's arguments, ava and its report. */
export const avaArguments: readonly string[] = [
  "--import",
  join(import.meta.dirname, "ava-report.ts"),
  join(root, "node_modules/ava/entrypoints/cli.js"),
  "--tap",
];
