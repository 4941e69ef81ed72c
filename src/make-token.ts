import { withAdmin } from "./admin-database.ts";
import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";
import { type JwtKey, secretKey } from "./jwt-key.ts";
import { readSecrets } from "./secrets.ts";
import { createSigner } from "./token.ts";
import { findUser, unknownUser } from "./users.ts";

const secondsIn = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const MAX_SECONDS = 365 * secondsIn.d;

const lookupUser = (config: Config, idOrEmail: string): Promise<{ id: string } | undefined> =>
  withAdmin(config, (client) => findUser(client, idOrEmail));

/**
 * A token for a user that exists, valid as long as `expires` says (`15m`, `1h`, `7d`). Throws USAGE for a bad duration,
 * CONFIG_INVALID where only a public key is set, DATA_DIRECTORY where there is no secret yet, NOT_FOUND for a stranger.
 */
export async function makeToken(
  config: Config,
  { user, expires }: { readonly user: string; readonly expires: string },
  lookup = lookupUser,
): Promise<string> {
  const expiresIn = parseDuration(expires);
  const sign = createSigner({ ...config.jwt, key: await signingKey(config) });
  const found = await lookup(config, user);
  if (found === undefined) throw unknownUser();
  return sign({ userId: found.id, expiresIn });
}

/** Seconds in a duration as in `15m`; throws USAGE for anything but 1 to 365 days of it. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d{1,8})([smhd])$/.exec(text) ?? [];
  const seconds = unit === undefined ? 0 : Number(count) * secondsIn[unit as keyof typeof secondsIn];
  if (seconds >= 1 && seconds <= MAX_SECONDS) return seconds;
  throw new KeyrowError("USAGE", {
    message: "The value of --expires is not a duration.",
    hint: "Give a whole number with s, m, h or d, from 1s to 365d, as in 15m.",
  });
}

async function signingKey(config: Config): Promise<JwtKey> {
  if (config.jwt.key) return config.jwt.key;
  const secrets = await readSecrets(config.dataDirectory);
  if (secrets) return secretKey(secrets.jwtSecret);
  throw new KeyrowError("DATA_DIRECTORY", {
    message: `There is no secret to sign with: the data directory ${config.dataDirectory} has none yet.`,
    hint: "Run `keyrow start` once, or set KEYROW_DATA_DIR or JWT_SECRET to what the server has.",
  });
}
