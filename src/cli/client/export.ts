import { Option } from "commander";
import type { ChoiceOptions } from "../../script/choice.ts";
import type { ConnectOptions } from "../../script/connect.ts";
import { examples } from "../command.ts";
import { choosing, credentialCommand, SERVER_HELP } from "../script.ts";
import { printSecret } from "../value.ts";
import { VARIABLES_HELP } from "./run.ts";

interface ExportOptions extends ConnectOptions, ChoiceOptions {
  readonly json: boolean;
  readonly format: "dotenv" | "json" | "shell";
}

/** `keyrow export`: the values of credentials as variables, to be read by something else. */
export const exported = choosing(
  credentialCommand("export", "Prints the values of the chosen credentials as variables, on the record."),
)
  .addOption(new Option("--format <format>", "how").choices(["dotenv", "json", "shell"]).default("dotenv"))
  .addHelpText(
    "after",
    examples(
      ["(umask 077; keyrow export --only 'app/*' > .env)", "a file that only you can read"],
      ["eval \"$(keyrow export --only 'app/*' --format shell)\"", "into the shell itself"],
    ),
  )
  .addHelpText("after", VARIABLES_HELP)
  .addHelpText(
    "after",
    "\nWhat a format can't hold, such as NUL in a shell, or UID, which a shell keeps for itself, is refused, and nothing is printed. --json is --format json.",
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (options: ExportOptions) => {
    const { readChoice } = await import("../../script/choice.ts");
    const { connect } = await import("../../script/connect.ts");
    const { readVariables } = await import("../../script/variables.ts");
    const { writeVariables } = await import("../../script/formats.ts");
    const choice = await readChoice(options);
    const variables = await readVariables(await connect(options), choice);
    await printSecret(writeVariables(variables, options.json ? "json" : options.format));
  });
