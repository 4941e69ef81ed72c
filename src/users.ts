import type { Config } from "./config.ts";
import { withEmbeddedDatabase } from "./embedded-database.ts";
import { KeyrowError } from "./errors.ts";
import { withConnection } from "./setup.ts";

/** Finds a user by id (a UUID) or e-mail address in the embedded database; undefined where there is none. */
export function lookupUser(config: Config, idOrEmail: string): Promise<{ id: string } | undefined> {
  return withEmbeddedDatabase(config, (addresses) =>
    withConnection(addresses.url("postgres"), async (client) => {
      const { rows } = await client.query<{ id: string }>(
        "select id from public.users where id::text = lower($1) or lower(email) = lower($1)",
        [idOrEmail],
      );
      return rows[0];
    }),
  );
}

/** Finds a user by id or e-mail address; undefined where there is none. */
export type LookupUser = typeof lookupUser;

/** The id of a user who must exist; throws NOT_FOUND for a stranger. */
export async function knownUser(config: Config, idOrEmail: string, lookup: LookupUser = lookupUser): Promise<string> {
  const found = await lookup(config, idOrEmail);
  if (found !== undefined) return found.id;
  throw new KeyrowError("NOT_FOUND", {
    message: "No user has this id or e-mail address.",
    hint: "An id is a UUID; addresses are compared as they were stored.",
  });
}
