import { readFileSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Config } from "../config.ts";
import { KeyrowError } from "../errors.ts";
import { parseJsonBytes } from "../json.ts";
import { type JwtKey, publicKey, secretKey } from "../jwt-key.ts";
import { nearest } from "../nearest.ts";
import { type FieldName, type FieldValues, fields, publicAlgorithms } from "./fields.ts";
import type { Issuer } from "./issuer.ts";

/** An issuer as the file has it: a key of its own, or the address of its keys. */
export interface ListedIssuer extends Pick<Issuer, "name" | "audience" | "userClaim" | "subjects"> {
  readonly issuer: string;
  readonly keys: JwtKey | { readonly jwks: URL; readonly algorithms: readonly JwtKey["algorithm"][] };
}

const MAX_FILE_BYTES = 1024 * 1024;
const MAX_ISSUERS = 100;
const names = Object.keys(fields) as FieldName[];
const sources = ["jwks", "publicKey", "publicKeyFile", "secretFile"] as const;

/** The issuers that the configuration lists; throws as `readIssuers` does, and where the settings have one of them as well. */
export function listedIssuers({ issuersFile, issuer }: Pick<Config["jwt"], "issuersFile" | "issuer">): ListedIssuer[] {
  if (issuersFile === undefined) return [];
  const issuers = readIssuers(issuersFile);
  if (issuers.some((listed) => listed.issuer === issuer)) {
    throw invalid("JWT_ISSUER, JWT_ISSUERS: both have one issuer; unset the one, or remove it from the other");
  }
  return issuers;
}

/**
 * Reads the file of JWT_ISSUERS. Throws CONFIG_INVALID with a line for every problem: the issuer by its number, the field,
 * what is wrong and the remedy, never what was given.
 */
export function readIssuers(file: string): ListedIssuer[] {
  const listed = readList(file);
  const problems: string[] = [];
  const issuers = listed.flatMap((given, index) => {
    const told = (problem: string) => void problems.push(`JWT_ISSUERS: issuer ${index + 1}: ${problem}`);
    const values = readFields(given, told);
    return values === undefined ? [] : (toIssuer(values, dirname(file), told) ?? []);
  });
  for (const field of ["name", "issuer"] as const) {
    const seen = new Set(issuers.map((issuer) => issuer[field]));
    // Two sets of keys for one issuer would each verify what the other should.
    if (seen.size < issuers.length) problems.push(`JWT_ISSUERS: ${field}: two issuers have the same; remove one`);
  }
  if (problems.length > 0) throw invalid(problems.join("\n"));
  return issuers;
}

/** An issuer that somebody has named. */
export interface NamedIssuer {
  /** Exactly its `iss`. */
  readonly iss: string;
  /** Whether it is one of the configuration's. */
  readonly known: boolean;
  /** How its subjects become users, where it is. */
  readonly subjects?: Issuer["subjects"] | undefined;
}

/**
 * The issuer that somebody names as the file calls it, or by its `iss` itself, which need not be listed: it may have been.
 * Throws USAGE for anything else.
 */
export function issuerNamed({ issuersFile }: Pick<Config["jwt"], "issuersFile">, named: string): NamedIssuer {
  return issuerAmong(issuersFile === undefined ? undefined : namesIn(issuersFile), named);
}

type Listed = ReadonlyArray<Pick<ListedIssuer, "name" | "issuer"> & Pick<NamedIssuer, "subjects">>;

function issuerAmong(listed: Listed | undefined, named: string): NamedIssuer {
  const found = listed?.find(({ name }) => name === named) ?? listed?.find(({ issuer }) => issuer === named);
  if (found !== undefined) return { iss: found.issuer, known: true, subjects: found.subjects };
  // An address shows itself as one.
  if (/^[a-z]+:\/\/[\x21-\x7e]{1,240}$/.test(named)) return { iss: named, known: false };
  throw unknown(
    listed === undefined
      ? "Set JWT_ISSUERS to the servers' file, or give the issuer exactly as its tokens have it, https://... and all."
      : whichThereAre(listed),
  );
}

/** As `issuerNamed`, for what is to be of use from now on: throws USAGE where the configuration is here and has no such issuer. */
export function issuerToAdd(
  { jwt, adminDatabaseUrl }: Pick<Config, "jwt" | "adminDatabaseUrl">,
  named: string,
): NamedIssuer {
  const listed = jwt.issuersFile === undefined ? undefined : namesIn(jwt.issuersFile);
  const issuer = issuerAmong(listed, named);
  if (issuer.known) return issuer;
  if (listed !== undefined) throw unknown(`${whichThereAre(listed)} List this one there first.`);
  // The embedded server's settings are those of whoever runs this command.
  if (adminDatabaseUrl === undefined) {
    throw unknown("The embedded server takes no tokens of issuers: set JWT_ISSUERS, here and for `keyrow start`.");
  }
  return issuer;
}

function whichThereAre(listed: Listed): string {
  return `The file of JWT_ISSUERS has ${listed.map(({ name }) => name).join(", ")}.`;
}

function unknown(hint: string): KeyrowError {
  return new KeyrowError("USAGE", { message: "There is no issuer of this name.", hint });
}

/** Names and kinds alone: whoever manages the database need not be able to read the issuers' secrets. */
function namesIn(file: string): Listed {
  const listed = readList(file) as Array<Partial<ListedIssuer> | null>;
  return listed.flatMap((one) =>
    typeof one?.name === "string" && typeof one.issuer === "string"
      ? [{ name: one.name, issuer: one.issuer, subjects: one.subjects }]
      : [],
  );
}

function readList(file: string): unknown[] {
  let list: unknown;
  try {
    list = parseJsonBytes(readSmall(file));
  } catch (error) {
    // A SyntaxError here repeats nothing of the text.
    const problem = error instanceof SyntaxError ? error.message : `The file ${reason(error)}.`;
    throw invalid(`JWT_ISSUERS: ${problem}`);
  }
  if (!Array.isArray(list) || list.length === 0) throw invalid("JWT_ISSUERS: The file is not a list of issuers.");
  if (list.length > MAX_ISSUERS) throw invalid(`JWT_ISSUERS: The file has more than ${MAX_ISSUERS} issuers.`);
  return list;
}

function readFields(given: unknown, told: (problem: string) => void): FieldValues | undefined {
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    told("it is not an object; give one with the fields name, issuer and so on");
    return undefined;
  }
  let good = true;
  const problem = (text: string) => {
    good = false;
    told(text);
  };
  for (const name of Object.keys(given).filter((one) => !(names as string[]).includes(one))) {
    const meant = nearest(name.slice(0, 64), names);
    problem(`${shown(name)}: there is no such field; ${meant ? `did you mean ${meant}?` : "remove it"}`);
  }
  const entries = names.map((name) => {
    const { needed, parser, remedy } = fields[name];
    const value = (given as Record<string, unknown>)[name];
    if (value === undefined) {
      if (needed) problem(`${name}: it is missing; ${remedy}`);
      return [name, undefined];
    }
    const result = parser.safeParse(value);
    if (!result.success) problem(`${name}: ${result.error.issues[0]?.message}; ${remedy}`);
    return [name, result.data];
  });
  return good ? (Object.fromEntries(entries) as FieldValues) : undefined;
}

function toIssuer(values: FieldValues, directory: string, told: (problem: string) => void): ListedIssuer | undefined {
  const keys = toKeys(values, directory, told);
  if (keys === undefined) return undefined;
  const { name, issuer, audience, userClaim = "sub", subjects } = values;
  return Object.freeze({ name, issuer, audience, userClaim, subjects, keys });
}

function toKeys(
  values: FieldValues,
  directory: string,
  told: (problem: string) => void,
): ListedIssuer["keys"] | undefined {
  const given = sources.filter((source) => values[source] !== undefined);
  const [source] = given;
  if (source === undefined || given.length > 1) {
    told(`${sources.join(", ")}: ${source === undefined ? "none is" : "more than one is"} given; give exactly one`);
    return undefined;
  }
  const { jwks, algorithms = publicAlgorithms, publicKey: pem } = values;
  if (jwks !== undefined) return { jwks, algorithms };
  if (values.algorithms !== undefined) {
    told("algorithms: a key has its one algorithm; remove it, or give jwks");
    return undefined;
  }
  if (pem !== undefined) return pem;
  try {
    const path = resolve(directory, values[source] as string);
    const bytes = readSmall(path, source === "secretFile");
    const text = bytes.toString("utf8").replace(/\r?\n$/, "");
    return source === "secretFile" ? secretKey(text) : publicKey(text);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    told(`${source}: ${code === undefined ? message : `the file ${reason(error)}`}; ${fields[source].remedy}`);
    return undefined;
  }
}

/** Reads a file of at most a megabyte; a secret's only where nobody but its owner may read it. */
function readSmall(path: string, secret = false): Buffer {
  const { size, mode } = statSync(path);
  if (size > MAX_FILE_BYTES) throw new Error("the file is too large");
  if (secret && (mode & 0o077) !== 0) throw new Error("others may read the file: run chmod 600 on it");
  return readFileSync(path);
}

function reason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return "does not exist";
  return code === undefined ? message.replace(/^the file /, "") : `can't be read (${code})`;
}

/** A field's name is no secret, but it goes to a terminal: nothing in it may steer that. */
function shown(name: string): string {
  return name.slice(0, 64).replaceAll(/\W/g, "?");
}

function invalid(message: string): KeyrowError {
  return new KeyrowError("CONFIG_INVALID", {
    message,
    hint: "docs/issuers.md has examples, and docs/reference/issuers.md every field.",
  });
}
