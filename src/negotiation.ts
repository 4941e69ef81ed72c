import type { IncomingHttpHeaders } from "node:http";

/** The media type of GraphQL's own answers, and the one that every client knows. */
export const GRAPHQL_RESPONSE = "application/graphql-response+json";
const JSON_TYPE = "application/json";

/** Whether a request says that its body is JSON in UTF-8; nothing said of the charset is UTF-8 (RFC 8259). */
export function isJson({ "content-type": header = "" }: IncomingHttpHeaders): boolean {
  const { type, parameters } = mediaRange(header);
  const charsets = parameters.filter((parameter) => parameter.startsWith("charset="));
  return type === JSON_TYPE && charsets.every((charset) => /^charset=(utf-8|"utf-8")$/.test(charset));
}

/** Whether a body comes as it is: nothing here unpacks one. */
export function isPlain({ "content-encoding": header = "identity" }: IncomingHttpHeaders): boolean {
  return header.split(",").every((coding) => coding.trim().toLowerCase() === "identity");
}

/**
 * The media type of the answer: what the caller weighs most, and of two that weigh the same GraphQL's own where it is
 * named, else JSON (RFC 9110, section 12.5.1). Undefined where they take neither.
 */
export function accepted({ accept = "*/*" }: IncomingHttpHeaders): string | undefined {
  const ranges = accept.split(",").map(mediaRange);
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
  const [type = "", ...parameters] = text
    .toLowerCase()
    .split(";")
    .map((part) => part.trim());
  return { type, parameters };
}

/** What is no weight does not count as one. */
function weightOf(parameters: readonly string[]): number {
  const weight = parameters.find((parameter) => /^q=(0(\.\d{0,3})?|1(\.0{0,3})?)$/.test(parameter));
  return weight === undefined ? 1 : Number(weight.slice("q=".length));
}
