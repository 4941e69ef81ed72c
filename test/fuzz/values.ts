import * as fc from "fast-check";
import {
  type GraphQLInputType,
  GraphQLList,
  GraphQLNonNull,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
} from "postgraphile/graphql";
import { type Draw, once, pick, several } from "./draw.ts";

/** A name of an enum: bare in a document, a string in variables. */
export class EnumName {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
  toJSON(): string {
    return this.name;
  }
}

/** What a database of the test holds, by what scalars it is asked for with. */
export interface Known {
  readonly uuids: readonly string[];
  readonly cursors: readonly string[];
}

/** What is given as a value of a credential begins so, and is nowhere else. */
export const GIVEN = "given-to-be-sealed-";

const strings = [
  ...[
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "x\udc00",
    "\u{1f4a5}",
    "e\u0301",
    "\u202etxt",
    "\u2028",
    "\ufffe\uffff",
    "\r\n",
  ],
  ...["'; drop table users; --", "\\", "\\'", "%", "_", "%%_\\", '"', "$1", "$$", "{}", "null", "true", "0", "٣"],
  ...["constructor", "__proto__", "toString", "a".repeat(64), "a".repeat(256), "é".repeat(300), "x".repeat(20_000)],
  ...["x".repeat(70_000), "github", "deploy", "own-1", "own-2"],
];
const ints = [0, -0, 1, 2, 5, -1, 100, 1000, 1001, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 1.5, 1e21, 1e300];
const bigInts = [
  ...["0", "1", "-1", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e3", "0x10", "", " 1 "],
  ...["1.5", "NaN", "Infinity", "1\0", "9".repeat(400), "1_000", "+1", "--1", 1, -1, 2 ** 53, 1.5, 1e300],
];
const datetimes = [
  ...["2026-11-23T12:00:00Z", "2026-11-23T12:00:00+05:30", "2026-11-23", "2026-11-23 12:00", "12:00", "now", "today"],
  ...["tomorrow", "yesterday", "epoch", "infinity", "-infinity", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", ""],
  ...["300000-01-01T00:00:00Z", "294276-12-31T23:59:59Z", "294277-01-01T00:00:00Z", "-0001-01-01", "4714-11-24 BC"],
  ...["4714-11-23 BC", "2026-02-30T00:00:00Z", "2026-13-01", "2026-11-23T25:00:00Z", "2026-11-23T23:59:60Z"],
  ...[
    "2026-11-23T12:00:00+99:99",
    "2026-11-23T12:00:00 Mars/Olympus",
    "2026-11-23T12:00:00[UTC]",
    "J2451187",
    "allballs",
  ],
  ...[
    "99999999999999999999",
    "1732363200",
    "23/11/2026",
    "2026-W48-1",
    "20261123T120000Z",
    "2026-11-23T12:00:00.0000000001Z",
  ],
  ...[
    "+275760-09-13T00:00:00.001Z",
    "-271821-04-19T23:59:59.999Z",
    "\0",
    "2026-11-23\0",
    "٢٠٢٦-١١-٢٣",
    "a".repeat(500),
  ],
];
const nil = "00000000-0000-0000-0000-000000000000";
const uuids = [
  ...[nil, nil.toUpperCase(), `{${nil}}`, nil.replaceAll("-", ""), `urn:uuid:${nil}`, nil.slice(1), `${nil}0`, ""],
  ...[
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "gggggggg-0000-0000-0000-000000000000",
    "0000-0000-00000000-0000-0000-0000-00000000",
  ],
  ...[`${nil}\0`, ` ${nil} `, "00000000000000000000000000000000", "null", "'"],
];
const encoded = (text: string): string => Buffer.from(text).toString("base64");
const cursors = [
  ...["", "!", "\0", "bnVsbA==", "W10=", "a".repeat(5_000)],
  ...[null, [], [null], {}, 1, "x", ["natural", 1], ["natural", -1], ["natural", "x"], ["natural", 1e300], [[]]].map(
    (cursor) => encoded(JSON.stringify(cursor)),
  ),
  ...[["primary_key_asc", [1]], ["created_at_desc", ["x", "y"]], ["0", "a\0", nil], { __proto__: 1 }].map((cursor) =>
    encoded(JSON.stringify(cursor)),
  ),
];

/** A text, often one at some boundary. */
export function text(draw: Draw): string {
  return once(draw, 3) ? draw(fc.string, { unit: "binary", maxLength: 20 }) : pick(draw, strings);
}

/** JSON of any form, nested a little or, rarely, deeply. */
export function json(draw: Draw): unknown {
  if (once(draw, 20)) return nested(pick(draw, [10, 100, 900]), draw(fc.boolean));
  if (once(draw, 8))
    return pick(draw, [null, true, [], {}, [null], { "": null }, { a: "\0" }, { "\0": 1 }, ["\ud800"]]);
  return draw(fc.jsonValue, { depthSize: "small" });
}

function nested(depth: number, asList: boolean): unknown {
  return Array.from({ length: depth }).reduce((inner) => (asList ? [inner] : { a: inner }), 1);
}

// What an honest caller would send.
const ordinary: Readonly<Record<string, readonly unknown[]>> = {
  Int: [1, 2, 5, 100],
  Float: [1, 0.5],
  Boolean: [true, false],
  BigInt: ["1", "20", "9007199254740993"],
  Datetime: ["2026-11-23T12:00:00Z", "2099-01-01T00:00:00.123456+05:30", "2030-01-01"],
  JSON: [{ a: 1 }, [], "text", { nested: { list: [1, "two", false] } }],
  String: ["github", "gitlab", "own-1", "own-2", "own-3", "a name", "\u{1f511} key", "x".repeat(64)],
};

function ordinaryScalar(draw: Draw, name: string, { uuids, cursors }: Known): unknown {
  if (name === "UUID") return pick(draw, uuids);
  if (name === "Cursor") return pick(draw, cursors);
  return pick(draw, ordinary[name] ?? ordinary.String ?? []);
}

function oddScalar(draw: Draw, name: string, known: Known): unknown {
  switch (name) {
    case "Int":
    case "Float":
      return pick(draw, ints);
    case "Boolean":
      return pick<unknown>(draw, [true, false, null]);
    case "BigInt":
      return pick<unknown>(draw, bigInts);
    case "UUID":
      return pick(draw, uuids);
    case "Datetime":
      return once(draw, 4) ? text(draw) : pick(draw, datetimes);
    case "Cursor":
      return once(draw, 4) ? text(draw) : pick(draw, [...cursors, ...known.uuids]);
    case "JSON":
      return json(draw);
    default:
      return text(draw);
  }
}

/** How an input is drawn. */
export interface InputOptions {
  readonly known: Known;
  /** Once in so many times a value is at the boundary of its type, or beyond. */
  readonly oddOnceIn: number;
  /** Once in so many times a value is of another type. */
  readonly wrongOnceIn: number;
}

/** A value for an input of the schema's: mostly of its type. `field` is the input's name. */
export function inputValue(
  draw: Draw,
  type: GraphQLInputType,
  field: string,
  options: InputOptions,
  depth = 0,
): unknown {
  const go = (inner: GraphQLInputType, name = field) => inputValue(draw, inner, name, options, depth + 1);
  if (once(draw, options.wrongOnceIn)) return wrong(draw);
  if (isNonNullType(type)) {
    const value = go(type.ofType as GraphQLInputType);
    // Once more where null was drawn; a second time may do for a test of null.
    return value ?? go(type.ofType as GraphQLInputType);
  }
  if (once(draw, options.oddOnceIn * 3)) return null;
  if (isListType(type)) {
    // One value stands for a list of one.
    if (once(draw, 6)) return go(type.ofType as GraphQLInputType);
    return several(draw, 0, depth > 4 ? 0 : 3, () => go(type.ofType as GraphQLInputType));
  }
  if (isEnumType(type)) return new EnumName(pick(draw, type.getValues()).name);
  if (!isInputObjectType(type)) {
    if (field === "value") return `${GIVEN}${draw(fc.nat)}`;
    const make = once(draw, options.oddOnceIn) ? oddScalar : ordinaryScalar;
    return make(draw, type.name, options.known);
  }
  const all = Object.values(type.getFields());
  const isFilter = type.name.endsWith("Filter");
  const drawn = all.filter((one) => isNonNullType(one.type) || (depth < 5 && once(draw, isFilter ? 12 : 3)));
  // An empty filter is refused; let that be seldom.
  const fields = drawn.length === 0 && isFilter && !once(draw, options.oddOnceIn) ? [pick(draw, all)] : drawn;
  return Object.fromEntries(fields.map((one) => [one.name, go(one.type, one.name)]));
}

/** Something of no type in particular. */
function wrong(draw: Draw): unknown {
  const kinds = [
    () => text(draw),
    () => pick(draw, ints),
    () => draw(fc.boolean),
    () => null,
    () => [],
    () => ({}),
    () => [[text(draw)]],
    () => ({ [pick(draw, ["value", "id", "__proto__", "a"])]: pick(draw, ints) }),
    () => new EnumName(pick(draw, ["USER", "WORKSPACE", "SYSTEM", "NOPE", "constructor", "value"])),
    () => json(draw),
  ];
  return pick(draw, kinds)();
}

/** A value as a document has it; what is no name can't be the key of an object there, and is left out. */
export function toLiteral(value: unknown): string {
  if (value instanceof EnumName) return value.name;
  if (Array.isArray(value)) return `[${value.map(toLiteral).join(", ")}]`;
  // Half of a pair is no GraphQL; in variables it comes through.
  if (typeof value === "string") return JSON.stringify(value.toWellFormed());
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const entries = Object.entries(value).filter(([name]) => /^[_A-Za-z]\w*$/.test(name));
  return `{${entries.map(([name, inner]) => `${name}: ${toLiteral(inner)}`).join(", ")}}`;
}

/** A type that a variable may be declared with where `type` is wanted, or, rarely, may not. */
export function variableType(draw: Draw, type: GraphQLInputType, wrongOnceIn: number): GraphQLInputType {
  if (!once(draw, wrongOnceIn)) return type;
  const bare = isNonNullType(type) ? (type.ofType as GraphQLInputType) : type;
  return pick(draw, [bare, new GraphQLNonNull(bare as never), new GraphQLList(bare)]);
}
