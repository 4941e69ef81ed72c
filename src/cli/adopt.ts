import { printableJson } from "../printable.ts";
import { command, examples } from "./command.ts";

/** `keyrow adopt`: what stands between an application's database and Keyrow. */
export const adopt = command(
  "adopt",
  "Checks the database of an application that exists, at ADOPT_DATABASE_URL: what stands in the way, and what only its owner can run. It changes nothing.",
)
  .option("--check", "check; exit code 1 where something stands in the way or is left to run (the default)", false)
  .option("--sql <when>", "print the SQL alone: before (for the application's owner) or after (for keyrow_migrate)")
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow adopt --check", "what stands in the way?"],
      [
        'keyrow adopt --sql before | psql -v ON_ERROR_STOP=1 "$APP_OWNER_URL"',
        "run what only the owner can; no password in it",
      ],
      ["keyrow adopt --sql after > after.sql", "what follows `keyrow migrate`, to be read and filled in"],
    ),
  )
  .addHelpText(
    "after",
    "\nThe login is the application's owner, who sees all its rows, and no superuser. docs/adopt.md goes all the way.",
  )
  .action(async (options: { check: boolean; sql?: string; json: boolean }) => {
    const { KeyrowError } = await import("../errors.ts");
    const { sql } = options;
    if (sql !== undefined && sql !== "before" && sql !== "after") {
      throw new KeyrowError("USAGE", { message: "There is no SQL for that.", hint: "Ask for before or after." });
    }
    const { readAdoption } = await import("../config.ts");
    const { checkAdoption } = await import("../adopt.ts");
    const { renderAdoption } = await import("./adopt-report.ts");
    const { url, userSetting } = readAdoption();
    const adoption = await checkAdoption(url, userSetting);
    if (sql !== undefined) process.stdout.write(adoption.sql[sql]);
    else process.stdout.write(options.json ? `${printableJson(adoption)}\n` : renderAdoption(adoption));
    if (sql === undefined && !adoption.ready) process.exitCode = 1;
  });
