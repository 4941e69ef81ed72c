import type { PgResource } from "postgraphile/@dataplan/pg";
import { lambda } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { contextStep } from "./encrypted-columns/mutation.ts";
import type { RequestContext } from "./encrypted-columns/reveal.ts";

/** Who a machine is: it is no user, and sees nothing else of itself. */
export const MachinesPlugin: GraphileConfig.Plugin = extendSchema((build) => {
  const credentials = build.pgResources.user_credentials as PgResource;
  return {
    typeDefs: gql`
      extend type Query {
        """The machine whose token this is; a user is none."""
        currentMachine: Machine
      }

      """A job, script or service that comes with a token of its own."""
      type Machine {
        """What the log says of it."""
        id: UUID!
        """What admins call it."""
        name: String!
        """The workspace whose credentials it has."""
        workspaceId: UUID!
        """Which of them: patterns of provider and name, as in github/*."""
        credentials: [String!]!
        """When its token ends."""
        expiresAt: Datetime
      }
    `,
    objects: { Query: { plans: { currentMachine: () => lambda(contextStep(credentials), currentMachine) } } },
  };
}, "MachinesPlugin");

async function currentMachine({ pgSettings, withPgClient }: RequestContext) {
  const text = `select id, name, workspace_id as "workspaceId", credentials, to_json(token_ends) #>> '{}' as "expiresAt"
    from keyrow.current_machine()`;
  const { rows } = await withPgClient(pgSettings, (client) => client.query<object>({ text, values: [] }));
  return rows[0] ?? null;
}
