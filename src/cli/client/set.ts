import type { Credential, CredentialType } from "../../client.ts";
import { end, examples, print } from "../command.ts";
import { oneCredentialCommand, open, type ScriptOptions, SERVER_HELP } from "../script.ts";

interface SetOptions extends ScriptOptions {
  readonly file?: string;
  readonly exact: boolean;
  readonly type?: string;
  readonly description?: string;
  readonly expires?: string;
}

const VALUE_HELP =
  "\nOn a terminal it asks for one line, hidden; else the value is standard input or the file, less one newline at its end unless --exact is given. A value has 1 byte to 64 KiB of UTF-8.";

/** `keyrow set`: a credential and its value, whether it exists or not. */
export const set = oneCredentialCommand(
  "set",
  "Creates a credential, or gives it a new value. The value is never an argument.",
)
  .option("--file <file>", "read the value from a file")
  .option("--exact", "keep a newline at the value's end", false)
  .option("--type <type>", "API_KEY, PASSWORD and so on; a new one is a SECRET where nobody says")
  .option("--description <text>", "what it is for")
  .option("--expires <date>", "a day or time, as in 2030-01-31 or 2030-01-31T18:00:00Z, or never")
  .addHelpText(
    "after",
    examples(
      ["keyrow set github/deploy", "asks for the value, hidden"],
      ["pass show deploy | keyrow set github/deploy --type API_KEY", "reads it from standard input"],
      ["keyrow set tls/key --file key.pem --exact", "every byte of a file"],
    ),
  )
  .addHelpText(
    "after",
    `${VALUE_HELP}\nWhat is not given stays as it is. A new value makes a revoked credential active again.`,
  )
  .addHelpText("after", SERVER_HELP)
  .action(async (credential: string, options: SetOptions) => {
    const { parseExpiry } = await import("../../system/input.ts");
    const { description, expires } = options;
    const type = await typeOf(options.type);
    const expiresAt = expires === undefined ? undefined : parseExpiry(expires);
    const { client, workspace } = await open(options);
    const value = await valueFor(credential, options);
    // As a shell counts a command that Ctrl-C has ended.
    if (value === undefined) return end("nothing was set", 130);
    const done = await client.set({ credential, value, type, description, expiresAt }, { workspace });
    await tell(done.created ? "created" : "renewed", done.credential, options.json);
  });

/** `keyrow rotate`: a new value for what is there. */
export const rotate = oneCredentialCommand(
  "rotate",
  "Gives a credential that is there a new value. The value is never an argument.",
)
  .option("--file <file>", "read the value from a file")
  .option("--exact", "keep a newline at the value's end", false)
  .option("--expires <date>", "a day or time, as in 2030-01-31 or 2030-01-31T18:00:00Z, or never")
  .addHelpText("after", examples(["openssl rand -hex 32 | keyrow rotate app/session", "a new random value"]))
  .addHelpText("after", VALUE_HELP)
  .addHelpText("after", SERVER_HELP)
  .action(async (credential: string, options: SetOptions) => {
    const { parseExpiry } = await import("../../system/input.ts");
    const expiresAt = options.expires === undefined ? undefined : parseExpiry(options.expires);
    const { client, workspace } = await open(options);
    // Nobody should type a value in vain.
    const { id } = await client.describe(credential, { workspace });
    const value = await valueFor(credential, options);
    if (value === undefined) return end("nothing was rotated", 130);
    await tell("rotated", await client.rotate(id, { value, expiresAt }), options.json);
  });

/** `keyrow revoke`: never revealed again, until it has a new value. */
export const revoke = oneCredentialCommand(
  "revoke",
  "Revokes a credential: it is not revealed again until it has a new value.",
)
  .addHelpText("after", examples(["keyrow revoke github/deploy", "at once, for everybody"]))
  .addHelpText("after", SERVER_HELP)
  .action(async (credential: string, options: ScriptOptions) => {
    const { client, workspace } = await open(options);
    await tell("revoked", await client.revoke(credential, { workspace }), options.json);
  });

async function tell(what: string, { id, provider, name }: Credential, json: boolean): Promise<void> {
  const { printable, printableJson } = await import("../../printable.ts");
  print(json ? printableJson({ provider, name, id, [what]: true }) : `${what}  ${printable(`${provider}/${name}`)}`);
}

async function valueFor(credential: string, { file, exact }: SetOptions): Promise<string | undefined> {
  const { askValue, readValue } = await import("../../system/input.ts");
  const { printable } = await import("../../printable.ts");
  if (file === undefined && process.stdin.isTTY) return askValue(printable(credential));
  const { openFile } = await import("../../script/files.ts");
  return readValue(await openFile(file ?? "-"), exact);
}

const types = ["API_KEY", "OAUTH_TOKEN", "ACCESS_TOKEN", "SECRET", "PASSWORD", "CUSTOM"] as const;

/** The type that `--type` names; throws USAGE. */
export async function typeOf(given: string | undefined): Promise<CredentialType | undefined> {
  const type = types.find((one) => one === given?.toUpperCase());
  if (type !== undefined || given === undefined) return type;
  const { KeyrowError } = await import("../../errors.ts");
  throw new KeyrowError("USAGE", { message: "There is no such type.", hint: `Give one of ${types.join(", ")}.` });
}
