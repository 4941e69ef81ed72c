import type {} from "postgraphile";
import type { PgCodec, PgCodecWithAttributes } from "postgraphile/@dataplan/pg";
import type { PgClass } from "postgraphile/graphile-build-pg/pg-introspection";
import { version } from "../src/version.ts";

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** The tables of the API, each with its columns; what is not named here does not exist there. */
      exposedTables?: Readonly<Record<string, readonly string[] | "all">>;
      /** Those of them that the API changes, so far as grants and policies let it. */
      writableTables?: readonly string[];
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
      // PostgreSQL tells `Sales` from `sales`, and so does the number of a table that nobody asks for by name.
      classCodecName(previous, { schema }, details) {
        const { pgClass } = details;
        const stock = previous?.(details) ?? pgClass.relname;
        return exposedColumns(schema ?? {}, placeOf(pgClass)) ? stock : `${stock}_${pgClass._id}`;
      },
      // So does that of a type: an application's may be called as PostgreSQL's own, but for capitals (`Text`), or as another.
      typeCodecName(previous, _preset, details) {
        const { _id: oid, typname } = details.pgType;
        return `${previous?.(details) ?? typname}_${oid}`;
      },
      // The API's name is without the number again.
      scalarCodecTypeName(previous, _preset, codec) {
        const name = codec.name.replace(new RegExp(`_${codec.extensions?.oid}$`), "");
        return previous?.({ ...codec, name }) ?? name;
      },
    },
  },
  gather: {
    hooks: {
      // Smart tags in an application's comments are for a PostGraphile of its own: `@name`, say, or `@enum`.
      pgIntrospection_introspection: {
        before: ["PgFakeConstraintsPlugin", "PgEnumTablesPlugin", "PgRemoveExtensionResourcesPlugin"],
        callback({ resolvedPreset: { schema } }, { introspection }) {
          const own = (table: PgClass | undefined) =>
            table !== undefined && exposedColumns(schema ?? {}, placeOf(table)) === "all";
          const { classes, attributes, constraints, types, procs, namespaces } = introspection;
          for (const one of [
            ...classes.filter((table) => !own(table)),
            ...[...attributes, ...constraints].filter((part) => !own(part.getClass())),
            ...[...types, ...procs, ...namespaces],
          ]) {
            const { tags } = one.getTagsAndDescription();
            for (const tag of Object.keys(tags)) delete tags[tag];
          }
        },
      },
    },
  },
  schema: {
    entityBehavior: {
      pgResource: {
        override(behavior, resource, build) {
          // A function has parameters, if none, and may give rows of an exposed table that policies hide.
          const table = resource.parameters === undefined ? resource.codec.extensions?.pg : undefined;
          if (!exposedColumns(build.options, table)) return [behavior, "-*"];
          const writable = table !== undefined && build.options.writableTables?.includes(table.name);
          return writable ? behavior : [behavior, "-insert", "-update", "-delete"];
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
      pgResourceUnique: {
        override(behavior, [{ codec }, { attributes }], build) {
          return exposes(build.options, codec.extensions?.pg, attributes) ? behavior : [behavior, "-*"];
        },
      },
      pgCodecRelation: {
        override(behavior, relation, build) {
          const { localCodec, localAttributes, remoteResource, remoteAttributes } = relation;
          const shown =
            exposes(build.options, localCodec.extensions?.pg, localAttributes) &&
            exposes(build.options, remoteResource.codec.extensions?.pg, remoteAttributes);
          return shown ? behavior : [behavior, "-*"];
        },
      },
    },
    hooks: {
      // A type that no exposed column has is given no name of its own: it may be that of another, of `Machine` say.
      init: {
        before: ["PgCodecsPlugin"],
        callback(_, build) {
          const shown = new Set<PgCodec>();
          const all = new Set<PgCodec>();
          for (const codec of build.allPgCodecs) {
            collect(codec, all);
            const columns = exposedColumns(build.options, codec.extensions?.pg);
            for (const [name, { codec: type }] of Object.entries((codec as PgCodecWithAttributes).attributes ?? {})) {
              collect(type, all);
              if (columns === "all" || columns?.includes(name)) collect(type, shown);
            }
          }
          for (const codec of all) {
            const named = codec.extensions?.pg !== undefined && !codec.attributes && !codec.arrayOfCodec;
            if (named && !shown.has(codec)) build.setGraphQLTypeForPgCodec(codec, ["input", "output"], "String");
          }
          return _;
        },
      },
      // What a row is looked up by is described like its column.
      GraphQLObjectType_fields_field_args_arg(arg, build, { scope }) {
        const codec = scope.pgFieldResource?.codec as PgCodecWithAttributes | undefined;
        if (arg.description || codec?.attributes === undefined) return arg;
        const column = Object.entries(codec.attributes).find(
          ([attributeName]) => build.inflection.attribute({ attributeName, codec }) === scope.argName,
        );
        return { ...arg, description: column?.[1].description };
      },
    },
  },
};

/** A type with those that it is made of. */
function collect(codec: PgCodec | null | undefined, into: Set<PgCodec>): void {
  if (!codec || into.has(codec)) return;
  into.add(codec);
  for (const part of [codec.arrayOfCodec, codec.domainOfCodec, codec.rangeOfCodec]) collect(part, into);
}

function placeOf(table: PgClass): { schemaName: string; name: string } {
  return { schemaName: table.getNamespace()?.nspname ?? "", name: table.relname };
}

/** Whether all of these columns are exposed: a relation or a lookup tells of those that it goes by. */
function exposes(
  options: GraphileBuild.SchemaOptions,
  table: { schemaName: string; name: string } | undefined,
  attributes: readonly string[],
): boolean {
  const columns = exposedColumns(options, table);
  return columns === "all" || attributes.every((one) => columns?.includes(one));
}

function exposedColumns(
  { exposedTables = {} }: GraphileBuild.SchemaOptions,
  table: { schemaName: string; name: string } | undefined,
): readonly string[] | "all" | undefined {
  return table?.schemaName === "public" && Object.hasOwn(exposedTables, table.name)
    ? exposedTables[table.name]
    : undefined;
}
