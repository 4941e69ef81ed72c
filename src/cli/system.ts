import type { Cipher } from "../cipher/cipher.ts";
import type { Config } from "../config.ts";
import { printableJson } from "../printable.ts";
import { ADMIN_DATABASE, command, end, examples, print, unprinted } from "./command.ts";
import { printValue } from "./value.ts";

const CREDENTIAL = "<provider/name>";
const WHICH = "which one; the first slash parts provider and name";
const KEYS = "\nWith ADMIN_DATABASE_URL the key file must be named by KEYROW_KEY_FILE.";

interface SetOptions {
  readonly user?: string;
  readonly type?: string;
  readonly description?: string;
  readonly expires?: string;
  readonly json: boolean;
}

const set = command("set", "Creates a SYSTEM credential, or gives one a new value. The value is never an argument.")
  .argument(CREDENTIAL, WHICH)
  .option("--user <email or id>", "whose id a new one carries")
  .option("--type <type>", "API_KEY, PASSWORD and so on; a new one is a SECRET where nobody says")
  .option("--description <text>", "what it is for")
  .option("--expires <date>", "a day or time, as in 2030-01-31 or 2030-01-31T18:00:00Z, or never")
  .option("--json", "say what was done as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow system set smtp/relay --user ana@example.com", "asks for the value, hidden"],
      ["keyrow system set stripe/live --type API_KEY < key.txt", "reads it from standard input"],
    ),
  )
  .addHelpText(
    "after",
    "\nOn a terminal it asks for one line; else the value is standard input, less one newline at its end.\nA value has 1 byte to 64 KiB of UTF-8.\n\nA new credential carries a user's id, for the table demands one. Without --user it is that of who carries all the other SYSTEM credentials; for the first one, or where several do, --user is needed. One that exists keeps its owner, whom `keyrow handover` changes, and whatever is not given. A new value makes it active.",
  )
  .addHelpText("after", ADMIN_DATABASE + KEYS)
  .action(async (text: string, options: SetOptions) => {
    const { askValue, parseCredentialName, parseExpiry, readValue } = await import("../system/input.ts");
    const which = parseCredentialName(text);
    const { user, type, description, expires, json } = options;
    const expiresAt = expires === undefined ? undefined : parseExpiry(expires);
    const title = `${which.provider}/${which.name}`;
    await withKeys(async (config, cipher) => {
      const value = process.stdin.isTTY ? await askValue(title) : await readValue(process.stdin);
      // As a shell counts a command that Ctrl-C has ended.
      if (value === undefined) return end("nothing was set", 130);
      const { setSystem } = await import("../system/credentials.ts");
      const done = await setSystem(config, cipher, which, { value, user, type, description, expiresAt });
      print(json ? printableJson({ ...which, ...done }) : `${done.created ? "created" : "renewed"}  ${title}`);
    });
  });

const get = command("get", "Prints the value of a SYSTEM credential, on the record.")
  .argument(CREDENTIAL, WHICH)
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow system get smtp/relay", "the value, and nothing else"],
      ['RELAY_PASSWORD="$(keyrow system get smtp/relay)"', "for a script"],
    ),
  )
  .addHelpText(
    "after",
    "\nA newline follows on a terminal alone, which gets no value that would steer it. The activity log has the login that asked, before the value is opened.",
  )
  .addHelpText("after", ADMIN_DATABASE + KEYS)
  .action(async (text: string, { json }: { json: boolean }) => {
    const { parseCredentialName } = await import("../system/input.ts");
    const which = parseCredentialName(text);
    const { getSystem } = await import("../system/credentials.ts");
    const value = await withKeys((config, cipher) => getSystem(config, cipher, which));
    if (json) print(printableJson({ credential: `${which.provider}/${which.name}`, value }));
    else await printValue(value);
  });

const list = command("list", "Lists the SYSTEM credentials, without their values.")
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow system list", "a table; times are UTC"],
      ["keyrow system list --json", "everything, for a script"],
    ),
  )
  .addHelpText("after", ADMIN_DATABASE)
  .action(async ({ json }: { json: boolean }) => {
    const { readConfig } = await import("../config.ts");
    const { listSystem } = await import("../system/credentials.ts");
    const { systemTable } = await import("../system/table.ts");
    const credentials = await listSystem(readConfig());
    if (json) print(printableJson(credentials));
    else if (credentials.length > 0) print(systemTable(credentials).join("\n"));
    else process.stderr.write("there are no SYSTEM credentials\n");
  });

const rm = command("rm", "Deletes a SYSTEM credential, on the record.")
  .argument(CREDENTIAL, WHICH)
  .option("-y, --yes", "don't ask", false)
  .option("--json", "say what was done as JSON", false)
  .addHelpText("after", examples(["keyrow system rm smtp/relay --yes", "gone; the log keeps that it was"]))
  .addHelpText("after", "\nOn a terminal it asks first.")
  .addHelpText("after", ADMIN_DATABASE)
  .action(async (text: string, { yes, json }: { yes: boolean; json: boolean }) => {
    const { confirmed, parseCredentialName } = await import("../system/input.ts");
    const which = parseCredentialName(text);
    const { readConfig } = await import("../config.ts");
    const config = readConfig();
    const title = `${which.provider}/${which.name}`;
    if (!yes && process.stdin.isTTY && !(await confirmed(`Delete the SYSTEM credential ${title}?`))) {
      return end("nothing was deleted", 1);
    }
    const { removeSystem } = await import("../system/credentials.ts");
    const id = await removeSystem(config, which);
    print(json ? printableJson({ ...which, id, deleted: true }) : `deleted  ${title}`);
  });

/** `keyrow system`: the credentials that have no API. */
export const system = unprinted(
  command("system", "SYSTEM credentials, which have no API: set, get, list and rm, for a DB admin where the keys are."),
)
  .helpCommand(false)
  .addHelpText(
    "after",
    examples(
      ["keyrow system set smtp/relay --user ana@example.com", "create one, or renew its value"],
      ["keyrow system get smtp/relay", "print the value, on the record"],
      ["keyrow system list", "what there is"],
      ["keyrow system rm smtp/relay", "delete it"],
    ),
  )
  .addHelpText("after", `${ADMIN_DATABASE}\nEach has its own help, as in \`keyrow system set --help\`.`);

for (const one of [set, get, list, rm]) system.addCommand(one);

/** Runs `work` with the servers' keys; they are there before a value is asked for, so that nobody types one in vain. */
async function withKeys<T>(work: (config: Config, cipher: Cipher) => Promise<T>): Promise<T> {
  const { readConfig } = await import("../config.ts");
  const { withCommandRing } = await import("../command-ring.ts");
  const config = readConfig();
  return withCommandRing(config, "ADMIN_DATABASE_URL", ({ cipher }) => work(config, cipher));
}
