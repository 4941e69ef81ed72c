import { command, examples } from "./command.ts";

/** `keyrow handover`: the credentials of somebody who leaves. */
export const handover = command(
  "handover",
  "Hands the WORKSPACE and SYSTEM credentials that a user made over to another, so that the user can be deleted.",
)
  .requiredOption("--from <email or id>", "who leaves")
  .requiredOption("--to <email or id>", "who takes over")
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow handover --from ana@example.com --to bo@example.com", "prints how many it were"],
      ["keyrow handover --from <id> --to <id> --json", "by ids, for a script"],
    ),
  )
  .addHelpText(
    "after",
    "\nUSER credentials stay with their owner, and go with them. Every value opens as before.\nThe database is that of ADMIN_DATABASE_URL or, where that is unset, the embedded one.",
  )
  .action(async (options: { from: string; to: string; json: boolean }) => {
    const { readConfig } = await import("../config.ts");
    const { handOver } = await import("../handover.ts");
    const count = await handOver(readConfig(), options);
    if (options.json) process.stdout.write(`${JSON.stringify({ handedOver: count })}\n`);
    else process.stdout.write(`${count} ${count === 1 ? "credential" : "credentials"} handed over\n`);
  });
