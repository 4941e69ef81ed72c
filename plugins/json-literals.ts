import type {} from "postgraphile";
import { Kind, type ValueNode } from "postgraphile/graphql";
import { version } from "../src/version.ts";

/**
 * JSON has no words but true, false and null. PostGraphile takes any other for nothing: in an object it would be left out
 * without a word, and in a list planning fails.
 */
export const JsonLiteralsPlugin: GraphileConfig.Plugin = {
  name: "JsonLiteralsPlugin",
  description: "Refuses what is no JSON in a literal of JSON",
  version,
  schema: {
    hooks: {
      GraphQLScalarType(config, build) {
        const { parseLiteral } = config;
        if (config.name !== build.inflection.builtin("JSON") || parseLiteral == null) return config;
        return {
          ...config,
          // Undefined is what fits no type.
          parseLiteral: (node, variables) => (hasWord(node) ? undefined : parseLiteral(node, variables)),
        };
      },
    },
  },
};

function hasWord(node: ValueNode): boolean {
  if (node.kind === Kind.LIST) return node.values.some(hasWord);
  if (node.kind === Kind.OBJECT) return node.fields.some(({ value }) => hasWord(value));
  return node.kind === Kind.ENUM;
}
