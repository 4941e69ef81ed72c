import { isSafeError } from "postgraphile/grafast";
import { GraphQLError, Kind } from "postgraphile/graphql";
import { type ErrorCode, KeyrowError } from "./errors.ts";
import type { Log } from "./log.ts";
import { fromDatabaseError } from "./sql-errors.ts";

/** An error as GraphQL answers carry it. */
export interface PresentedError {
  readonly message: string;
  readonly locations?: ReadonlyArray<{ line: number; column: number }>;
  readonly path?: ReadonlyArray<string | number>;
  readonly extensions: { readonly code: ErrorCode; readonly hint?: string };
}

// What validation says of names alone. Other messages may repeat a literal, and a literal may be a secret; so may a
// name that is longer than any of the schema's.
const MAX_NAME = 64;
const aboutNames = [
  /^Cannot query field "\w+" on type "\w+"\./,
  /^Unknown (argument|directive|fragment) "@?\w+"/,
  /^Unknown type "\w+"\./,
  /^Field "\w+" (of type "[\w[\]!]+" )?must (not )?have a selection/,
  /^Argument "\w+" of required type/,
  /^Field "\w+" argument "\w+" of type "[\w[\]!]+" is required/,
  /^Field "\w+" is not defined by type "\w+"\./,
  /^Variable "\$\w+" (is not defined|is never used|of type|of non-null type)/,
  /^Fragment "\w+"/,
  /^Cannot spread fragment "\w+"/,
  /^There can be only one/,
  /^This anonymous operation must be the only defined operation/,
];

// What PostGraphile, its filter plugin and Grafast say in words alone.
const ofLibrary: ReadonlyArray<[pattern: RegExp, code: ErrorCode, message?: string]> = [
  [/^No values were deleted in collection/, "NOT_FOUND"],
  [/^Attempted to update a record, but no new values/, "VALIDATION", "There is nothing to change."],
  [
    /^(Empty objects|Null literals) are forbidden in filter argument input/,
    "VALIDATION",
    "A filter can't be null or empty. Leave it out, or ask with isNull.",
  ],
  [/^GraphQL introspection has been disabled/, "FORBIDDEN", "The schema is not told here: introspection is off."],
  [/^(Operation took too long|Execution timeout)/, "LIMIT_EXCEEDED", "The request took too long."],
  [
    /^(Query planning error: )?(Query is too complex|Maximum call stack)/,
    "LIMIT_EXCEEDED",
    "The document or a variable is nested too deeply.",
  ],
  // graphql-js compares the fields of one place in pairs, fragment by fragment, and gives up in the end.
  [
    /^Validation aborted\.$/,
    "LIMIT_EXCEEDED",
    "The document has too many fragments or fields in one place to be checked.",
  ],
  [/^Too many validation errors/, "VALIDATION", "The document has more errors than these."],
  [/^Unknown operation named /, "VALIDATION", "The document has no operation of the name that operationName gives."],
  [
    /^Must provide operation name if /,
    "VALIDATION",
    "The document has several operations: operationName must say which one.",
  ],
  [/^Must provide an operation\.$/, "VALIDATION", "The document has no operation."],
];

// What validation says of a literal begins with its type, which is the schema's, or ends with it.
const aboutLiterals = [
  /^Expected value of type "([\w[\]!]{1,99})", found /,
  /^(Int|Float|String|Boolean|ID) cannot represent /,
  /^Enum "(\w{1,64})" cannot represent /,
  /^Value "\w*" does not exist in "(\w{1,64})" enum\./,
  // PostGraphile's own scalars, which know no place.
  /^Invalid (UUID), expected /,
  /^(\w{1,64}) can only parse string/,
];

/** Makes an error of any kind into one of the catalogue; what is not in it is INTERNAL, and goes to the log. */
export function presentError(error: unknown, log: Log, path?: PresentedError["path"]): PresentedError {
  const graphql = error instanceof GraphQLError ? error : undefined;
  const known = classify(error, log);
  const at = path ?? graphql?.path;
  return {
    message: known.message,
    ...(graphql?.locations && { locations: graphql.locations }),
    ...(at && { path: at }),
    extensions: { code: known.code, ...(known.hint !== undefined && { hint: known.hint }) },
  };
}

function classify(thrown: unknown, log: Log): KeyrowError {
  const error = unflagged(thrown);
  if (error instanceof KeyrowError) {
    if (error.code === "INTERNAL") log.error({ error: error.cause ?? error }, "unexpected error");
    return error;
  }
  const library = error instanceof Error && ofLibrary.find(([pattern]) => pattern.test(error.message));
  if (library) return new KeyrowError(library[1], library[2] === undefined ? {} : { message: library[2] });
  const database = fromDatabaseError(error);
  if (database !== undefined) {
    // What the caller can't change, somebody here may.
    if (database.code === "UNAVAILABLE") log.warn({ error }, "the database can't be reached");
    return database;
  }
  if (error instanceof GraphQLError) {
    const { originalError: original } = error;
    if (original != null && !(original instanceof GraphQLError)) return classify(original, log);
    // With a path it is about an answer: a value that its type does not know, such as a new one of an enum.
    if (error.path === undefined) return aboutRequest(error);
  }
  if (isSafeError(error as Error)) {
    return new KeyrowError("VALIDATION", { message: "An argument is not valid here." });
  }
  log.error({ error }, "unexpected error");
  return new KeyrowError("INTERNAL");
}

/** An error as it was before Grafast flagged it. */
function unflagged(error: unknown): unknown {
  const flagged = typeof error === "object" && error !== null && Object.getPrototypeOf(error) === null;
  return flagged && "value" in error ? error.value : error;
}

/** Parse, validation and variable errors: where it went wrong, and what is wrong so far as it can't hold a value. */
function aboutRequest(error: GraphQLError): KeyrowError {
  const { message, nodes } = error;
  if (message.startsWith("Syntax Error")) {
    return new KeyrowError("VALIDATION", { message: "The document is not valid GraphQL." });
  }
  const variable = /^Variable "(\$\w{1,64})" (got invalid value|of (?:required|non-null) type)/.exec(message);
  if (variable) {
    const what = variable[2] === "got invalid value" ? "does not fit its type" : "is required";
    return new KeyrowError("VALIDATION", { message: `Variable "${variable[1]}" ${what}.` });
  }
  // Its node is a literal, which it does not repeat.
  if (/^Field "[\w.]+" of required type "[\w[\]!]+" was not provided\.$/.test(message)) {
    return new KeyrowError("VALIDATION", { message });
  }
  for (const pattern of aboutLiterals) {
    const [, type] = pattern.exec(message) ?? [];
    if (type !== undefined) {
      return new KeyrowError("VALIDATION", { message: `A value of the document does not fit its type "${type}".` });
    }
  }
  const literal = nodes?.some(({ kind }) => valueKinds.has(kind)) ?? false;
  const long = message.match(/\w+/g)?.some(({ length }) => length > MAX_NAME) ?? false;
  if (!literal && !long && aboutNames.some((pattern) => pattern.test(message)))
    return new KeyrowError("VALIDATION", { message });
  return new KeyrowError("VALIDATION", { message: "The document does not fit the schema here." });
}

const valueKinds: ReadonlySet<string> = new Set([
  Kind.STRING,
  Kind.INT,
  Kind.FLOAT,
  Kind.BOOLEAN,
  Kind.ENUM,
  Kind.NULL,
  Kind.LIST,
  Kind.OBJECT,
]);
