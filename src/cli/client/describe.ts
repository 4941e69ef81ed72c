import { examples, print } from "../command.ts";
import { oneCredentialCommand, open, type ScriptOptions, SERVER_HELP } from "../script.ts";

/** `keyrow describe`: everything of a credential but its value. */
export const describe = oneCredentialCommand("describe", "Shows a credential without its value.")
  .addHelpText("after", examples(["keyrow describe github/deploy", "its type, dates and mask"]))
  .addHelpText("after", SERVER_HELP)
  .action(async (credential: string, options: ScriptOptions) => {
    const { client, workspace } = await open(options);
    const found = await client.describe(credential, { workspace });
    const { printableJson } = await import("../../printable.ts");
    const { credentialLines } = await import("../../script/table.ts");
    print(options.json ? printableJson(found) : credentialLines(found).join("\n"));
  });
