import type { ToSet } from "../client.ts";
import { KeyrowError } from "../errors.ts";
import { parseMap } from "./choice.ts";
import { readText } from "./files.ts";
import { readVariablesFrom } from "./formats.ts";

/** Where variables of a file go. */
export interface ImportRules {
  readonly format?: "dotenv" | "json" | undefined;
  readonly provider?: string | undefined;
  readonly map?: readonly string[] | undefined;
}

/** The credentials of a file. Throws USAGE that names each variable without a place, and each place that two have. */
export async function readImport(file: string, { format, provider, map = [] }: ImportRules): Promise<ToSet[]> {
  const places = parseMap(map);
  if (provider !== undefined && (provider === "" || provider.includes("/"))) {
    throw new KeyrowError("USAGE", { message: "A provider is a word without a slash." });
  }
  const variables = await readVariablesFrom(
    await readText(file),
    format ?? (file.endsWith(".json") ? "json" : "dotenv"),
  );
  if (variables.size === 0) throw new KeyrowError("VALIDATION", { message: "The file has no variables." });
  const placed = [...variables].map(([variable, value]) => {
    const otherwise = variable.includes("/") ? variable : provider && `${provider}/${variable}`;
    return { variable, value, credential: places.get(variable) ?? otherwise };
  });
  const homeless = placed.filter(({ credential }) => credential === undefined).map(({ variable }) => variable);
  if (homeless.length > 0) {
    throw new KeyrowError("USAGE", {
      message: `It is not said where these go: ${homeless.join(", ")}.`,
      hint: "Say it: --provider app, or --map VARIABLE=provider/name.",
    });
  }
  const items = placed.map(({ credential = "", value }) => ({ credential, value }));
  const twice = items.find(({ credential }, index) => items.findIndex((one) => one.credential === credential) < index);
  if (twice === undefined) return items;
  throw new KeyrowError("USAGE", {
    message: `Two variables would be ${twice.credential}.`,
    hint: "Map one elsewhere.",
  });
}
