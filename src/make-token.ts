import { withAdmin } from "./admin-database.ts";
import type { Config } from "./config.ts";
import { endOf, parseDuration } from "./duration.ts";
import { KeyrowError } from "./errors.ts";
import { type JwtKey, secretKey } from "./jwt-key.ts";
import { readSecrets } from "./secrets.ts";
import { createSigner } from "./token.ts";
import { findUser, unknownUser } from "./users.ts";

const lookupUser = (config: Config, idOrEmail: string): Promise<{ id: string } | undefined> =>
  withAdmin(config, (client) => findUser(client, idOrEmail));

/** A token that was made here. */
export interface UserToken {
  readonly userId: string;
  readonly jwt: string;
  readonly expiresAt: Date;
}

/**
 * A token for a user that exists, valid as long as `expires` says (`15m`, `1h`, `7d`). Throws USAGE for a bad duration,
 * CONFIG_INVALID where only a public key is set, DATA_DIRECTORY where there is no secret yet, NOT_FOUND for a stranger.
 */
export async function makeToken(
  config: Config,
  { user, expires }: { readonly user: string; readonly expires: string },
  lookup = lookupUser,
): Promise<UserToken> {
  const expiresIn = parseDuration(expires);
  const now = Date.now();
  const sign = createSigner({ ...config.jwt, key: await signingKey(config) }, () => now);
  const found = await lookup(config, user);
  if (found === undefined) throw unknownUser();
  return { userId: found.id, jwt: sign({ userId: found.id, expiresIn }), expiresAt: endOf(expiresIn, now) };
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
