import { Command } from "commander";
import { version } from "../version.ts";
import { adopt } from "./adopt.ts";
import { examples, helpWidth } from "./command.ts";
import { db } from "./db.ts";
import { handover } from "./handover.ts";
import { help } from "./help.ts";
import { identity } from "./identity.ts";
import { keys } from "./keys.ts";
import { machine } from "./machine.ts";
import { migrate } from "./migrate.ts";
import { rewrap } from "./rewrap.ts";
import { serve } from "./serve.ts";
import { setup } from "./setup.ts";
import { start } from "./start.ts";
import { system } from "./system.ts";
import { token } from "./token.ts";
import { worker } from "./worker.ts";

// A command's module is cheap: what it works with is imported by its action, so that help and typing errors are fast.
const commands = [
  start,
  serve,
  worker,
  migrate,
  setup,
  adopt,
  token,
  keys,
  rewrap,
  system,
  identity,
  machine,
  handover,
  db,
  help,
];

/** The whole of `keyrow`; it throws a CommanderError instead of leaving the process. */
export const program = new Command("keyrow")
  .description("Keeps an application's credentials in its own PostgreSQL.")
  .version(version, "-V, --version", "print the version")
  .helpOption("-h, --help", "show this help")
  .helpCommand(false)
  .enablePositionalOptions()
  .showSuggestionAfterError()
  .exitOverride()
  // Errors are printed in one place, `report.ts`.
  .configureOutput({
    outputError: () => undefined,
    getOutHelpWidth: () => helpWidth(process.stdout),
    getErrHelpWidth: () => helpWidth(process.stderr),
  })
  .addHelpText(
    "after",
    examples(
      ["keyrow start", "start the server"],
      ["keyrow token --user ana@example.com", "print a token"],
      ["keyrow help config", "every setting"],
    ),
  );

for (const one of commands) {
  program.addCommand(one.copyInheritedSettings(program));
  for (const sub of one.commands) sub.copyInheritedSettings(program);
}
