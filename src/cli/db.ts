import { command, examples } from "./command.ts";

/** `keyrow db`: graphile-migrate on the embedded server, and an address for psql. */
export const db = command(
  "db",
  "For DB admins: graphile-migrate on the embedded server, or `url`, an address for psql.",
)
  .argument("<command>", "url, or a command of graphile-migrate: watch, commit, uncommit, migrate, status, reset...")
  .argument("[args...]", "its arguments; for url: owner (the default), admin or superuser")
  .passThroughOptions()
  .allowUnknownOption()
  .addHelpText(
    "after",
    examples(
      ["keyrow db watch", "apply migrations/current as you edit it"],
      ['keyrow db commit -m "let auditors list"', "make a committed migration of it"],
      ["keyrow db uncommit", "and back, while nobody has it"],
      ['psql "$(keyrow db url)"', "psql as the tables' owner"],
      ['psql "$(keyrow db url admin)"', "psql as a DB admin, keyrow_admin"],
    ),
  )
  .addHelpText("after", "\nThe embedded server is the running one, or one that runs for as long as the command does.")
  .action(async (name: string, args: string[]) => {
    const { readConfig } = await import("../config.ts");
    const { databaseAddress, runGraphileMigrate } = await import("../database-admin.ts");
    const config = readConfig();
    if (name === "url") process.stdout.write(`${await databaseAddress(config, args[0] ?? "owner")}\n`);
    else process.exitCode = await runGraphileMigrate(config, [name, ...args]);
  });
