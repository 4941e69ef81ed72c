import type { Command } from "commander";
import { coloured } from "../colour.ts";
import { command, helpWidth } from "./command.ts";

/** `keyrow help [topic...]`: of the program, of a command, or the settings. */
export const help = command("help", "Shows the help of a command, or every setting (`help config`).")
  .argument("[topic...]", "a command, as in `token create`, or config")
  .action(async (topic: readonly string[]) => {
    const program = help.parent ?? help;
    if (topic.join(" ") === "config") {
      process.stdout.write(await settingsHelp());
      return;
    }
    const found = topic.reduce<Command | undefined>(
      (group, word) => group?.commands.find((one) => one.name() === word),
      program,
    );
    if (found) return found.outputHelp();
    const { KeyrowError } = await import("../errors.ts");
    const names = program.commands.map((one) => one.name()).filter((name) => name !== "help");
    throw new KeyrowError("USAGE", {
      message: "There is no help on this.",
      hint: `Ask for ${names.join(", ")} or config.`,
    });
  });

async function settingsHelp(): Promise<string> {
  // The table and its parsers load here only: no other help needs them.
  const { renderSettings } = await import("./settings-help.ts");
  return renderSettings(helpWidth(process.stdout), (text) => coloured("bold", text, process.stdout));
}
