import type {} from "postgraphile";
import { Kind, type ValueNode } from "postgraphile/graphql";
import { version } from "../src/version.ts";

/**
 * JSON has no words but true, false and null. PostGraphile takes any other for nothing: in an object it would be left out
 * without a word, and in a list planning fails. A number beyond JavaScript's would become null.
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
          parseLiteral: (node, variables) => (isNoJson(node) ? undefined : parseLiteral(node, variables)),
        };
      },
    },
  },
};

function isNoJson(node: ValueNode): boolean {
  if (node.kind === Kind.LIST) return node.values.some(isNoJson);
  if (node.kind === Kind.OBJECT) return node.fields.some(({ value }) => isNoJson(value));
  if (node.kind === Kind.INT || node.kind === Kind.FLOAT) return !Number.isFinite(Number(node.value));
  return node.kind === Kind.ENUM;
}
