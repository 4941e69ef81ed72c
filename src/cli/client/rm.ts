import { end, examples, print } from "../command.ts";
import { oneCredentialCommand, open, type ScriptOptions, SERVER_HELP } from "../script.ts";

/** `keyrow rm`: gone; the log keeps that it was. */
export const rm = oneCredentialCommand("rm", "Deletes a credential, on the record.")
  .option("-y, --yes", "don't ask", false)
  .addHelpText("after", examples(["keyrow rm github/deploy --yes", "gone; the log keeps that it was"]))
  .addHelpText("after", "\nOn a terminal it asks first.")
  .addHelpText("after", SERVER_HELP)
  .action(async (credential: string, options: ScriptOptions & { readonly yes: boolean }) => {
    const { client, workspace } = await open(options);
    const { id, provider, name } = await client.describe(credential, { workspace });
    const { printable, printableJson } = await import("../../printable.ts");
    const title = printable(`${provider}/${name}`);
    if (!options.yes && process.stdin.isTTY) {
      const { confirmed } = await import("../../system/input.ts");
      if (!(await confirmed(`Delete ${title}?`))) return end("nothing was deleted", 1);
    }
    await client.remove(id);
    print(options.json ? printableJson({ provider, name, id, deleted: true }) : `deleted  ${title}`);
  });
