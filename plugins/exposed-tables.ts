import type {} from "postgraphile";
import { version } from "../src/version.ts";

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** The tables of the API, each with its columns; what is not named here does not exist there. */
      exposedTables?: Readonly<Record<string, readonly string[] | "all">>;
    }
    interface Inflection {
      _attributeName(
        this: Inflection,
        details: { codec: { attributes?: object }; attributeName: string; skipRowId?: boolean },
      ): string;
    }
  }
}

/** Takes everything out of the API that `preset.schema.exposedTables` does not name: tables, columns and functions. */
export const ExposedTablesPlugin: GraphileConfig.Plugin = {
  name: "ExposedTablesPlugin",
  description: "Exposes an allowlist of tables and columns, and names columns as they are",
  version,
  inflection: {
    replace: {
      // Amber calls `id` `rowId`, to leave `id` to node ids, of which there are none.
      _attributeName(_previous, _preset, { attributeName }) {
        return this.coerceToGraphQLName(attributeName);
      },
    },
  },
  schema: {
    entityBehavior: {
      pgResource: {
        override(behavior, resource, build) {
          return exposedColumns(build.options, resource.codec.extensions?.pg) ? behavior : [behavior, "-*"];
        },
      },
      pgCodec: {
        override(behavior, codec, build) {
          if (codec.attributes === undefined) return behavior;
          return exposedColumns(build.options, codec.extensions?.pg) ? behavior : [behavior, "-*"];
        },
      },
      pgCodecAttribute: {
        override(behavior, [codec, column], build) {
          const columns = exposedColumns(build.options, codec.extensions?.pg);
          return columns === "all" || columns?.includes(column) ? behavior : [behavior, "-*"];
        },
      },
    },
  },
};

function exposedColumns(
  { exposedTables = {} }: GraphileBuild.SchemaOptions,
  table: { schemaName: string; name: string } | undefined,
): readonly string[] | "all" | undefined {
  return table?.schemaName === "public" && Object.hasOwn(exposedTables, table.name)
    ? exposedTables[table.name]
    : undefined;
}
