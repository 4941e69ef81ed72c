import { command, examples } from "./command.ts";

/** `keyrow token`: a token for a user, on standard output and nothing else there. */
export const token = command("token", "Prints a token for a user, where the secret that signs tokens is at hand.")
  .requiredOption("--user <email or id>", "whose token it is")
  .option("--expires <duration>", "how long it is valid: a number with s, m, h or d, 365d at most", "1h")
  .addHelpText(
    "after",
    examples(
      ["keyrow token --user ana@example.com", "a token for an hour"],
      ["keyrow token --user ana@example.com --expires 15m", "for a quarter of an hour"],
      ["KEYROW_DATA_DIR=/srv/keyrow keyrow token --user ana@example.com", "of another data directory"],
    ),
  )
  .addHelpText(
    "after",
    "\nThe secret is JWT_SECRET or, where that is unset, the one in the data directory.\nThe user is looked up in the database of ADMIN_DATABASE_URL or, where that is unset, in the embedded one.",
  )
  .action(async (options: { user: string; expires: string }) => {
    const { makeToken } = await import("../make-token.ts");
    const { readConfig } = await import("../config.ts");
    process.stdout.write(`${await makeToken(readConfig(), options)}\n`);
  });
