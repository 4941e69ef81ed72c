import { z } from "zod";
import { databaseSettings } from "./settings/database.ts";
import { keySettings } from "./settings/keys.ts";
import { limitSettings } from "./settings/limits.ts";
import { type Mode, optional, path, type Setting, setting, whole, yesOrNo } from "./settings/setting.ts";
import { tokenSettings } from "./settings/tokens.ts";

const origins = z
  .string()
  .transform((given) => given.split(",").map((one) => one.trim()))
  .refine(
    // A star is no wildcard here, though URLs take it as a letter of a name.
    (given) => given.every((one) => /^https?:[^*]+$/.test(one) && URL.canParse(one) && new URL(one).origin === one),
    "it is not a list of origins such as https://app.example.com",
  )
  .transform((given): readonly string[] => Object.freeze(given));
const userIds = z
  .string()
  .toLowerCase()
  .transform((given) => given.split(",").map((one) => one.trim()))
  .refine((given) => given.every((one) => z.guid().safeParse(one).success), "it is not a list of users' ids")
  .transform((given): readonly string[] => Object.freeze(given));

const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

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
  ...databaseSettings,
  ...tokenSettings,
  ...keySettings,
  ...limitSettings,
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
