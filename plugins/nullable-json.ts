import type {} from "postgraphile";
import { TYPES } from "postgraphile/@dataplan/pg";
import { version } from "../src/version.ts";

const json: ReadonlySet<unknown> = new Set([TYPES.json, TYPES.jsonb]);

/**
 * JSON has a null of its own, which a column that is `not null` takes all the same. In GraphQL both are one null, which
 * a field has to allow: else one such row, written in psql, costs the list that it is in.
 */
export const NullableJsonPlugin: GraphileConfig.Plugin = {
  name: "NullableJsonPlugin",
  description: "Lets fields of JSON be null, for JSON has a null of its own",
  version,
  schema: {
    hooks: {
      GraphQLObjectType_fields_field(field, build, { scope: { pgFieldAttribute: attribute } }) {
        if (attribute === undefined || !json.has(attribute.codec)) return field;
        return { ...field, type: build.graphql.getNullableType(field.type) };
      },
    },
  },
};
