import { printableJson } from "../printable.ts";
import { ADMIN_DATABASE, command, examples, print } from "./command.ts";

const WHERE = `\nThe keys are those of KEYROW_KEY_FILE and of the OpenBao at BAO_ADDR, or the data directory's own.${ADMIN_DATABASE}`;

const status = command("status", "Shows every key that rows are sealed under, and whether their values open here.")
  .option("--rows", "list the rows whose values don't open", false)
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow keys status", "a table; times are UTC"],
      ["keyrow keys status --rows", "and the rows of keys that are not at hand"],
      ["keyrow keys status --json", "everything, for a script"],
    ),
  )
  .addHelpText("after", `\nThe exit code is 1 where some values don't open, for now or for good.${WHERE}`)
  .action(async ({ rows: withRows, json }: { rows: boolean; json: boolean }) => {
    const { readConfig } = await import("../config.ts");
    const { status } = await import("../keys/operate.ts");
    const { keyTable, rowTable } = await import("../keys/report.ts");
    const { keys, rows, complete } = await status(readConfig(), { rows: withRows });
    if (json) print(printableJson({ keys, ...(rows && { rows }) }));
    else print(keyTable(keys).join("\n"));
    if (!json && rows !== undefined && rows.length > 0) print(`\n${rowTable(rows).join("\n")}`);
    if (!complete) process.exitCode = 1;
  });

const create = command(
  "create",
  "Makes the key file that KEYROW_KEY_FILE names, with a first key; never where there is one.",
)
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(["KEYROW_KEY_FILE=/etc/keyrow/keys.json keyrow keys create", "prints the key's id; mode 0600"]),
  )
  .addHelpText(
    "after",
    "\nFor a database of your own that has no credentials yet; `npm start` makes its own. Run it as the user that the server runs as, and back the file up apart from the database: without it no value opens.",
  )
  .action(async ({ json }: { json: boolean }) => {
    const { readConfig } = await import("../config.ts");
    const { create } = await import("../keys/operate.ts");
    const config = readConfig();
    const keyId = await create(config);
    print(json ? JSON.stringify({ keyId }) : keyId);
    if (!json) {
      process.stderr.write(
        `Made ${config.keyFile.path}. Back it up, apart from the database: nothing else opens what it seals.\n`,
      );
    }
  });

const rotate = command("rotate", "Makes a new key, for all new values; older ones open as before.")
  .argument("[which]", "transit or local; the one that seals where nobody says")
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow keys rotate", "prints the new key's id"],
      ["keyrow keys rotate local", "the key file's, though OpenBao seals"],
    ),
  )
  .addHelpText(
    "after",
    `\nServers and workers that run use it within seconds, and seal under a local key at once: back the key file up. Where they have copies of it, each uses the key once its own has it. \`keyrow rewrap\` moves older values.\nThe database is not touched, but must be there.${WHERE}`,
  )
  .action(async (which: string | undefined, { json }: { json: boolean }) => {
    const { KeyrowError } = await import("../errors.ts");
    if (which !== undefined && which !== "transit" && which !== "local") {
      throw new KeyrowError("USAGE", { message: "There is no such key to rotate.", hint: "Ask for transit or local." });
    }
    const { readConfig } = await import("../config.ts");
    const { rotate } = await import("../keys/operate.ts");
    const config = readConfig();
    const keyId = await rotate(config, which);
    print(json ? JSON.stringify({ keyId }) : keyId);
    if (!json && keyId.startsWith("local:")) {
      process.stderr.write(
        `Added to ${config.keyFile.path}. Back it up: servers that run seal under it from now on.\n`,
      );
    }
  });

const retire = command("retire", "Lets nobody open what a key has sealed; refused while a row needs it.")
  .argument("<key_id>", "as `keyrow keys status` shows it")
  .option("-y, --yes", "don't ask", false)
  .option("--json", "say what was done as JSON", false)
  .addHelpText("after", examples(["keyrow keys retire local:20260131-0a1b2c3d", "asks first, on a terminal"]))
  .addHelpText(
    "after",
    `\nWait for a minute after a rotation of local keys, so that nothing that was sealed before it is still on its way, and bring the new key file to all servers that have a copy. A local key stays in its file, marked; a version of OpenBao's takes the older ones along. Both can be taken back by hand.${WHERE}`,
  )
  .action(async (keyId: string, { yes, json }: { yes: boolean; json: boolean }) => {
    const { readConfig } = await import("../config.ts");
    const config = readConfig();
    const { confirmed } = await import("../system/input.ts");
    if (!yes && process.stdin.isTTY && !(await confirmed("Have all servers had the newer key for a minute?"))) {
      process.stderr.write("nothing was retired\n");
      process.exitCode = 1;
      return;
    }
    const { retire } = await import("../keys/operate.ts");
    await retire(config, keyId);
    print(json ? JSON.stringify({ keyId, retired: true }) : `retired  ${keyId}`);
  });

/** `keyrow keys`: the keys that values are sealed under. */
export const keys = command("keys", "The keys that seal values: create, status, rotate and retire.")
  .helpCommand(false)
  .addHelpText(
    "after",
    examples(
      ["keyrow keys create", "the first key, for a database of your own"],
      ["keyrow keys status", "what is sealed under what"],
      ["keyrow keys rotate", "a new key for new values"],
      ["keyrow rewrap", "move older values to it"],
      ["keyrow keys retire <key_id>", "end an old key"],
    ),
  )
  .addHelpText("after", `${WHERE}\nEach has its own help, as in \`keyrow keys rotate --help\`.`);

for (const one of [create, status, rotate, retire]) keys.addCommand(one);
