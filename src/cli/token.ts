import type { TokenAction } from "../client.ts";
import { UUID } from "../uuid.ts";
import { command, examples, print, several } from "./command.ts";
import { open, type ScriptOptions, SERVER_HELP, scriptCommand } from "./script.ts";

interface CreateOptions extends ScriptOptions {
  readonly only?: string[];
  readonly actions?: string;
  readonly expires: string;
  readonly name?: string;
}

const create = scriptCommand("create", "Makes a token that may do less than yours. It is printed once.")
  .option("--only <pattern>", "which credentials, as in 'github/*'; may stand several times", several)
  .option("--actions <actions>", "what it may do: read, reveal and write, with commas between them")
  .option("--workspace <id or name>", "the one workspace whose credentials they are")
  .option("--expires <duration>", "how long it is valid: a number with s, m, h or d; never longer than yours", "1h")
  .option("--name <name>", "what it is for")
  .addHelpText(
    "after",
    examples(
      ["keyrow token create --only 'github/*' --actions reveal --expires 15m", "for one job"],
      ["keyrow token create --workspace acme --actions read --name audit", "to list, and no more"],
    ),
  )
  .addHelpText(
    "after",
    "\nWhat is left out is not limited, but for this: it writes nothing but credentials, and reads no log. reveal and write let it list the same credentials.",
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (options: CreateOptions) => {
    const { parseDuration } = await import("../duration.ts");
    const { parsePatterns } = await import("../patterns.ts");
    const asked = {
      credentials: options.only && parsePatterns(options.only),
      actions: await actionsOf(options.actions),
      expiresIn: parseDuration(options.expires),
      name: options.name,
    };
    const { client, workspace } = await open(options);
    const { jwt, token } = await client.createToken({ ...asked, workspace });
    const { printableJson } = await import("../printable.ts");
    print(options.json ? printableJson({ ...token, jwt }) : jwt);
  });

const list = scriptCommand("list", "Lists the tokens that were made with yours, or by you, and have not ended.")
  .addHelpText(
    "after",
    examples(["keyrow token list", "a table; times are UTC"], ["keyrow token list --json", "with their limits"]),
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (options: ScriptOptions) => {
    const { client } = await open(options);
    const tokens = await client.tokens();
    const { printableJson } = await import("../printable.ts");
    const { tokenTable } = await import("../script/table.ts");
    if (options.json) print(printableJson(tokens));
    else if (tokens.length > 0) print(tokenTable(tokens).join("\n"));
    else process.stderr.write("there are no tokens\n");
  });

const revoke = scriptCommand("revoke", "Revokes a token, and all that were made with it: the next request is refused.")
  .argument("<id>", "its id, as `keyrow token list` shows it")
  .addHelpText(
    "after",
    examples(["keyrow token revoke 0b9f2f3c-6d0b-4a0e-9d55-6a3b0f1c2d3e", "at once, on every server"]),
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (id: string, options: ScriptOptions) => {
    if (!UUID.test(id)) {
      const { KeyrowError } = await import("../errors.ts");
      throw new KeyrowError("USAGE", { message: "A token is named by its id.", hint: "`keyrow token list` shows it." });
    }
    const { client } = await open(options);
    const token = await client.revokeToken(id);
    const { printableJson } = await import("../printable.ts");
    print(options.json ? printableJson(token) : `revoked  ${token.id}`);
  });

/** `keyrow token`: a token for a user, on standard output and nothing else there; and those that are made with a token. */
export const token = command("token", "Prints a token for a user, where the secret that signs tokens is at hand.")
  .option("--user <email or id>", "whose token it is")
  .option("--expires <duration>", "how long it is valid: a number with s, m, h or d, 365d at most", "1h")
  .option("--json", "with the user's id and when it ends, as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow token --user ana@example.com", "a token for an hour"],
      ["keyrow token --user ana@example.com --expires 15m", "for a quarter of an hour"],
      ["KEYROW_DATA_DIR=/srv/keyrow keyrow token --user ana@example.com", "of another data directory"],
      ["keyrow token create --only 'github/*' --actions reveal", "with a token, one that may do less"],
    ),
  )
  .addHelpText(
    "after",
    "\nThe secret is JWT_SECRET or, where that is unset, the one in the data directory.\nThe user is looked up in the database of ADMIN_DATABASE_URL or, where that is unset, in the embedded one.",
  )
  .action(async ({ user, expires, json }: { user?: string; expires: string; json: boolean }) => {
    if (user === undefined) {
      const { KeyrowError } = await import("../errors.ts");
      throw new KeyrowError("USAGE", {
        message: "No user is named.",
        hint: "Give --user, or see `keyrow token create --help` for a token that may do less than yours.",
      });
    }
    const { makeToken } = await import("../make-token.ts");
    const { readConfig } = await import("../config.ts");
    const { printableJson } = await import("../printable.ts");
    const made = await makeToken(readConfig(), { user, expires });
    print(json ? printableJson(made) : made.jwt);
  });
for (const one of [create, list, revoke]) token.addCommand(one);

async function actionsOf(text: string | undefined): Promise<TokenAction[] | undefined> {
  if (text === undefined) return undefined;
  const words = text.split(",").map((word) => word.trim().toUpperCase());
  if (words.every((word) => isAction(word))) return words;
  const { KeyrowError } = await import("../errors.ts");
  throw new KeyrowError("USAGE", {
    message: "The value of --actions is not a list of actions.",
    hint: "Give read, reveal or write, or several with commas between them.",
  });
}

function isAction(word: string): word is TokenAction {
  return word === "READ" || word === "REVEAL" || word === "WRITE";
}
