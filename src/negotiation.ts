import type { IncomingHttpHeaders } from "node:http";

/** The media type of GraphQL's own answers, and the one that every client knows. */
export const GRAPHQL_RESPONSE = "application/graphql-response+json";
const JSON_TYPE = "application/json";

// What is longer than anybody writes is not taken apart: a header may have all that headers may have together.
const LONGEST = 4_096;

/**
 * Whether a request says that its body is JSON in UTF-8; nothing said of the charset is UTF-8 (RFC 8259). What is no
 * parameter leaves open what was meant, so it is none of both.
 */
export function isJson({ "content-type": header = "" }: IncomingHttpHeaders): boolean {
  const { type, parameters } = mediaRange(header);
  return (
    type === JSON_TYPE &&
    parameters.every((text) => {
      const { name, value } = parameterOf(text) ?? {};
      return name !== undefined && (name !== "charset" || value === "utf-8");
    })
  );
}

/** Whether a body comes as it is: nothing here unpacks one. */
export function isPlain({ "content-encoding": header = "identity" }: IncomingHttpHeaders): boolean {
  return header.length <= LONGEST && header.split(",").every((coding) => coding.trim().toLowerCase() === "identity");
}

/**
 * The media type of the answer: what the caller weighs most, and of two that weigh the same GraphQL's own where it is
 * named, else JSON (RFC 9110, section 12.5.1). Undefined where they take neither.
 */
export function accepted({ accept = "*/*" }: IncomingHttpHeaders): string | undefined {
  const ranges = parts(accept, ",").map(mediaRange);
  const weigh = (offer: string): number => {
    // The most specific range that fits counts.
    const range = [offer, "application/*", "*/*"]
      .map((wanted) => ranges.find(({ type }) => type === wanted))
      .find((found) => found !== undefined);
    return range === undefined ? 0 : weightOf(range.parameters);
  };
  const named = ranges.some(({ type }) => type === GRAPHQL_RESPONSE);
  const offers = named ? [GRAPHQL_RESPONSE, JSON_TYPE] : [JSON_TYPE, GRAPHQL_RESPONSE];
  const [best = "", other = ""] = offers;
  const choice = weigh(other) > weigh(best) ? other : best;
  return weigh(choice) > 0 ? choice : undefined;
}

interface MediaRange {
  readonly type: string;
  readonly parameters: readonly string[];
}

function mediaRange(text: string): MediaRange {
  const [type = "", ...parameters] = parts(text.toLowerCase(), ";");
  return { type, parameters };
}

/** What stands between separators that are in no quotes, without blanks around it; nothing where there is nothing, or too much. */
function parts(text: string, separator: "," | ";"): string[] {
  if (text.length > LONGEST) return [];
  const pattern = separator === "," ? /(?:[^",]|"(?:[^"\\]|\\.)*"?)+/g : /(?:[^";]|"(?:[^"\\]|\\.)*"?)+/g;
  return (text.match(pattern) ?? []).map((part) => part.trim()).filter((part) => part !== "");
}

/** A parameter as RFC 9110 writes it (5.6.6): no blanks around `=`, and a value that is one word or in quotes. */
function parameterOf(text: string): { name: string; value: string } | undefined {
  const [, name, word, quoted] =
    /^([!#$%&'*+.^_`|~\w-]+)=(?:([!#$%&'*+.^_`|~\w-]+)|"((?:[^"\\]|\\.)*)")$/.exec(text) ?? [];
  return name === undefined ? undefined : { name, value: word ?? (quoted ?? "").replace(/\\(.)/g, "$1") };
}

/** What is no weight does not count as one; blanks around its `=` make it none (RFC 9110, 12.4.2). */
function weightOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => /^q=(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(parameter));
  return weight === undefined ? 1 : Number(weight.slice("q=".length));
}
