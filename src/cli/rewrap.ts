import { InvalidArgumentError } from "commander";
import { command, examples } from "./command.ts";

interface Options {
  readonly to?: string;
  readonly rate?: number;
  readonly fromLegacy: boolean;
  readonly legacyKeyFile?: string;
  readonly legacyTransitKey?: string;
  readonly json: boolean;
}

/** `keyrow rewrap`: values under older keys, moved to the newest. */
export const rewrap = command(
  "rewrap",
  "Moves the values of older keys to the newest one, while servers run; Ctrl-C stops it, and it goes on where it was.",
)
  .option("--to <which>", "transit or local; the one that seals where nobody says")
  .option("--rate <rows>", "how many rows a second at most", parseRate)
  .option("--from-legacy", "move another application's values, which are bound to nothing, under the keys here", false)
  .option(
    "--legacy-key-file <path>",
    "a file with its key of 32 bytes in hexadecimal or base64, for iv:authTag:encrypted",
  )
  .option("--legacy-transit-key <mount/key>", "its Transit key, for vault:vN:...")
  .option("--json", "say what was done as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow rewrap", "after `keyrow keys rotate`, or when OpenBao is new"],
      ["keyrow rewrap --rate 200", "with little load"],
      ["keyrow rewrap --to local", "away from OpenBao; stop the workers first, which would move values back"],
      ["keyrow rewrap --from-legacy --legacy-key-file old.key", "what came with another application's table"],
    ),
  )
  .addHelpText(
    "after",
    "\nEach value is opened in its new form before the old one is dropped; within OpenBao it never leaves it. Whoever changes a row meanwhile wins. Rows whose value does not open, or whose key is not here, stay as they are, and make the exit code 1.\nThe database is that of WORKER_DATABASE_URL, as keyrow_worker, or the embedded one; the keys are the servers'.",
  )
  .action(async (given: Options) => {
    const { readConfig } = await import("../config.ts");
    const config = readConfig();
    const { KeyrowError } = await import("../errors.ts");
    const { to, rate, fromLegacy, legacyKeyFile: keyFile, legacyTransitKey, json } = given;
    const usage = (message: string, hint: string) => new KeyrowError("USAGE", { message, hint });
    if (to !== undefined && to !== "transit" && to !== "local") {
      throw usage("There is no such place to move values to.", "Give transit or local.");
    }
    const named = keyFile !== undefined || legacyTransitKey !== undefined;
    if (fromLegacy !== named) {
      throw usage(
        "--from-legacy goes with the legacy key, and that with it.",
        "Give --from-legacy with --legacy-key-file <path> or --legacy-transit-key <mount/key>.",
      );
    }
    const transit = legacyTransitKey === undefined ? undefined : parseTransitKey(legacyTransitKey);
    if (legacyTransitKey !== undefined && transit === undefined) {
      throw usage("That is not the name of a Transit key.", "Write <mount>/<key>, as in transit/app.");
    }
    const stop = new AbortController();
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
    const { createProgressBar } = await import("./progress.ts");
    const { rewrap } = await import("../reseal/rewrap.ts");
    const bar = createProgressBar("rewrap");
    const result = await rewrap(config, {
      to,
      rate,
      legacy: fromLegacy ? { keyFile, transit } : undefined,
      signal: stop.signal,
      onProgress: ({ moved, failed }, total) => bar.update(moved + failed.size, total),
    }).finally(() => bar.end());
    const { moved, failed, left, keyless } = result;
    const rows = (count: number) => `${count.toLocaleString("en-US")} ${count === 1 ? "row" : "rows"}`;
    if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
    else {
      const lines = [
        `moved  ${rows(moved)}`,
        ...(failed.length > 0 ? [`closed ${rows(failed.length)}: ${failed.slice(0, 3).join(", ")}`] : []),
        ...(left > 0 ? [`left   ${rows(left)}: run it again`] : []),
        ...(keyless > 0 ? [`keyless ${rows(keyless)}: keyrow keys status --rows`] : []),
      ];
      process.stdout.write(`${lines.join("\n")}\n`);
    }
    if (stop.signal.aborted) process.exitCode = 130;
    else if (failed.length > 0 || left > 0 || keyless > 0) process.exitCode = 1;
  });

function parseRate(text: string): number {
  if (/^[1-9]\d{0,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It is a whole number from 1 to 9999999.");
}

function parseTransitKey(text: string): { mount: string; key: string } | undefined {
  const [, mount, key] = /^([A-Za-z0-9_.-]+(?:\/[A-Za-z0-9_.-]+)*)\/([A-Za-z0-9_.-]+)$/.exec(text) ?? [];
  return mount === undefined || key === undefined ? undefined : { mount, key };
}
