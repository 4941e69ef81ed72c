import { z } from "zod";
import { publicKey, secretKey } from "./jwt-key.ts";

/** `embedded`: `keyrow start` with a PostgreSQL and secrets of its own; `server`: everything is given from outside. */
export type Mode = "embedded" | "server";

/** One environment variable: what it is, how it is read, and what to do when it can't be. */
export interface Setting<T> {
  /** As one would write it; one for each mode where they differ. None: the setting may be absent. */
  readonly default?: string | Readonly<Record<Mode, string>>;
  readonly description: string;
  /** Its messages are printed, so they must never repeat the text. */
  readonly parser: z.ZodType<T, string>;
  readonly remedy: string;
}

/** The PostgreSQL setting that always holds the asking user's id, whatever else does. */
export const KEYROW_CLAIM = "jwt.claims.user_id";

type WithDefault<T> = Setting<T> & Required<Pick<Setting<T>, "default">>;

const setting = <T>(it: WithDefault<T>): Setting<T> => it;
const optional = <T>(it: Omit<Setting<T>, "default">): Setting<T | undefined> => it;

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "it is not a whole number")
    .transform(Number)
    .refine((value) => value >= min && value <= max, "it is out of range");

const units = { ms: 1, s: 1_000, m: 60_000 } as const;
/** A time as `500ms`, `10s` or `2m`, in ms. */
const duration = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,6}(ms|s|m)$/, "it is not a time such as 500ms, 10s or 2m")
    .transform((given) => Number.parseInt(given, 10) * units[given.replace(/^\d+/, "") as keyof typeof units])
    .refine((ms) => ms >= min && ms <= max, "it is out of range");

const words = { on: true, true: true, "1": true, yes: true, off: false, false: false, "0": false, no: false } as const;
const yesOrNo = z
  .string()
  .toLowerCase()
  .pipe(z.enum(Object.keys(words) as Array<keyof typeof words>, "it is neither on nor off"))
  .transform((word): boolean => words[word]);

/** What an audience, an issuer or a claim may be. */
export const text = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, "it is not plain text of at most 255 characters without spaces");
/**
 * An address whose `sslmode` says what pg 8 does: it verifies the certificate in any of these modes, and warns at length
 * that its next version will not.
 */
function verifying(address: string): string {
  if (new URL(address).searchParams.get("uselibpqcompat") === "true") return address;
  return address.replace(/(?<=[?&]sslmode=)(prefer|require|verify-ca)(?=[&#]|$)/, "verify-full");
}
const databaseUrl = z
  .string()
  .refine(
    (given) => URL.canParse(given) && /^postgres(ql)?:$/.test(new URL(given).protocol),
    "it is not an address of PostgreSQL",
  )
  .refine((given) => URL.canParse(given) && new URL(given).pathname.length > 1, "it names no database")
  .transform(verifying);
const origins = z
  .string()
  .transform((given) => given.split(",").map((one) => one.trim()))
  .refine(
    (given) => given.every((one) => /^https?:/.test(one) && URL.canParse(one) && new URL(one).origin === one),
    "it is not a list of origins such as https://app.example.com",
  )
  .transform((given): readonly string[] => Object.freeze(given));
const userIds = z
  .string()
  .toLowerCase()
  .transform((given) => given.split(",").map((one) => one.trim()))
  .refine((given) => given.every((one) => z.guid().safeParse(one).success), "it is not a list of users' ids")
  .transform((given): readonly string[] => Object.freeze(given));
const openBaoAddress = z
  .string()
  .refine((given) => URL.canParse(given) && /^(https?|unix):$/.test(new URL(given).protocol), "it is not an address")
  .refine((given) => {
    if (!URL.canParse(given)) return true;
    const { protocol, hostname, pathname, search, hash, username } = new URL(given);
    if (protocol === "unix:") return hostname === "" && pathname.length > 1;
    return hostname !== "" && pathname === "/" && `${search}${hash}${username}` === "";
  }, "it is more or less than a place");
// As they stand in a URL's path and in `key_id`, which has no other letters.
const transitName = z.string().regex(/^[A-Za-z0-9_.-]{1,60}$/, "it is not a name of letters, digits, _, . and -");
const transitMount = z
  .string()
  .regex(
    /^[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*$/,
    "it is not a path of letters, digits, _, . and -, without slashes at its ends",
  )
  .refine((given) => given.length <= 80, "it has more than 80 characters");
const secretText = z.string().regex(/^[\x21-\x7e]{1,4096}$/, "it is not plain text without spaces");
/** The path of a file or directory. */
export const path = z.string().regex(/^\P{Cc}{1,1024}$/u, "it is not a path");

/** Reads a key from its text; what the reader throws is what is wrong. */
export const key = <T>(read: (text: string) => T) =>
  z.string().transform((given, context): T => {
    try {
      return read(given);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });

const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

/** RFC 7519, section 4.1, and what provisioning and limits read: none of these can name a user as well. */
export const takenClaims = ["iss", "aud", "exp", "nbf", "iat", "jti", "email", "email_verified", "name", "keyrow"];

// As PostgreSQL takes a name of one's own, letter by letter; these mean something else in a request.
const settingName = z
  .string()
  .regex(
    /^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62}){1,2}$/,
    "it is not the name of a PostgreSQL setting of one's own",
  )
  .refine(
    (name) => !["request.jwt.claims", "keyrow.request_id", "keyrow.limits", "keyrow.expires_at"].includes(name),
    "this setting has a meaning of its own",
  );

/** Every setting there is. What the help, the reference page and the reader know of settings, they know from here. */
export const settings = {
  PORT: setting({
    default: "5678",
    description: "The port to listen on. 0 takes any free one.",
    parser: whole(0, 65_535),
    remedy: "give a number from 0 to 65535",
  }),
  HOST: setting({
    default: "127.0.0.1",
    description: "The address to listen on. 0.0.0.0 is all of them: then the network can reach it.",
    parser: z.union([z.ipv4(), z.ipv6(), z.hostname()], "it is neither an address nor a host name"),
    remedy: "give an IP address or a host name, without port or brackets",
  }),
  KEYROW_DATA_DIR: setting({
    default: ".keyrow",
    description: "The directory of the embedded PostgreSQL, its secrets and the local key file.",
    parser: path,
    remedy: "give the path of a directory that only you may write to",
  }),
  DATABASE_URL: optional({
    description:
      "The address of the database for `keyrow serve`, as the login keyrow_authenticator. Not read in embedded mode. With any `sslmode` but `disable` and `no-verify` its certificate is verified, as by `verify-full`.",
    parser: databaseUrl,
    remedy: "give an address as in postgres://keyrow_authenticator:password@host:5432/database",
  }),
  MIGRATE_DATABASE_URL: optional({
    description: "The address of the database for `keyrow migrate`, as the login keyrow_migrate.",
    parser: databaseUrl,
    remedy: "give an address as in postgres://keyrow_migrate:password@host:5432/database",
  }),
  ADOPT_DATABASE_URL: optional({
    description:
      "The address of the database for `keyrow adopt`, as the application's owner, who sees all its rows, and no superuser. It is only read from.",
    parser: databaseUrl,
    remedy: "give an address as in postgres://app_owner:password@host:5432/database",
  }),
  KEYROW_USER_SETTING: setting({
    default: KEYROW_CLAIM,
    description:
      "The PostgreSQL setting that the application's `current_user_id()` reads; each request sets it to the user's id. `keyrow adopt --check` finds it.",
    parser: settingName,
    remedy: "give two or three lower-case words with dots between them, as in app.user_id",
  }),
  ADMIN_DATABASE_URL: optional({
    description:
      "The address of the database for `keyrow system`, `keyrow identity`, `keyrow machine`, `keyrow keys`, `keyrow handover` and the users of `keyrow token`, as a login that may become keyrow_admin and is no superuser. Where unset, it is the embedded one of the data directory.",
    parser: databaseUrl,
    remedy: "give an address as in postgres://alice:password@host:5432/database",
  }),
  WORKER_DATABASE_URL: optional({
    description:
      "The address of the database for `keyrow worker` and `keyrow rewrap`, as the login keyrow_worker. Where unset, `keyrow rewrap` works on the embedded one.",
    parser: databaseUrl,
    remedy: "give an address as in postgres://keyrow_worker:password@host:5432/database",
  }),
  JWT_SECRET: optional({
    description:
      "The secret that tokens are signed with (HS256), 32 bytes or more. In embedded mode one is made where neither this nor JWT_PUBLIC_KEY is set.",
    parser: key(secretKey),
    remedy: "give 32 bytes or more, as `openssl rand -base64 48` makes them",
  }),
  JWT_PUBLIC_KEY: optional({
    description:
      "The public key of whoever signs the tokens, as a PEM text: RSA of 2048 bits or more (RS256) or P-256 (ES256). Line ends may be written as \\n.",
    parser: key(publicKey),
    remedy: "give one PUBLIC KEY in PEM, RSA of 2048 bits or more or P-256",
  }),
  JWT_AUDIENCE: setting({
    default: "keyrow",
    description: "What a token's `aud` must be or hold.",
    parser: text,
    remedy: "give the audience that your issuer writes",
  }),
  JWT_ISSUER: optional({
    description: "What a token's `iss` must be. Not checked where unset.",
    parser: text,
    remedy: "give the issuer letter by letter, or leave it unset",
  }),
  JWT_USER_CLAIM: setting({
    default: "sub",
    description: "The claim that holds the user's id, a UUID.",
    parser: text.refine((name) => !takenClaims.includes(name), "this claim has a meaning of its own"),
    remedy: "give the name of one claim at the top level of the token",
  }),
  JWT_ISSUERS: optional({
    description:
      "The JSON file of issuers whose tokens are taken, beside those of JWT_SECRET or JWT_PUBLIC_KEY: keys, a JWKS address among them, audience, and how subjects become users.",
    parser: path,
    remedy: "give the path of the file",
  }),
  JWT_PROVISION: setting({
    default: { embedded: "on", server: "off" },
    description: "Whether a user's row is made at their first valid token.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
  KEYROW_KEY_FILE: optional({
    description:
      "The file of the local keys. Where unset, it is keys.json in the data directory, made at the first start; a file named here must exist.",
    parser: path,
    remedy: "give the path of the key file",
  }),
  KEYROW_SIGNING_KEY_FILE: optional({
    description:
      "The PEM file of the key that signs the tokens which Keyrow makes (`keyrow token create`): P-256, the same for all servers. Where unset, `keyrow serve` makes none and takes none, and `keyrow start` has its own in the data directory.",
    parser: path,
    remedy: "give the path of the key's file",
  }),
  BAO_ADDR: optional({
    description:
      "The address of an OpenBao or HashiCorp Vault whose Transit seals and opens values. Where unset, the local keys do.",
    parser: openBaoAddress,
    remedy: "give an address as in https://openbao.example.com:8200 or unix:///run/openbao.sock",
  }),
  BAO_TOKEN: optional({
    description: "The token for OpenBao. It is renewed before it ends. Set this, or BAO_ROLE_ID and BAO_SECRET_ID.",
    parser: secretText,
    remedy: "give the token as OpenBao printed it",
  }),
  BAO_ROLE_ID: optional({
    description: "The role id of the AppRole that fetches tokens for OpenBao.",
    parser: secretText,
    remedy: "give the role id as OpenBao printed it",
  }),
  BAO_SECRET_ID: optional({
    description: "The secret id of that AppRole.",
    parser: secretText,
    remedy: "give the secret id as OpenBao printed it",
  }),
  BAO_CACERT: optional({
    description:
      "The PEM file of the authorities that sign OpenBao's certificate. Where unset, those that Node brings.",
    parser: path,
    remedy: "give the path of a PEM file",
  }),
  BAO_NAMESPACE: optional({
    description: "The namespace of OpenBao that mount and login are in.",
    parser: transitMount,
    remedy: "give its path without slashes at its ends",
  }),
  KEYROW_TRANSIT_MOUNT: setting({
    default: "transit",
    description: "Where OpenBao's Transit is mounted.",
    parser: transitMount,
    remedy: "give the mount's path without slashes at its ends",
  }),
  KEYROW_TRANSIT_KEY: setting({
    default: "keyrow",
    description: "The name of the Transit key: aes256-gcm96, with derived=true.",
    parser: transitName,
    remedy: "give the key's name",
  }),
  KEYROW_FALLBACK: setting({
    default: "local",
    description:
      "What happens to new values while OpenBao is away: `local` seals them under a local key, to be moved to Transit later, `refuse` refuses them.",
    parser: z.enum(["local", "refuse"], "it is neither local nor refuse"),
    remedy: "give local or refuse",
  }),
  BAO_BIN: optional({
    description:
      "The program `bao` for `keyrow start --openbao`. Where unset, one on PATH or one that is installed into the data directory.",
    parser: path,
    remedy: "give the path of OpenBao's program",
  }),
  KEYROW_ALLOW_MISSING_KEYS: setting({
    default: "off",
    description:
      "Start although some rows are sealed under keys that neither the key file nor OpenBao has. Those can't be opened.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
  KEYROW_MAX_BODY: setting({
    default: "524288",
    description: "How many bytes the body of a request may have. The default holds the largest value, or 1,000 ids.",
    parser: whole(1_024, 16_777_216),
    remedy: "give a number of bytes from 1024 to 16777216",
  }),
  KEYROW_MAX_ANSWER: setting({
    default: "16777216",
    description:
      "How many bytes the answer to a request may have. What a mutation has changed stays changed where its answer is larger.",
    // Six times as many, where all is escaped, must be one text.
    parser: whole(1_024, 67_108_864),
    remedy: "give a number of bytes from 1024 to 67108864",
  }),
  KEYROW_MAX_DOCUMENT: setting({
    default: "200000",
    description: "How many characters a GraphQL document may have.",
    parser: whole(100, 1_000_000),
    remedy: "give a number from 100 to 1000000",
  }),
  KEYROW_MAX_DEPTH: setting({
    default: "20",
    description:
      "How many levels deep a document may be, and so may a literal in it or a variable; JSON in a variable, such as metadata, has 1,000. Introspection, as GraphiQL asks for it, needs 15.",
    parser: whole(1, 100),
    remedy: "give a number from 1 to 100",
  }),
  KEYROW_MAX_FIELDS: setting({
    default: "500",
    description: "How many fields a document may have, fragments counted where they are spread.",
    parser: whole(1, 10_000),
    remedy: "give a number from 1 to 10000",
  }),
  KEYROW_MAX_ALIASES: setting({
    default: "50",
    description: "How many aliases a document may have, counted like fields.",
    parser: whole(0, 1_000),
    remedy: "give a number from 0 to 1000",
  }),
  KEYROW_PAGE_SIZE: setting({
    default: "100",
    description: "How many rows a list has where a request does not say.",
    parser: whole(1, 10_000),
    remedy: "give a number from 1 to KEYROW_MAX_PAGE_SIZE",
  }),
  KEYROW_MAX_PAGE_SIZE: setting({
    default: "1000",
    description: "How many rows a list may have.",
    parser: whole(1, 10_000),
    remedy: "give a number from 1 to 10000",
  }),
  KEYROW_MAX_CELLS: setting({
    default: "200000",
    description:
      "How many rows and fields of rows a document may ask for in all, objects and aliases included. A list in another counts a page for each of its rows, whether there are so many or not. A value counts as 10, a description or metadata as 20, and as 60 in a list that is in something else.",
    parser: whole(1, 10_000_000),
    remedy: "give a number from 1 to 10000000",
  }),
  KEYROW_MAX_REVEALS: setting({
    default: "1000",
    description:
      "How many values one request may reveal. They are counted as it goes: of several mutations in one document, those before the one too many are revealed and recorded.",
    // The most that the database's function takes at once.
    parser: whole(1, 1_000),
    remedy: "give a number from 1 to 1000",
  }),
  KEYROW_STATEMENT_TIMEOUT: setting({
    default: "10s",
    description: "How long one statement in the database may take.",
    parser: duration(10, 600_000),
    remedy: "give a time from 10ms to 10m, such as 10s",
  }),
  KEYROW_REQUEST_TIMEOUT: setting({
    default: "30s",
    description: "How long one request may take, from its whole arrival to its answer.",
    parser: duration(10, 600_000),
    remedy: "give a time from 10ms to 10m, such as 30s",
  }),
  KEYROW_RECEIVE_TIMEOUT: setting({
    default: "10s",
    description: "How long a request may take to arrive, head and body. Slow senders are cut off.",
    parser: duration(100, 600_000),
    remedy: "give a time from 100ms to 10m, such as 10s",
  }),
  KEYROW_MAX_REQUESTS: setting({
    default: "400",
    description: "How many requests may be under way at once. Beyond that the answer is 503 with Retry-After.",
    parser: whole(1, 100_000),
    remedy: "give a number from 1 to 100000",
  }),
  KEYROW_MAX_USER_REQUESTS: setting({
    default: "8",
    description:
      "How many requests of one user run at once; fifty more wait for their turn, and beyond that the answer is 429 with Retry-After.",
    parser: whole(1, 1_000),
    remedy: "give a number from 1 to 1000",
  }),
  KEYROW_MAX_CONNECTIONS: setting({
    default: "1000",
    description: "How many connections may be open at once. Beyond that the answer is 503 with Retry-After.",
    parser: whole(1, 100_000),
    remedy: "give a number from 1 to 100000",
  }),
  KEYROW_DATABASE_CONNECTIONS: setting({
    default: "20",
    description: "How many connections to the database the server opens at most.",
    parser: whole(2, 1_000),
    remedy: "give a number from 2 to 1000",
  }),
  KEYROW_INTROSPECTION: setting({
    default: "on",
    description: "Whether the API tells its schema to whoever has a token. GraphiQL needs it.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
  KEYROW_METRICS: setting({
    default: { embedded: "on", server: "off" },
    description: "Whether metrics are served at /metrics, as Prometheus reads them, to whoever can reach the port.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
  CORS_ORIGINS: optional({
    description: "The origins whose pages may call the API, exactly, with commas between. None where unset.",
    parser: origins,
    remedy: "give origins as browsers send them, https://app.example.com, without a path or a slash at the end",
  }),
  KEYROW_OFFLINE_WORKERS: optional({
    description:
      "The ids of users, with commas between, to whom USER credentials of others are opened where a policy reveals them: workers that act for users who are away. None where unset.",
    parser: userIds,
    remedy: "give UUIDs of users, or unset it",
  }),
  KEYROW_GRAPHIQL: setting({
    default: { embedded: "on", server: "off" },
    description: "Whether GraphiQL is served at /graphiql.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
  KEYROW_DEMO: setting({
    default: { embedded: "on", server: "off" },
    description: "Whether demo users and credentials are loaded into an embedded database at its first start.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
  LOG_LEVEL: setting({
    default: "info",
    description: "The least that is logged.",
    parser: z.enum(logLevels, "it is not a level"),
    remedy: `give ${logLevels.slice(0, -1).join(", ")} or silent`,
  }),
} as const;

/** The name of a setting. */
export type SettingName = keyof typeof settings;

/** What the settings hold once read. */
export type Values = { [N in SettingName]: (typeof settings)[N] extends Setting<infer T> ? T : never };

/** The setting's default in a mode, as one would write it; undefined where it has none. */
export function defaultOf(name: SettingName, mode: Mode): string | undefined {
  const given: Setting<unknown>["default"] = (settings[name] as Setting<unknown>).default;
  return typeof given === "object" ? given[mode] : given;
}
