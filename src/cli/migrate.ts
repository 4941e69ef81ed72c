import { printable, printableJson } from "../printable.ts";
import { command, examples } from "./command.ts";

/** `keyrow migrate`: brings a database of one's own up to date. */
export const migrate = command("migrate", "Applies the committed migrations to the database of MIGRATE_DATABASE_URL.")
  .option(
    "--status",
    "say what is applied and what is pending, and change nothing; exit code 1 where something is pending",
    false,
  )
  .option("--dry-run", "say what would be applied, and change nothing", false)
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow migrate", "apply what is pending"],
      ["keyrow migrate --status", "is the database up to date?"],
      ["keyrow migrate --dry-run --json", "what would be applied, for a script"],
    ),
  )
  .addHelpText(
    "after",
    "\nThe login is keyrow_migrate, which `keyrow setup --print` makes. Where a version needs a role that the database was not set up with, nothing is migrated, and the error asks for that setup again.",
  )
  .action(async (options: { status: boolean; dryRun: boolean; json: boolean }) => {
    const { readMigrateUrl } = await import("../config.ts");
    const { migrateDatabase, migrationStatus } = await import("../migrate.ts");
    const url = readMigrateUrl();
    const say = (value: object, lines: readonly string[]) =>
      process.stdout.write(
        options.json ? `${printableJson(value)}\n` : lines.map((line) => `${printable(line)}\n`).join(""),
      );

    if (options.status || options.dryRun) {
      const version = await migrationStatus(url);
      const shown = options.status ? version.applied.map((name) => `applied  ${name}`) : [];
      const rest = [
        ...version.pending.map((name) => `pending  ${name}`),
        ...version.unknown.map((name) => `unknown  ${name}`),
      ];
      say(version, shown.length + rest.length > 0 ? [...shown, ...rest] : ["nothing to apply"]);
      if (options.status && rest.length > 0) process.exitCode = 1;
      return;
    }
    const applied = await migrateDatabase(url, (line) => void process.stderr.write(`${line}\n`));
    say({ applied }, applied.length > 0 ? applied.map((name) => `applied  ${name}`) : ["nothing to apply"]);
  });
