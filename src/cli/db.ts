import { command, endAs, examples } from "./command.ts";

/** `keyrow db`: graphile-migrate and psql on the embedded server, and its address. */
export const db = command(
  "db",
  "For DB admins: graphile-migrate on the embedded server, or `psql`, or `url`, its address.",
)
  .argument(
    "<command>",
    "psql, url, or a command of graphile-migrate: watch, commit, uncommit, migrate, status, reset...",
  )
  .argument("[args...]", "its arguments; for psql and url first: owner (the default), admin or superuser")
  .passThroughOptions()
  .allowUnknownOption()
  .addHelpText(
    "after",
    examples(
      ["keyrow db watch", "apply migrations/current as you edit it"],
      ['keyrow db commit -m "let auditors list"', "make a committed migration of it"],
      ["keyrow db uncommit", "and back, while nobody has it"],
      ["keyrow db psql", "psql as the tables' owner"],
      ["keyrow db psql admin -c 'table users'", "psql as a DB admin, keyrow_admin"],
    ),
  )
  .addHelpText(
    "after",
    "\nThe embedded server is the running one, or one that runs for as long as the command does; psql and url take the running one. The address of url has a password in it: as an argument, everybody on the machine could read it.",
  )
  .action(async (name: string, args: string[]) => {
    const { readConfig } = await import("../config.ts");
    const { databaseAddress, runGraphileMigrate, runPsql } = await import("../database-admin.ts");
    const config = readConfig();
    if (name === "url") process.stdout.write(`${await databaseAddress(config, args[0] ?? "owner")}\n`);
    else if (name === "psql") await endAs(await runPsql(config, args));
    else process.exitCode = await runGraphileMigrate(config, [name, ...args]);
  });
