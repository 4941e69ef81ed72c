import type { Config } from "./config.ts";
import { withEmbeddedDatabase } from "./embedded-database.ts";
import { KeyrowError } from "./errors.ts";
import { asRole, withConnection } from "./setup.ts";
import { knownUser } from "./users.ts";

/**
 * Gives the WORKSPACE and SYSTEM credentials that one user made to another, as a DB admin; gives how many. Their values
 * are bound to workspace or system, and open as before. Throws NOT_FOUND, and CONFLICT where the other has the same.
 */
export async function handOver(config: Config, { from, to }: { from: string; to: string }): Promise<number> {
  const [leaving, taking] = [await knownUser(config, from), await knownUser(config, to)];
  if (leaving === taking) {
    throw new KeyrowError("USAGE", {
      message: "--from and --to are the same user.",
      hint: "Name another to take over.",
    });
  }
  return withEmbeddedDatabase(config, (addresses) =>
    withConnection(asRole(addresses.url("postgres"), "keyrow_admin"), async (client) => {
      try {
        const { rowCount } = await client.query(
          "update public.user_credentials set user_id = $2 where user_id = $1 and scope <> 'USER'",
          [leaving, taking],
        );
        return rowCount ?? 0;
      } catch (error) {
        if ((error as { code?: unknown }).code !== "23505") throw error;
        throw new KeyrowError("CONFLICT", {
          message:
            "The other user has a credential of the same workspace, provider and name already; nothing was handed over.",
          hint: "Rename one of the two first.",
        });
      }
    }),
  );
}
