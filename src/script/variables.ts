import { isMatched } from "../client/names.ts";
import type { Client, Revealed } from "../client.ts";
import { KeyrowError } from "../errors.ts";
import type { Choice } from "./choice.ts";
import { workspaceId } from "./connect.ts";

/** The variable that a credential becomes by itself: github/deploy is GITHUB_DEPLOY. */
export function variableOf({ provider, name }: { provider: string; name: string }): string {
  const word = `${provider}_${name}`.toUpperCase().replaceAll(/[^A-Z0-9]+/g, "_");
  return /^[0-9]/.test(word) ? `_${word}` : word;
}

/**
 * The values of the chosen credentials by variable, revealed in one request. Throws NOT_FOUND that names each credential
 * or pattern that nothing answers, and USAGE where two credentials would be one variable.
 */
export async function readVariables(client: Client, choice: Choice): Promise<Map<string, string>> {
  const workspace = await workspaceId(client, choice.workspace);
  const revealed = await client.getAll([...new Set([...choice.only, ...choice.map.values()])], { workspace });
  const title = ({ provider, name }: Revealed) => `${provider}/${name}`;
  const byTitle = new Map(revealed.map((one) => [title(one), one]));
  const missing = [
    ...choice.only.filter((pattern) => !revealed.some((one) => isMatched(one, pattern, workspace))),
    ...[...choice.map.values()].filter((credential) => !byTitle.has(credential)),
  ];
  if (missing.length > 0) {
    throw new KeyrowError("NOT_FOUND", {
      message: `There is no such credential, or it is not visible to you: ${[...new Set(missing)].join(", ")}.`,
      hint: "See which there are: keyrow list.",
    });
  }
  const mapped = new Set(choice.map.values());
  const pairs: Array<[variable: string, credential: Revealed]> = [
    ...[...choice.map].map(([variable, credential]) => [variable, byTitle.get(credential)] as [string, Revealed]),
    ...revealed.filter((one) => !mapped.has(title(one))).map((one) => [variableOf(one), one] as [string, Revealed]),
  ];
  return unique(pairs, title);
}

function unique(
  pairs: ReadonlyArray<[variable: string, credential: Revealed]>,
  title: (one: Revealed) => string,
): Map<string, string> {
  const taken = new Map<string, Revealed>();
  for (const [variable, one] of pairs) {
    const other = taken.get(variable);
    if (other !== undefined) {
      throw new KeyrowError("USAGE", {
        message: `${title(other)} and ${title(one)} would both be ${variable}.`,
        hint: `Name one of them: --map ANOTHER_NAME=${title(one)}.`,
      });
    }
    taken.set(variable, one);
  }
  return new Map([...taken].map(([variable, { value }]) => [variable, value]));
}
