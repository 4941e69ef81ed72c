import type { PgCondition } from "postgraphile/@dataplan/pg";
import type {} from "postgraphile-plugin-connection-filter";
import { KeyrowError } from "../src/errors.ts";
import { version } from "../src/version.ts";

/** What credentials are found by beside their columns. Each is a subquery: evaluated once, and then looked up by index. */
export const CredentialFiltersPlugin: GraphileConfig.Plugin = {
  name: "CredentialFiltersPlugin",
  description: "Filters credentials by whose they are, and by the name of their workspace",
  version,
  schema: {
    hooks: {
      GraphQLInputObjectType_fields(fields, build, { scope, fieldWithHooks }) {
        const table = scope.pgCodec?.extensions?.pg;
        if (!scope.isPgConnectionFilter || table?.schemaName !== "public" || table.name !== "user_credentials")
          return fields;
        const { sql, dataplanPg, graphql } = build;
        const me = sql`(select public.current_user_id())`;
        const filter = (fieldName: string) => ({ fieldName, isPgConnectionFilterField: true });
        return build.extend(
          fields,
          {
            own: fieldWithHooks(filter("own"), {
              description:
                "Whether it carries the caller’s id: a USER credential of their own, or a WORKSPACE credential that they made.",
              type: graphql.GraphQLBoolean,
              apply: ($where: PgCondition, own: boolean | null) =>
                $where.where(sql`${$where.alias}.user_id ${given(own) ? sql`=` : sql`<>`} ${me}`),
            }),
            workspaceName: fieldWithHooks(filter("workspaceName"), {
              description:
                "The name of its workspace. Nothing is found where the caller sees several workspaces of that name.",
              type: graphql.GraphQLString,
              apply: ($where: PgCondition, name: string | null) => {
                const value = dataplanPg.sqlValueWithCodec(given(name), dataplanPg.TYPES.text);
                $where.where(
                  sql`${$where.alias}.workspace_id = (select (array_agg(w.id))[1] from public.workspaces w where w.name = ${value} having count(*) = 1)`,
                );
              },
            }),
          },
          "Adding filters of credentials",
        );
      },
    },
  },
};

function given<T>(value: T | null): T {
  if (value === null)
    throw new KeyrowError("VALIDATION", { message: "A filter can't be null or empty. Leave it out." });
  return value;
}
