import { command, examples } from "./command.ts";

/** `keyrow setup`: the one-time SQL for a database of one's own. */
export const setup = command(
  "setup",
  "Prints the SQL that prepares a PostgreSQL of your own: roles, rights, revokes. An admin without superuser runs it once.",
)
  .option("--print", "print the SQL")
  .option("--with-foundation", "with users, workspaces, members and the activity log, where they are missing", false)
  .addHelpText(
    "after",
    examples(
      [
        'keyrow setup --print | psql -v ON_ERROR_STOP=1 "$ADMIN_URL"',
        "for an application that exists; ADMIN_URL without a password",
      ],
      ["keyrow setup --print --with-foundation > setup.sql", "for everybody else"],
    ),
  )
  .addHelpText(
    "after",
    "\nIt runs on PostgreSQL 15 to 18, by the owner of the database, a login with CREATEROLE, and may be run again: after an update of Keyrow, the same admin does so where `keyrow migrate` asks for it.",
  )
  .action(async ({ print, withFoundation }: { print?: boolean; withFoundation: boolean }) => {
    if (!print) {
      const { KeyrowError } = await import("../errors.ts");
      throw new KeyrowError("USAGE", {
        message: "`keyrow setup` runs no SQL itself: it prints what an admin of the database runs.",
        hint: "`keyrow setup --print`, and `keyrow setup --help` for what to do with it.",
      });
    }
    const { setupScript } = await import("../setup-script.ts");
    process.stdout.write(await setupScript({ withFoundation }));
  });
