import { type Command, Option } from "commander";
import { parseWhich } from "../client/names.ts";
import { KeyrowError } from "../errors.ts";
import { command, EXIT_CODES, several, unprinted } from "./command.ts";

/** What every command for scripts may be told. */
export interface ScriptOptions {
  readonly json: boolean;
  readonly cacert?: string;
  readonly timeout?: string;
  readonly allowHttp?: boolean;
  readonly workspace?: string;
}

/** A command that is a client of a server. */
export function scriptCommand(name: string, description: string): Command {
  return reaching(command(name, description).option("--json", "as JSON", false));
}

/** Adds how a server is reached. */
function reaching(it: Command): Command {
  return unprinted(it)
    .option("--cacert <file>", "the authority that signed the server's certificate, as PEM")
    .option("--timeout <seconds>", "how long one request may take", "30")
    .addOption(new Option("--allow-http", "send the token in the clear to another machine"));
}

/** One that names credentials, one's own or a workspace's. */
export function credentialCommand(name: string, description: string): Command {
  return ofWorkspace(scriptCommand(name, description));
}

/** One about a credential, which has to look like one before anything is asked. */
export function oneCredentialCommand(name: string, description: string): Command {
  return credentialCommand(name, description).argument(
    "<provider/name>",
    "which one; the first slash parts provider and name",
    named,
  );
}

/** Collects patterns of credentials, or whole names of them. */
export function patterns(word: string, before: readonly string[] = []): string[] {
  return [...before, named(word)];
}

function named(word: string): string {
  try {
    parseWhich(word);
    return word;
  } catch (error) {
    const { message, hint = "" } = error as KeyrowError;
    throw new KeyrowError("USAGE", { message, hint });
  }
}

/** One that prints nothing of its own. */
export function silentCommand(name: string, description: string): Command {
  return ofWorkspace(reaching(command(name, description).option("--json", "an error as JSON", false)));
}

/** Adds how credentials become variables, as `readChoice` takes it. */
export function choosing(it: Command): Command {
  return it
    .option("--no-workspace", "your own, whatever .keyrow.json says")
    .option("--only <pattern>", "credentials to take, as in 'github/*'; may stand several times", patterns)
    .option("--map <VARIABLE=provider/name>", "a credential under a name of its own; may stand several times", several);
}

function ofWorkspace(it: Command): Command {
  return it.option("--workspace <id or name>", "of a workspace, instead of your own");
}

/** What every help of such a command ends with. */
export const SERVER_HELP = `\nServer and token are those of KEYROW_URL and KEYROW_TOKEN, else those of \`keyrow login\`.${EXIT_CODES}\nWith --json an error is JSON, too.`;

/** The client of a command, and the workspace that it names. */
export async function open(options: ScriptOptions) {
  const { connect, workspaceId } = await import("../script/connect.ts");
  const client = await connect(options);
  return { client, workspace: await workspaceId(client, options.workspace) };
}
