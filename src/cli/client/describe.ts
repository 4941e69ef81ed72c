import { examples, print } from "../command.ts";
import { CREDENTIAL, credentialCommand, open, type ScriptOptions, SERVER_HELP, WHICH } from "../script.ts";

/** `keyrow describe`: everything of a credential but its value. */
export const describe = credentialCommand("describe", "Shows a credential without its value.")
  .argument(CREDENTIAL, WHICH)
  .addHelpText("after", examples(["keyrow describe github/deploy", "its type, dates and mask"]))
  .addHelpText("after", SERVER_HELP)
  .action(async (credential: string, options: ScriptOptions) => {
    const { client, workspace } = await open(options);
    const found = await client.describe(credential, { workspace });
    const { printableJson } = await import("../../printable.ts");
    const { credentialLines } = await import("../../script/table.ts");
    print(options.json ? printableJson(found) : credentialLines(found).join("\n"));
  });
