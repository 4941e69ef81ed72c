import { z } from "zod";
import { optional, setting } from "./setting.ts";

/** The PostgreSQL setting that always holds the asking user's id, whatever else does. */
export const KEYROW_CLAIM = "jwt.claims.user_id";

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
// As PostgreSQL takes a name of one's own, letter by letter; these mean something else in a request.
const settingName = z
  .string()
  .regex(/^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})+$/, "it is not the name of a PostgreSQL setting of one's own")
  .refine(
    (name) => !["request.jwt.claims", "keyrow.request_id", "keyrow.limits", "keyrow.expires_at"].includes(name),
    "this setting has a meaning of its own",
  );

/** Databases, and whom they see asking. */
export const databaseSettings = {
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
    remedy: "give two or more lower-case words with dots between them, as in app.user_id",
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
} as const;
