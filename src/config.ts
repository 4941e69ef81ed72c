import { join, resolve } from "node:path";
import type { OpenBaoAccess, TransitKey } from "./cipher/openbao/access.ts";
import { KeyrowError } from "./errors.ts";
import type { JwtKey } from "./jwt-key.ts";
import type { Limits } from "./limits.ts";
import { nearest } from "./nearest.ts";
import { scriptVariables } from "./script/environment.ts";
import type { Mode, Setting } from "./settings/setting.ts";
import { defaultOf, type SettingName, settings, type Values } from "./settings.ts";

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What the environment says, checked and frozen. Keys are KeyObjects, which print and serialize as nothing. */
export interface Config {
  readonly mode: Mode;
  /** 0 is any free port. */
  readonly port: number;
  readonly host: string;
  /** Absolute. */
  readonly dataDirectory: string;
  /** Of `keyrow serve`; undefined in embedded mode. */
  readonly databaseUrl: string | undefined;
  /** Of DB admins' commands; undefined where theirs is the embedded one. */
  readonly adminDatabaseUrl: string | undefined;
  /** Of the worker's commands; undefined where theirs is the embedded one. */
  readonly workerDatabaseUrl: string | undefined;
  /**
   * `path` is absolute; `mayCreate` where nobody named the file, so that a mistyped path never gets a new key; `needed`
   * unless OpenBao alone seals and opens.
   */
  readonly keyFile: { readonly path: string; readonly mayCreate: boolean; readonly needed: boolean };
  /** Absolute; signs the tokens that Keyrow makes. */
  readonly signingKeyFile: string | undefined;
  /** Where Transit is; undefined where the local keys seal, or where the data directory's own OpenBao does. */
  readonly openBao: OpenBaoAccess | undefined;
  /** How long a call to OpenBao may take, in ms, the embedded one included. */
  readonly transitTimeoutMs: number;
  readonly transitKey: TransitKey;
  /** Whether local keys seal while OpenBao is away. */
  readonly fallback: Values["KEYROW_FALLBACK"];
  /** Absolute; the program of the data directory's own OpenBao. */
  readonly openBaoProgram: string | undefined;
  readonly allowMissingKeys: boolean;
  /** The PostgreSQL setting that `current_user_id()` reads. */
  readonly userSetting: string;
  readonly limits: Limits;
  readonly introspection: boolean;
  readonly metrics: boolean;
  /** Exact origins whose pages may call the API. */
  readonly corsOrigins: readonly string[];
  /** The ids, in lower case, of users to whom others' USER credentials are opened where a policy reveals them. */
  readonly offlineWorkers: readonly string[];
  readonly graphiql: boolean;
  readonly demo: boolean;
  readonly logLevel: Values["LOG_LEVEL"];
  readonly jwt: {
    /** Undefined in embedded mode where none is given: its secret is then in the data directory. */
    readonly key: JwtKey | undefined;
    readonly audience: string;
    readonly issuer: string | undefined;
    readonly userClaim: string;
    readonly provision: boolean;
    /** Absolute; the file of the other issuers. */
    readonly issuersFile: string | undefined;
  };
}

const names = Object.keys(settings) as SettingName[];

/**
 * Reads the settings, the only place that does. Throws CONFIG_INVALID with a line for every problem: the setting's
 * name, what is wrong and the remedy, never what was given.
 */
export function readConfig(env: Environment = process.env, mode: Mode = "embedded"): Config {
  const problems: string[] = [];
  const entries = names.map((name) => [name, readSetting(name, env, mode, problems)]);
  const values = Object.fromEntries(entries) as Values;
  problems.push(...conflicts(env, mode), ...contradictions(values), ...unknownSettings(env));
  if (problems.length > 0) {
    throw new KeyrowError("CONFIG_INVALID", {
      message: problems.join("\n"),
      hint: "`keyrow help config` lists every setting.",
    });
  }
  return toConfig(values, mode);
}

/** The address that `keyrow migrate` works on; throws CONFIG_INVALID where it is missing or malformed. */
export function readMigrateUrl(env: Environment = process.env): string {
  return readRequired("MIGRATE_DATABASE_URL", env);
}

/** What `keyrow adopt` reads: the application's database, and the setting that its `current_user_id()` is said to read. */
export function readAdoption(env: Environment = process.env): { readonly url: string; readonly userSetting: string } {
  return { url: readRequired("ADOPT_DATABASE_URL", env), userSetting: readRequired("KEYROW_USER_SETTING", env) };
}

function readRequired(
  name: "MIGRATE_DATABASE_URL" | "ADOPT_DATABASE_URL" | "KEYROW_USER_SETTING",
  env: Environment,
): string {
  const problems: string[] = [];
  const value = readSetting(name, env, "server", problems) as string | undefined;
  if (value !== undefined) return value;
  const [problem = `${name}: it is not set; ${settings[name].remedy}`] = problems;
  throw new KeyrowError("CONFIG_INVALID", { message: problem, hint: "`keyrow help config` lists every setting." });
}

/** Whether errors should say where they happened (LOG_LEVEL is debug or trace); never throws, whatever is set. */
export function wantsDetails(env: Environment = process.env): boolean {
  return env.LOG_LEVEL === "debug" || env.LOG_LEVEL === "trace";
}

function readSetting(name: SettingName, env: Environment, mode: Mode, problems: string[]): unknown {
  const { parser, remedy } = settings[name] as Setting<unknown>;
  const given = env[name];
  // An empty value is mostly a template that found nothing: taking it as "unset" would turn off JWT_ISSUER unseen.
  if (given === "") {
    problems.push(`${name}: it is set, but empty; ${remedy}, or unset it`);
    return;
  }
  const text = given ?? defaultOf(name, mode);
  if (text === undefined) return;
  const result = parser.safeParse(text);
  if (result.success) return result.data;
  problems.push(`${name}: ${result.error.issues[0]?.message}; ${remedy}`);
}

function conflicts(env: Environment, mode: Mode): string[] {
  if (env.JWT_SECRET !== undefined && env.JWT_PUBLIC_KEY !== undefined) {
    return ["JWT_SECRET, JWT_PUBLIC_KEY: both are set; unset the one that your tokens are not signed for"];
  }
  if (mode === "embedded") return [];
  // Without OpenBao they seal everything; with it, what can't wait for it.
  const needsKeyFile = env.BAO_ADDR === undefined || env.KEYROW_FALLBACK !== "refuse";
  // Nothing is made here, or two servers would each have their own.
  return [
    env.DATABASE_URL === undefined && `DATABASE_URL: it is not set; ${settings.DATABASE_URL.remedy}`,
    needsKeyFile &&
      env.KEYROW_KEY_FILE === undefined &&
      "KEYROW_KEY_FILE: it is not set; give the path of the key file that all servers share",
    env.JWT_SECRET === undefined &&
      env.JWT_PUBLIC_KEY === undefined &&
      env.JWT_ISSUERS === undefined &&
      "JWT_SECRET, JWT_PUBLIC_KEY, JWT_ISSUERS: none is set; set one, for without it no token can be verified",
  ].filter((problem) => problem !== false);
}

/** Settings that are good, each by itself, and can't both hold. */
function contradictions(values: Values): string[] {
  return [
    values.KEYROW_PAGE_SIZE > values.KEYROW_MAX_PAGE_SIZE &&
      "KEYROW_PAGE_SIZE: it is more than KEYROW_MAX_PAGE_SIZE; lower it or raise the other",
    values.KEYROW_PAGE_SIZE > values.KEYROW_MAX_CELLS &&
      "KEYROW_PAGE_SIZE: it is more than KEYROW_MAX_CELLS; lower it or raise the other",
    values.KEYROW_GRAPHIQL &&
      !values.KEYROW_INTROSPECTION &&
      "KEYROW_INTROSPECTION: it is off, and GraphiQL needs it; set KEYROW_GRAPHIQL=off as well",
    ...openBaoContradictions(values),
  ].filter((problem) => typeof problem === "string");
}

function openBaoContradictions(values: Values): Array<string | false> {
  const { BAO_ADDR: address, BAO_TOKEN: token, BAO_ROLE_ID: roleId, BAO_SECRET_ID: secretId } = values;
  if (address === undefined) return [];
  return [
    token !== undefined &&
      (roleId !== undefined || secretId !== undefined) &&
      "BAO_TOKEN, BAO_ROLE_ID: both are set; unset the one that is not meant",
    token === undefined &&
      (roleId === undefined || secretId === undefined) &&
      "BAO_TOKEN, BAO_ROLE_ID, BAO_SECRET_ID: with BAO_ADDR set the first, or the other two",
  ];
}

function unknownSettings(env: Environment): string[] {
  const known = new Set<string>([...names, ...Object.keys(scriptVariables)]);
  return Object.keys(env)
    .filter((name) => /^(KEYROW|JWT)_/.test(name) && !name.startsWith("KEYROW_TEST_") && !known.has(name))
    .sort()
    .map((name) => {
      const meant = suggestion(name);
      // A name is not a secret, but it goes to a terminal: nothing in it may steer that.
      const shown = name.slice(0, 64).replaceAll(/\W/g, "?");
      return `${shown}: there is no such setting; ${meant ? `did you mean ${meant}?` : "unset it"}`;
    });
}

function suggestion(name: string): string | undefined {
  // Compared without prefixes: KEYROW_PROT is more like PORT than like KEYROW_DEMO.
  const bare = (text: string) => text.slice(0, 64).replace(/^((KEYROW|JWT)_)+/, "");
  const found = nearest(bare(name), names.map(bare));
  return names.find((known) => bare(known) === found);
}

function toConfig(values: Values, mode: Mode): Config {
  const dataDirectory = resolve(values.KEYROW_DATA_DIR);
  return Object.freeze({
    mode,
    port: values.PORT,
    host: values.HOST,
    dataDirectory,
    databaseUrl: mode === "server" ? values.DATABASE_URL : undefined,
    adminDatabaseUrl: values.ADMIN_DATABASE_URL,
    workerDatabaseUrl: values.WORKER_DATABASE_URL,
    keyFile: Object.freeze({
      path: resolve(values.KEYROW_KEY_FILE ?? join(dataDirectory, "keys.json")),
      mayCreate: values.KEYROW_KEY_FILE === undefined && mode === "embedded",
      needed: values.KEYROW_KEY_FILE !== undefined || mode === "embedded",
    }),
    signingKeyFile: values.KEYROW_SIGNING_KEY_FILE === undefined ? undefined : resolve(values.KEYROW_SIGNING_KEY_FILE),
    openBao: toOpenBao(values),
    transitTimeoutMs: values.KEYROW_TRANSIT_TIMEOUT,
    transitKey: Object.freeze({ mount: values.KEYROW_TRANSIT_MOUNT, key: values.KEYROW_TRANSIT_KEY }),
    fallback: values.KEYROW_FALLBACK,
    openBaoProgram: values.BAO_BIN === undefined ? undefined : resolve(values.BAO_BIN),
    allowMissingKeys: values.KEYROW_ALLOW_MISSING_KEYS,
    userSetting: values.KEYROW_USER_SETTING,
    limits: toLimits(values),
    introspection: values.KEYROW_INTROSPECTION,
    metrics: values.KEYROW_METRICS,
    corsOrigins: values.CORS_ORIGINS ?? [],
    offlineWorkers: values.KEYROW_OFFLINE_WORKERS ?? [],
    graphiql: values.KEYROW_GRAPHIQL,
    demo: values.KEYROW_DEMO,
    logLevel: values.LOG_LEVEL,
    jwt: Object.freeze({
      key: values.JWT_SECRET ?? values.JWT_PUBLIC_KEY,
      audience: values.JWT_AUDIENCE,
      issuer: values.JWT_ISSUER,
      userClaim: values.JWT_USER_CLAIM,
      provision: values.JWT_PROVISION,
      issuersFile: values.JWT_ISSUERS === undefined ? undefined : resolve(values.JWT_ISSUERS),
    }),
  });
}

function toOpenBao(values: Values): OpenBaoAccess | undefined {
  const { BAO_ADDR: address, BAO_TOKEN: token, BAO_ROLE_ID: roleId, BAO_SECRET_ID: secretId } = values;
  const login =
    token !== undefined ? { token } : roleId !== undefined && secretId !== undefined && { roleId, secretId };
  if (address === undefined || login === false) return undefined;
  return Object.freeze({
    address,
    login: Object.freeze(login),
    caFile: values.BAO_CACERT === undefined ? undefined : resolve(values.BAO_CACERT),
    namespace: values.BAO_NAMESPACE,
    timeoutMs: values.KEYROW_TRANSIT_TIMEOUT,
  });
}

function toLimits(values: Values): Limits {
  return Object.freeze({
    bodyBytes: values.KEYROW_MAX_BODY,
    answerBytes: values.KEYROW_MAX_ANSWER,
    document: Object.freeze({
      characters: values.KEYROW_MAX_DOCUMENT,
      depth: values.KEYROW_MAX_DEPTH,
      fields: values.KEYROW_MAX_FIELDS,
      aliases: values.KEYROW_MAX_ALIASES,
      cells: values.KEYROW_MAX_CELLS,
    }),
    page: Object.freeze({ standard: values.KEYROW_PAGE_SIZE, most: values.KEYROW_MAX_PAGE_SIZE }),
    reveals: values.KEYROW_MAX_REVEALS,
    statementMs: values.KEYROW_STATEMENT_TIMEOUT,
    requestMs: values.KEYROW_REQUEST_TIMEOUT,
    receiveMs: values.KEYROW_RECEIVE_TIMEOUT,
    requests: values.KEYROW_MAX_REQUESTS,
    requestsPerUser: values.KEYROW_MAX_USER_REQUESTS,
    connections: values.KEYROW_MAX_CONNECTIONS,
    databaseConnections: values.KEYROW_DATABASE_CONNECTIONS,
  });
}
