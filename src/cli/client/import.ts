import { Option } from "commander";
import { examples, print, several } from "../command.ts";
import { credentialCommand, open, type ScriptOptions, SERVER_HELP } from "../script.ts";
import { typeOf } from "./set.ts";

interface ImportOptions extends ScriptOptions {
  readonly format?: "dotenv" | "json";
  readonly provider?: string;
  readonly map?: string[];
  readonly type?: string;
  readonly dryRun: boolean;
}

/** `keyrow import`: credentials from a file, all or none. */
export const imported = credentialCommand(
  "import",
  "Sets credentials from a dotenv or JSON file: all of them, or none.",
)
  .argument("<file>", "the file, or - for standard input")
  .addOption(new Option("--format <format>", "json for what ends in .json, else dotenv").choices(["dotenv", "json"]))
  .option("--provider <provider>", "what a variable becomes a credential of: TOKEN is <provider>/TOKEN")
  .option("--map <VARIABLE=provider/name>", "a variable's own credential; may stand several times", several)
  .option("--type <type>", "of all of them; else new ones are SECRET, and the others stay what they are")
  .option("--dry-run", "say what would be done, and do nothing", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow import .env --provider app --dry-run", "what would be created or renewed"],
      ["keyrow import secrets.json", '{ "github/deploy": "ghp_..." }'],
      ["keyrow import .env --map GITHUB_TOKEN=github/deploy --provider app", "one of them elsewhere"],
    ),
  )
  .addHelpText(
    "after",
    "\nA name with a slash is the credential's own. Of any other, --map or --provider says where it goes.",
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (file: string, options: ImportOptions) => {
    const { readImport } = await import("../../script/import.ts");
    const type = await typeOf(options.type);
    const items = (await readImport(file, options)).map((item) => ({ ...item, type }));
    const { client, workspace } = await open(options);
    const outcomes = options.dryRun
      ? await client.foresee(items, { workspace })
      : (await client.setAll(items, { workspace })).map(({ created }) => created);
    const { printable, printableJson } = await import("../../printable.ts");
    const done = items.map(({ credential }, index) => ({ credential, created: outcomes[index] === true }));
    if (options.json) return print(printableJson({ dryRun: options.dryRun, credentials: done }));
    for (const { credential, created } of done) print(`${created ? "created" : "renewed"}  ${printable(credential)}`);
    const created = done.filter((one) => one.created).length;
    const would = options.dryRun ? "would be " : "";
    process.stderr.write(`${created} ${would}created, ${done.length - created} ${would}renewed\n`);
  });
