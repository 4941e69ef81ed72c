import { examples, print } from "../command.ts";
import { open, type ScriptOptions, SERVER_HELP, scriptCommand } from "../script.ts";

/** `keyrow whoami`: the server, and the user or machine whose token this is. */
export const whoami = scriptCommand("whoami", "Shows the server, and whose token this is.")
  .addHelpText("after", examples(["keyrow whoami", "server, user or machine, and where the token is from"]))
  .addHelpText("after", SERVER_HELP)
  .action(async (options: ScriptOptions) => {
    const { findSession } = await import("../../script/connect.ts");
    const { url, from } = await findSession();
    const { client } = await open(options);
    const { id, name, machine } = await client.whoami();
    const { printableJson } = await import("../../printable.ts");
    if (options.json) return print(printableJson({ server: url, id, name, machine, from }));
    const { minute } = await import("../../table.ts");
    const { pairs } = await import("../../script/table.ts");
    const source = from === "login" ? "keyrow login" : "KEYROW_TOKEN";
    print(
      pairs([
        ["server", url],
        [machine === null ? "user" : "machine", id],
        ["name", name ?? "-"],
        ...(machine === null
          ? []
          : ([
              ["workspace", machine.workspaceId],
              ["credentials", machine.credentials.join(" ")],
              ["until", minute(machine.expiresAt === null ? null : new Date(machine.expiresAt))],
            ] as const)),
        ["token of", source],
      ]).join("\n"),
    );
  });
