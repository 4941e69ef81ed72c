import { examples, print } from "../command.ts";
import { open, type ScriptOptions, SERVER_HELP, scriptCommand } from "../script.ts";

/** `keyrow whoami`: the server, and the user whose token this is. */
export const whoami = scriptCommand("whoami", "Shows the server, and whose token this is.")
  .addHelpText("after", examples(["keyrow whoami", "server, user and where the token is from"]))
  .addHelpText("after", SERVER_HELP)
  .action(async (options: ScriptOptions) => {
    const { findSession } = await import("../../script/connect.ts");
    const { url, from } = await findSession();
    const { client } = await open(options);
    const { id, name } = await client.whoami();
    const { printableJson } = await import("../../printable.ts");
    if (options.json) return print(printableJson({ server: url, id, name, from }));
    const { pairs } = await import("../../script/table.ts");
    const source = from === "login" ? "keyrow login" : "KEYROW_TOKEN";
    print(
      pairs([
        ["server", url],
        ["user", id],
        ["name", name ?? "-"],
        ["token of", source],
      ]).join("\n"),
    );
  });
