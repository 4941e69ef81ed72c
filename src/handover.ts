import type pg from "pg";
import { withAdmin } from "./admin-database.ts";
import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";
import { firstOf } from "./first-of.ts";
import { knownUser } from "./users.ts";

/**
 * Gives the WORKSPACE and SYSTEM credentials that one user made to another, as a DB admin; gives how many. Their values
 * are bound to workspace or system, and open as before. Throws NOT_FOUND, and CONFLICT where the other has the same.
 */
export function handOver(config: Config, { from, to }: { from: string; to: string }): Promise<number> {
  return withAdmin(config, async (client) => {
    const leaving = await knownUser(client, from);
    const taking = await knownUser(client, to);
    if (leaving === taking) {
      throw new KeyrowError("USAGE", {
        message: "--from and --to are the same user.",
        hint: "Name another to take over.",
      });
    }
    await refuseConflicts(client, leaving, taking);
    const { rowCount } = await client.query(
      "update public.user_credentials set user_id = $2 where user_id = $1 and scope <> 'USER'",
      [leaving, taking],
    );
    return rowCount ?? 0;
  });
}

const MOST_NAMED = 3;

/** The unique index would refuse them as well, but name none. */
async function refuseConflicts(client: pg.ClientBase, leaving: string, taking: string): Promise<void> {
  const { rows } = await client.query<{ title: string }>(
    `select theirs.provider || '/' || theirs.name as title
     from public.user_credentials theirs
     join public.user_credentials present
       on present.user_id = $2 and present.provider = theirs.provider and present.name = theirs.name
         and present.workspace_id is not distinct from theirs.workspace_id
     where theirs.user_id = $1 and theirs.scope <> 'USER'
     order by 1`,
    [leaving, taking],
  );
  if (rows.length === 0) return;
  const titles = rows.map(({ title }) => title);
  throw new KeyrowError("CONFLICT", {
    message: `The other user has credentials of the same workspace, provider and name already, so nothing was handed over: ${firstOf(titles, MOST_NAMED)}.`,
    hint: "Rename one of each two first, or name another user.",
  });
}
