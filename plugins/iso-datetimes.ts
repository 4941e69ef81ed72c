import type {} from "postgraphile";
import { Kind } from "postgraphile/graphql";
import { version } from "../src/version.ts";

// Four digits of a year: PostgreSQL writes those before Christ as if they were after, and JavaScript ends at 275760.
const iso = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?$/i;

/** PostgreSQL reads more than dates, such as `today`, and dates that come out as others. */
export const IsoDatetimesPlugin: GraphileConfig.Plugin = {
  name: "IsoDatetimesPlugin",
  description: "Takes a date as ISO 8601 writes it, and nothing else",
  version,
  schema: {
    hooks: {
      GraphQLScalarType(config, build) {
        if (config.name !== build.inflection.builtin("Datetime")) return config;
        // Undefined is what fits no type.
        const read = (value: unknown) => (typeof value === "string" && iso.test(value) ? value : undefined);
        return {
          ...config,
          description:
            "A point in time of the years 1 to 9999 as ISO 8601 writes it: `2030-01-31`, or `2030-01-31T18:00:00Z`. Without a zone it is one of UTC.",
          parseValue: read,
          parseLiteral: (node) => (node.kind === Kind.STRING ? read(node.value) : undefined),
        };
      },
    },
  },
};
