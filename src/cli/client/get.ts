import { examples, print } from "../command.ts";
import { oneCredentialCommand, open, type ScriptOptions, SERVER_HELP } from "../script.ts";
import { printValue } from "../value.ts";

/** `keyrow get`: a value and nothing else. */
export const get = oneCredentialCommand("get", "Prints the value of a credential, on the record.")
  .addHelpText(
    "after",
    examples(
      ["keyrow get github/deploy", "the value, and nothing else"],
      ['TOKEN="$(keyrow get github/deploy)"', "for a script"],
      ["keyrow get tls/key --workspace acme > key.pem", "every byte as it is"],
    ),
  )
  .addHelpText("after", "\nA newline follows on a terminal alone, which gets no value that would steer it.")
  .addHelpText("after", SERVER_HELP)
  .action(async (credential: string, options: ScriptOptions) => {
    const { client, workspace } = await open(options);
    const value = await client.get(credential, { workspace });
    if (options.json) {
      const { printableJson } = await import("../../printable.ts");
      return print(printableJson({ credential, value }));
    }
    await printValue(value);
  });
