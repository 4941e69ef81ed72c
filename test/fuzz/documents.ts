import * as fc from "fast-check";
import {
  type GraphQLField,
  type GraphQLObjectType,
  type GraphQLSchema,
  getNamedType,
  isLeafType,
  isNonNullType,
  isObjectType,
  Lexer,
  Source,
  TokenKind,
} from "postgraphile/graphql";
import { type Draw, once, pick, several } from "./draw.ts";
import { type InputOptions, inputValue, text, toLiteral, variableType } from "./values.ts";

/** A GraphQL request to be. */
export interface FuzzRequest {
  readonly query: string;
  readonly variables?: Record<string, unknown>;
  readonly operationName?: string;
}

/** What a document is drawn from. */
export interface DocumentOptions extends InputOptions {
  readonly schema: GraphQLSchema;
}

const MAX_DEPTH = 4;

/** Requests whose documents fit the schema; what they are given fits it most of the time. */
export function requests(options: DocumentOptions): fc.Arbitrary<FuzzRequest> {
  return fc.gen().map((draw) => makeRequest(draw, options));
}

/** Requests as `requests` makes them, with something done to the document's tokens. */
export function corruptedRequests(options: DocumentOptions): fc.Arbitrary<FuzzRequest> {
  return fc.gen().map((draw) => {
    const request = makeRequest(draw, options);
    return { ...request, query: corrupt(draw, request.query) };
  });
}

function makeRequest(draw: Draw, options: DocumentOptions): FuzzRequest {
  const variables = new Map<string, { type: string; value: unknown }>();
  const fragments = new Map<string, string>();
  // Fields of one alias and other arguments would not merge.
  let aliases = 0;

  function args(field: GraphQLField<unknown, unknown>): string {
    const given = field.args.filter(
      ({ type }) => isNonNullType(type) || once(draw, String(type) === "Cursor" ? 15 : 4),
    );
    const texts = given.map(({ name, type }) => {
      const value = inputValue(draw, type, name, options);
      if (!once(draw, 2)) return `${name}: ${toLiteral(value)}`;
      return `${name}: ${variable(String(variableType(draw, type, options.wrongOnceIn)), value)}`;
    });
    return texts.length === 0 ? "" : `(${texts.join(", ")})`;
  }

  function variable(type: string, value: unknown): string {
    const name = `v${variables.size}`;
    variables.set(name, { type, value });
    return `$${name}`;
  }

  function directives(): string {
    if (!once(draw, 8)) return "";
    const condition = once(draw, 2) ? variable("Boolean!", draw(fc.boolean)) : String(draw(fc.boolean));
    return ` @${pick(draw, ["include", "skip"])}(if: ${condition})`;
  }

  function selections(type: GraphQLObjectType, depth: number): string {
    const fields = Object.values(type.getFields()).filter(
      (field) => depth < MAX_DEPTH || isLeafType(getNamedType(field.type)),
    );
    const most = depth === 0 ? 3 : 5;
    return `{ ${several(draw, 1, most, () => selection(type, fields, depth)).join(" ")} }`;
  }

  function selection(type: GraphQLObjectType, fields: GraphQLField<unknown, unknown>[], depth: number) {
    const kind = draw(fc.nat, { max: 15 });
    if (kind === 13 || fields.length === 0) return "__typename";
    if (kind === 14 && depth < MAX_DEPTH)
      return `...${once(draw, 2) ? ` on ${type.name}` : ""}${directives()} ${selections(type, depth + 1)}`;
    if (kind === 15 && depth < MAX_DEPTH) return `...${fragment(type, depth)}${directives()}`;
    const field = pick(draw, fields);
    const alias =
      field.args.length > 0 || once(draw, 6) ? `${pick(draw, ["a", "value", "id", "__a"])}${aliases++}: ` : "";
    const named = getNamedType(field.type);
    const inner = isObjectType(named) ? ` ${selections(named, depth + 1)}` : "";
    return `${alias}${field.name}${args(field)}${directives()}${inner}`;
  }

  function fragment(type: GraphQLObjectType, depth: number): string {
    const name = `F${type.name}${depth}`;
    if (!fragments.has(name)) {
      fragments.set(name, "");
      fragments.set(name, `fragment ${name} on ${type.name} ${selections(type, depth + 1)}`);
    }
    return name;
  }

  const kind = once(draw, 3) ? "mutation" : "query";
  const root = (
    kind === "mutation" ? options.schema.getMutationType() : options.schema.getQueryType()
  ) as GraphQLObjectType;
  const body = selections(root, 0);
  const declared = [...variables].map(([name, { type }]) => `$${name}: ${type}`).join(", ");
  const head = `${kind} Fuzz${declared && `(${declared})`}`;
  return {
    query: [`${head} ${body}`, ...fragments.values()].join("\n"),
    variables: Object.fromEntries([...variables].map(([name, { value }]) => [name, value])),
    ...(once(draw, 10) && { operationName: pick(draw, ["Fuzz", "Other", "", "__proto__"]) }),
  };
}

/** Takes tokens away, doubles and swaps them, or puts others in between; now and then the text itself is cut. */
function corrupt(draw: Draw, query: string): string {
  const tokens = tokensOf(query);
  for (const _ of several(draw, 1, 3, () => 0)) {
    const at = draw(fc.nat, { max: tokens.length });
    const to = draw(fc.nat, { max: tokens.length });
    const swap = () => {
      const [a, b] = [tokens[at] ?? "", tokens[to] ?? ""];
      tokens.splice(at, 1, b);
      tokens.splice(to, 1, a);
    };
    const junk = [
      "{",
      "}",
      "(",
      ")",
      "$",
      "!",
      "...",
      "@",
      "[",
      "]",
      "|",
      "&",
      '"',
      '"""',
      "#",
      "\0",
      "on",
      "fragment",
    ];
    const ways = [
      () => tokens.splice(at, 1),
      () => tokens.splice(at, 0, tokens[at] ?? ""),
      swap,
      () =>
        tokens.splice(at, 0, pick(draw, [...junk, "subscription", "null", "1e400", "-", "__schema", "extend", "type"])),
      () => tokens.splice(at, 1, JSON.stringify(text(draw))),
    ];
    pick(draw, ways)();
  }
  const whole = tokens.join(" ");
  return once(draw, 10) ? whole.slice(0, draw(fc.nat, { max: whole.length })) : whole;
}

/** A document's tokens as text; of one that can't be read to its end, those before. */
function tokensOf(query: string): string[] {
  const lexer = new Lexer(new Source(query));
  const tokens: string[] = [];
  try {
    for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) {
      tokens.push(query.slice(token.start, token.end));
    }
  } catch {
    // An escape of half a pair, say: the rest is left out, which is one more corruption.
  }
  return tokens;
}
