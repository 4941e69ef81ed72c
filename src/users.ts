import type { Config } from "./config.ts";
import { withEmbeddedDatabase } from "./embedded-database.ts";
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
