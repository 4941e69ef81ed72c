import type { ChoiceOptions, ProjectFile } from "../../script/choice.ts";
import type { ConnectOptions } from "../../script/connect.ts";
import { endAs, examples, unprinted } from "../command.ts";
import { choosing, SERVER_HELP, silentCommand } from "../script.ts";

interface RunOptions extends ConnectOptions, ChoiceOptions {
  readonly keepToken: boolean;
}

/** How credentials become variables, for each help that needs it. */
export const VARIABLES_HELP =
  '\ngithub/deploy becomes GITHUB_DEPLOY: what is neither letter nor digit is an underscore. A credential of --map has the names given there alone. Where neither option is given, .keyrow.json in the working directory says what to take: { "only": ["github/*"], "map": { "GITHUB_TOKEN": "github/deploy" }, "workspace": "acme" }. Its workspace counts where none is given. Its patterns name their provider.\nA pattern skips what is revoked; all are revealed by one request, on the record. A variable that tells programs what to do, as NODE_OPTIONS or GIT_SSH_COMMAND, is taken where --map names it, and refused otherwise.';

/** `keyrow run`: a command with credentials in its environment. */
export const run = unprinted(
  choosing(silentCommand("run", "Runs a command with the chosen credentials as environment variables.")),
  "child_process",
)
  .argument("<command...>", "the command and its arguments, after --")
  .option("--keep-token", "leave KEYROW_TOKEN in the command's environment", false)
  .passThroughOptions()
  .addHelpText(
    "after",
    examples(
      ["keyrow run --only 'github/*' -- ./deploy.sh", "GITHUB_DEPLOY and its like"],
      ["keyrow run --map GITHUB_TOKEN=github/deploy -- gh release create v1", "by another name"],
    ),
  )
  .addHelpText("after", VARIABLES_HELP)
  .addHelpText(
    "after",
    "\nSignals go to the command, and its exit code is that of `keyrow run`: 128 and the signal's number where one ended it, 127 where there is no such command, 126 where it can't be run. It starts only when every credential is there, and only --map replaces a variable that is set already.",
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (words: string[], options: RunOptions) => {
    const { readChoice } = await import("../../script/choice.ts");
    const { connect } = await import("../../script/connect.ts");
    const { readVariables } = await import("../../script/variables.ts");
    const { alreadySet } = await import("../../script/environment.ts");
    const { runWith } = await import("../../script/child.ts");
    const { tell } = await import("../report.ts");
    const choice = await readChoice(options);
    const variables = await readVariables(await connect(options), choice, alreadySet);
    if (process.stderr.isTTY && choice.file !== undefined) tell("note", whatFileGives(choice.file, variables));
    await endAs(await runWith(words, variables, options.keepToken));
  });

/** Whoever wrote the file need not be who runs the command. */
function whatFileGives({ name, chooses, workspace }: ProjectFile, variables: ReadonlyMap<string, string>): string {
  const given = [
    ...(chooses ? [[...variables.keys()].join(", ")] : []),
    ...(workspace === undefined ? [] : [`the workspace ${workspace}`]),
  ];
  return `${name} gives ${given.join(" of ")}`;
}
