import { Command } from "commander";
import { version } from "../version.ts";
import { adopt } from "./adopt.ts";
import { describe } from "./client/describe.ts";
import { exported } from "./client/export.ts";
import { get } from "./client/get.ts";
import { imported } from "./client/import.ts";
import { list } from "./client/list.ts";
import { login } from "./client/login.ts";
import { logout } from "./client/logout.ts";
import { rm } from "./client/rm.ts";
import { run } from "./client/run.ts";
import { revoke, rotate, set } from "./client/set.ts";
import { whoami } from "./client/whoami.ts";
import { EXIT_CODES, examples, fitted, helpWidth } from "./command.ts";
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
const scripts = [login, logout, whoami, list, get, set, rotate, revoke, rm, describe, run, imported, exported];
const commands = [
  ...scripts,
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
    writeOut: (help) => process.stdout.write(fitted(help, helpWidth(process.stdout))),
    writeErr: (help) => process.stderr.write(fitted(help, helpWidth(process.stderr))),
    getOutHelpWidth: () => helpWidth(process.stdout),
    getErrHelpWidth: () => helpWidth(process.stderr),
  })
  .addHelpText(
    "after",
    examples(
      ["keyrow start", "start the server"],
      ["keyrow token --user ana@example.com", "print a token"],
      ["keyrow login https://keyrow.example.com", "keep a server and a token"],
      ["keyrow get github/deploy", "print a value"],
      ["keyrow run --only 'github/*' -- ./deploy.sh", "run a command with values in its environment"],
      ["keyrow help config", "every setting"],
    ),
  )
  .addHelpText("after", EXIT_CODES);

function add(one: Command, to: Command): void {
  one.copyInheritedSettings(to);
  // Whose help it is that an error points to.
  const help = `keyrow ${to === program ? "" : `${to.name()} `}${one.name()} --help`;
  one.exitOverride((error) => {
    throw Object.assign(error, { help });
  });
  for (const sub of one.commands) add(sub, one);
}

for (const one of commands) {
  add(one, program);
  program.addCommand(one);
}
