import { isMatched } from "../client/names.ts";
import type { Client, Revealed } from "../client.ts";
import { KeyrowError } from "../errors.ts";
import { UUID } from "../uuid.ts";
import type { Choice } from "./choice.ts";
import { steers } from "./steering.ts";

/** The variable that a credential becomes by itself: github/deploy is GITHUB_DEPLOY. */
export function variableOf({ provider, name }: { provider: string; name: string }): string {
  const word = `${provider}_${name}`.toUpperCase().replaceAll(/[^A-Z0-9]+/g, "_");
  return /^[0-9]/.test(word) ? `_${word}` : word;
}

/**
 * The values of the chosen credentials by variable, revealed in one request. Throws NOT_FOUND that names each credential
 * or pattern that nothing answers, and USAGE where two credentials would be one variable, or where one that the choice
 * does not name itself would steer programs or replace what is set already (`setTo`): whoever may write a credential names it.
 */
export async function readVariables(
  client: Client,
  choice: Choice,
  setTo: (variable: string) => string | undefined = () => undefined,
): Promise<Map<string, string>> {
  const { workspace = "" } = choice;
  const place = UUID.test(workspace) ? { workspace } : { workspaceName: choice.workspace };
  const asked = [...new Set([...choice.only, ...choice.map.values()])];
  const revealed = await client.getAll(asked, place).catch((error: unknown) => {
    throw error instanceof KeyrowError && error.code === "NOT_FOUND" ? sought(error.message, choice) : error;
  });
  const byTitle = new Map(revealed.map((one) => [titleOf(one), one]));
  const missing = [
    ...choice.only.filter((pattern) => !revealed.some((one) => isMatched(one, pattern, one.workspaceId ?? undefined))),
    ...[...choice.map.values()].filter((credential) => !byTitle.has(credential)),
  ];
  if (missing.length > 0) {
    const titles = [...new Set(missing)].join(", ");
    throw sought(`There is no such credential, or it is not visible to you: ${titles}.`, choice);
  }
  const mapped = new Set(choice.map.values());
  const named = [...choice.map].map(([variable, credential]): Pair => [variable, byTitle.get(credential) as Revealed]);
  const others = revealed.filter((one) => !mapped.has(titleOf(one))).map((one): Pair => [variableOf(one), one]);
  for (const pair of others) refuseNameless(pair);
  const variables = unique([...named, ...others]);
  for (const pair of others) refuseUnsaid(pair, setTo(pair[0]));
  return variables;
}

/** Who typed no workspace is told that the project's file did. */
function sought(message: string, { file }: Choice): KeyrowError {
  const hint =
    file?.workspace === undefined
      ? "See which there are: keyrow list."
      : `The workspace is ${file.workspace}, as ${file.name} says; --no-workspace means your own.`;
  return new KeyrowError("NOT_FOUND", { message, hint });
}

type Pair = [variable: string, credential: Revealed];

function titleOf({ provider, name }: Revealed): string {
  return `${provider}/${name}`;
}

function refuseNameless([variable, one]: Pair): void {
  if (/[A-Z0-9]/.test(variable)) return;
  throw new KeyrowError("USAGE", {
    message: `${titleOf(one)} has no letter or digit from which a variable could have a name.`,
    hint: `Name it: --map NAME=${titleOf(one)}; else choose the others by their names.`,
  });
}

function refuseUnsaid([variable, one]: Pair, already: string | undefined): void {
  const title = titleOf(one);
  if (!steers(variable) && (already === undefined || already === one.value)) return;
  throw new KeyrowError("USAGE", {
    message: steers(variable)
      ? `${title} would be ${variable}, which tells programs what to do.`
      : `${title} would be ${variable}, which is set already.`,
    hint: `See who made it. Where it is meant, say so: --map ${variable}=${title}; else choose the others by their names.`,
  });
}

function unique(pairs: readonly Pair[]): Map<string, string> {
  const taken = new Map<string, Revealed>();
  for (const [variable, one] of pairs) {
    const other = taken.get(variable);
    if (other !== undefined) {
      throw new KeyrowError("USAGE", {
        message: `${titleOf(other)} and ${titleOf(one)} would both be ${variable}.`,
        hint: `Name one of them: --map ANOTHER_NAME=${titleOf(one)}.`,
      });
    }
    taken.set(variable, one);
  }
  return new Map([...taken].map(([variable, { value }]) => [variable, value]));
}
