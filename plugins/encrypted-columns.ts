// An import of nothing is left out of declarations, and whoever takes them needs PostGraphile's global types.
/// <reference types="postgraphile" preserve="true" />
import type {
  PgCodecWithAttributes,
  PgInsertSingleStep,
  PgResource,
  PgUpdateSingleStep,
} from "postgraphile/@dataplan/pg";
import { loadOne, type ObjectStep, type Step } from "postgraphile/grafast";
import { version } from "../src/version.ts";
import { type EncryptedColumn, encryptedColumns, tagOf } from "./encrypted-columns/column.ts";
import { sealIntoInsert, sealIntoUpdate } from "./encrypted-columns/mutation.ts";
import type { EncryptedColumnsOptions } from "./encrypted-columns/options.ts";
import { type RequestContext, revealLoader } from "./encrypted-columns/reveal.ts";
import { contextColumns } from "./encrypted-columns/tag.ts";

export type { EncryptedColumnsOptions } from "./encrypted-columns/options.ts";

type Mutation = PgInsertSingleStep | PgUpdateSingleStep;

/** The encrypted columns of a codec's table, and the options; none where the codec has no such column. */
function encryptedOf(build: GraphileBuild.Build, codec: unknown): EncryptedColumn[] {
  const { attributes } = codec as PgCodecWithAttributes;
  if (attributes === undefined) return [];
  const resource = build.pgTableResource(codec as PgCodecWithAttributes) as PgResource | undefined;
  return encryptedColumns(codec as PgCodecWithAttributes, resource);
}

function optionsOf(build: GraphileBuild.Build): EncryptedColumnsOptions {
  const options = build.options.encryptedColumns;
  if (options === undefined) throw new Error("EncryptedColumnsPlugin needs preset.schema.encryptedColumns");
  return options;
}

/** Which behaviors of a column a tag takes away. */
function hiddenBy(
  build: GraphileBuild.Build,
  codec: PgCodecWithAttributes,
  name: string,
): GraphileBuild.BehaviorString[] {
  const primaryKey = build.pgTableResource(codec)?.uniques.find((unique) => unique.isPrimary)?.attributes ?? [];
  return Object.entries(codec.attributes).flatMap(([column, attribute]) => {
    const tag = tagOf(attribute);
    if (tag === undefined) return [];
    // The ciphertext and its key are nobody's business.
    if (name === column || name === tag.key) return ["-*"];
    if (name === tag.mask) return ["-attribute:insert", "-attribute:update", "-attribute:base"];
    // The id is made here, before the insert. A value would not open again once what it is bound to has changed.
    if (primaryKey.includes(name)) return ["-attribute:insert", "-attribute:update"];
    return contextColumns(tag).includes(name) ? ["-attribute:update"] : [];
  });
}

/** Columns with the smart tag `@encrypted` become a write-only input and an audited output: plugins/README.md. */
export const EncryptedColumnsPlugin: GraphileConfig.Plugin = {
  name: "EncryptedColumnsPlugin",
  description: "Seals columns with the smart tag @encrypted on write, and opens them, on the record, on read",
  version,
  schema: {
    entityBehavior: {
      pgCodecAttribute: {
        override(behavior, [codec, name], build) {
          return [behavior, ...hiddenBy(build, codec, name)];
        },
      },
    },
    hooks: {
      // Here a tag that can't be read stops the start; later some presets drop the type and go on.
      init(_, build) {
        for (const { codec } of Object.values(build.pgResources)) {
          if (codec.attributes !== undefined && encryptedOf(build, codec).length > 0) optionsOf(build);
        }
        return _;
      },

      GraphQLInputObjectType_fields(fields, build, { scope }) {
        const { isPgRowType, isPgPatch, isPgBaseInput, isPgCondition, pgCodec } = scope;
        if (!isPgRowType || isPgCondition || !pgCodec) return fields;
        const { GraphQLString, GraphQLNonNull } = build.graphql;
        const required = !isPgPatch && !isPgBaseInput;
        const additions = encryptedOf(build, pgCodec).map(({ tag }) => [
          tag.field,
          {
            type: required ? new GraphQLNonNull(GraphQLString) : GraphQLString,
            description: "The value to seal. It is never shown again but by reading the field of the same name.",
            // The column is set by the mutation, once the value is sealed.
            apply: () => undefined,
          },
        ]);
        return build.extend(fields, Object.fromEntries(additions), "Adding the inputs of encrypted columns");
      },

      GraphQLObjectType_fields(fields, build, { scope }) {
        const { isPgClassType, pgCodec } = scope;
        if (!isPgClassType || !pgCodec) return fields;
        const additions = encryptedOf(build, pgCodec).map((encrypted) => {
          const options = optionsOf(build);
          const load = revealLoader(encrypted, options);
          const executor = (pgCodec as PgCodecWithAttributes).executor;
          return [
            encrypted.tag.field,
            {
              type: build.graphql.GraphQLString,
              extensions: { cells: options.cells ?? 1 },
              description: "The value itself. That it was read is recorded before it is opened.",
              plan($row: Step & { get(column: string): Step<string> }) {
                const shared = () => executor?.context() as unknown as Step<RequestContext>;
                return loadOne($row.get(encrypted.primaryKey), { load, shared });
              },
            },
          ];
        });
        return build.extend(fields, Object.fromEntries(additions), "Adding the values of encrypted columns");
      },

      // One place for every create and update mutation, by whatever key it finds its row.
      GraphQLObjectType_fields_field(field, build, { scope }) {
        const { isPgCreateMutation, isPgUpdateMutation, pgFieldResource: resource } = scope;
        if (!(isPgCreateMutation || isPgUpdateMutation) || resource === undefined || field.plan === undefined)
          return field;
        const encrypted = encryptedOf(build, resource.codec);
        if (encrypted.length === 0) return field;
        const options = optionsOf(build);
        const { plan: planned, args: { input } = {} } = field;
        const inputScope = input && build.scopeByType.get(build.graphql.getNamedType(input.type));
        const byNodeId = (inputScope as GraphileBuild.ScopeInputObject | undefined)?.isPgUpdateNodeInputType === true;
        return {
          ...field,
          plan($root, args, info) {
            // Before the mutation's own step: after it, planning ends in a cycle of side effects.
            const table = resource as PgResource;
            const $apply = isPgCreateMutation
              ? sealIntoInsert(build, table, encrypted, args, options)
              : sealIntoUpdate(build, table, encrypted, args, byNodeId, options);
            const $payload = planned.call(field, $root, args, info) as ObjectStep<{ result: Mutation }>;
            ($payload.getStepForKey("result") as Mutation).apply($apply);
            return $payload;
          },
        };
      },
    },
  },
};
