import { command, examples } from "./command.ts";

/** `keyrow serve`: the server alone, on a database of one's own. */
export const serve = command(
  "serve",
  "Serves the API on the database of DATABASE_URL. It never migrates; secrets and keys must be given.",
)
  .addHelpText(
    "after",
    examples([
      "DATABASE_URL=... JWT_PUBLIC_KEY=... KEYROW_KEY_FILE=... keyrow serve",
      "as the login keyrow_authenticator",
    ]),
  )
  .addHelpText(
    "after",
    "\n`keyrow help config` lists every setting. `keyrow setup` and `keyrow migrate` come before it.",
  )
  .action(async () => {
    const { readConfig } = await import("../config.ts");
    const config = readConfig(process.env, "server");
    // Else Grafast tells whoever starts the server to choose one.
    process.env.GRAPHILE_ENV ??= "production";
    const { runServe } = await import("../run-serve.ts");
    await runServe(config);
    process.exit();
  });
