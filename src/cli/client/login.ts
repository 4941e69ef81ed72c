import { KeyrowError } from "../../errors.ts";
import { end, examples, print } from "../command.ts";
import { type ScriptOptions, scriptCommand } from "../script.ts";

/** `keyrow login`: keeps a server and a token for later commands, once the server has taken it. */
export const login = scriptCommand(
  "login",
  "Keeps a server and a token for later commands. The token is never an argument.",
)
  .argument("<url>", "the server, as in https://keyrow.example.com")
  .option("--token-file <file>", "read the token from a file")
  .addHelpText(
    "after",
    examples(
      ["keyrow login https://keyrow.example.com", "asks for the token, hidden"],
      ["keyrow login https://keyrow.example.com < token", "reads it from standard input"],
    ),
  )
  .addHelpText(
    "after",
    "\nThe server is asked whose token it is before anything is kept: in $XDG_CONFIG_HOME/keyrow/login.json (else ~/.config, on Windows %APPDATA%), which only you can read. KEYROW_URL and KEYROW_TOKEN go before it.\nExit codes: 0 done, 1 error, 2 usage, 4 the token is not taken, 5 unavailable.",
  )
  .action(async (url: string, options: ScriptOptions & { readonly tokenFile?: string }) => {
    const { clientOf } = await import("../../script/connect.ts");
    const { storeLogin } = await import("../../script/login.ts");
    const unchecked = { url, token: "", allowHttp: options.allowHttp === true };
    // An address that can't be used is told before anybody types a token.
    await clientOf(unchecked, options).catch(({ message, hint = "" }: KeyrowError) => {
      throw new KeyrowError("USAGE", { message, hint });
    });
    const token = await readToken(options.tokenFile);
    if (token === undefined) return end("nothing was kept", 130);
    const kept = { ...unchecked, token };
    const { id, name } = await (await clientOf(kept, options)).whoami();
    const path = await storeLogin(kept);
    const { printable, printableJson } = await import("../../printable.ts");
    print(options.json ? printableJson({ server: url, id, name, path }) : `logged in  ${printable(name ?? id)}`);
  });

async function readToken(file: string | undefined): Promise<string | undefined> {
  const { askHidden, readValue } = await import("../../system/input.ts");
  const { openFile } = await import("../../script/files.ts");
  const asked = file === undefined && process.stdin.isTTY;
  const token = asked ? await askHidden("Token") : await readValue(await openFile(file ?? "-"));
  if (token === undefined || /^[\x21-\x7e]+$/.test(token.trim())) return token?.trim();
  throw new KeyrowError("USAGE", {
    message: "That is no token.",
    hint: "A token is one word, as `keyrow token` prints it.",
  });
}
