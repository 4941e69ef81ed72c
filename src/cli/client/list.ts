import { examples, print } from "../command.ts";
import { credentialCommand, open, type ScriptOptions, SERVER_HELP } from "../script.ts";

/** `keyrow list`: credentials without their values. */
export const list = credentialCommand("list", "Lists the credentials that you may see, without their values.")
  .addHelpText(
    "after",
    examples(
      ["keyrow list", "a table; times are UTC"],
      ["keyrow list --workspace acme --json", "those of one workspace, with everything"],
    ),
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (options: ScriptOptions) => {
    const { client, workspace } = await open(options);
    const { listAll } = await import("../../script/listed.ts");
    const found = await listAll(client, workspace);
    const { printableJson } = await import("../../printable.ts");
    const { credentialTable } = await import("../../script/table.ts");
    if (options.json) print(printableJson(found));
    else if (found.length > 0) print(credentialTable(found).join("\n"));
    else process.stderr.write("there are no credentials\n");
  });
