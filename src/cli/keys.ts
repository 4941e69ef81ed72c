import { command, examples } from "./command.ts";

/** `keyrow keys`: the local keys. */
export const keys = command("keys", "The keys that seal values: `rotate` adds one to the key file, for all new values.")
  .argument("<command>", "rotate")
  .addHelpText(
    "after",
    examples(["keyrow keys rotate", "from the next start on, new values are sealed under a new key"]),
  )
  .addHelpText(
    "after",
    "\nOlder keys stay in the file: what they sealed opens as before. Back the file up after each rotation.",
  )
  .action(async (name: string) => {
    const { KeyrowError } = await import("../errors.ts");
    if (name !== "rotate")
      throw new KeyrowError("USAGE", { message: "There is no such command.", hint: "Ask for rotate." });
    const { readConfig } = await import("../config.ts");
    const { addKey } = await import("../cipher/keyfile.ts");
    const { path } = readConfig().keyFile;
    const [newest] = await addKey(path);
    process.stdout.write(`${newest?.id}\n`);
    process.stderr.write(`Added to ${path}. Back it up, and restart the server to use it.\n`);
  });
