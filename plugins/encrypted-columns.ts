import { randomUUID } from "node:crypto";
import type {
  PgCodecWithAttributes,
  PgInsertSingleStep,
  PgResource,
  PgUpdateSingleStep,
} from "postgraphile/@dataplan/pg";
import { type FieldArgs, lambda, loadOne, type ObjectStep, type Step } from "postgraphile/grafast";
import { version } from "../src/version.ts";
import { type EncryptedColumn, encryptedColumns } from "./encrypted-columns/column.ts";
import type { EncryptedColumnsOptions } from "./encrypted-columns/options.ts";
import { type RequestContext, revealLoader } from "./encrypted-columns/reveal.ts";
import { type Columns, readContextRow, rowToInsert, sealFor, setAll } from "./encrypted-columns/seal.ts";
import { parseTag } from "./encrypted-columns/tag.ts";

type Inputs = Readonly<Record<string, unknown>>;
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

/** How the columns that a tag names are hidden: the ciphertext and its key everywhere, the mask as an input. */
function hiddenBy(codec: PgCodecWithAttributes, name: string): "everywhere" | "input" | undefined {
  for (const [column, { extensions }] of Object.entries(codec.attributes)) {
    const text = extensions?.tags?.encrypted;
    if (typeof text !== "string") continue;
    const { key, mask } = parseTag(text);
    if (name === column || name === key) return "everywhere";
    if (name === mask) return "input";
  }
  return undefined;
}

/** Columns with the smart tag `@encrypted` become a write-only input and an audited output: plugins/README.md. */
export const EncryptedColumnsPlugin: GraphileConfig.Plugin = {
  name: "EncryptedColumnsPlugin",
  description: "Seals columns with the smart tag @encrypted on write, and opens them, on the record, on read",
  version,
  schema: {
    entityBehavior: {
      pgCodecAttribute: {
        override(behavior, [codec, name]) {
          const hidden = hiddenBy(codec, name);
          if (hidden === "everywhere") return [behavior, "-*"];
          if (hidden === "input") return [behavior, "-attribute:insert", "-attribute:update", "-attribute:base"];
          return behavior;
        },
      },
    },
    hooks: {
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
          const load = revealLoader(encrypted, optionsOf(build));
          const executor = (pgCodec as PgCodecWithAttributes).executor;
          return [
            encrypted.tag.field,
            {
              type: build.graphql.GraphQLString,
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
        const { plan: planned } = field;
        const sealInto = isPgCreateMutation ? sealIntoInsert : sealIntoUpdate;
        return {
          ...field,
          plan($root, args, info) {
            // Before the mutation's own step: after it, planning ends in a cycle of side effects.
            const $apply = sealInto(build, resource as PgResource, encrypted, args);
            const $payload = planned.call(field, $root, args, info) as ObjectStep<{ result: Mutation }>;
            ($payload.getStepForKey("result") as Mutation).apply($apply);
            return $payload;
          },
        };
      },
    },
  },
};

/** The columns' names as the GraphQL input has them. */
function inputNames(build: GraphileBuild.Build, resource: PgResource): Map<string, string> {
  const codec = resource.codec as PgCodecWithAttributes;
  return new Map(
    Object.keys(codec.attributes).map((name) => [name, build.inflection.attribute({ attributeName: name, codec })]),
  );
}

function contextStep(resource: PgResource): Step<RequestContext> {
  return resource.executor.context() as unknown as Step<RequestContext>;
}

function sealIntoInsert(
  build: GraphileBuild.Build,
  resource: PgResource,
  encrypted: readonly EncryptedColumn[],
  args: FieldArgs,
) {
  const names = inputNames(build, resource);
  const options = optionsOf(build);
  const $input = args.getRaw(["input", build.inflection.tableFieldName(resource)]) as Step<Inputs>;
  return lambda([$input, contextStep(resource)] as const, async ([input, { pgSettings }]) => {
    const byColumn = Object.fromEntries([...names].map(([column, field]) => [column, input[field]]));
    // The id is known before the insert, so that the ciphertext can be bound to it.
    const id = randomUUID();
    const columns: Columns = {};
    for (const one of encrypted) {
      const row = rowToInsert(one, byColumn, pgSettings ?? {});
      const missing = Object.entries(row).filter(([column, value]) => value !== null && byColumn[column] == null);
      Object.assign(columns, { [one.primaryKey]: id }, Object.fromEntries(missing));
      Object.assign(columns, await sealFor(one, id, row, input[one.tag.field], options));
    }
    return setAll(columns);
  });
}

function sealIntoUpdate(
  build: GraphileBuild.Build,
  resource: PgResource,
  encrypted: readonly EncryptedColumn[],
  args: FieldArgs,
) {
  const names = inputNames(build, resource);
  const options = optionsOf(build);
  const $input = args.getRaw("input") as Step<Inputs>;
  const $context = contextStep(resource);
  const patchName = build.inflection.patchField(build.inflection.tableFieldName(resource));
  return lambda([$input, $context] as const, async ([input, context]) => {
    const patch = input[patchName] as Inputs;
    const columns: Columns = {};
    for (const one of encrypted) {
      if (patch[one.tag.field] === undefined) continue;
      const key = Object.fromEntries(
        [...names].filter(([, field]) => input[field] !== undefined).map(([column, field]) => [column, input[field]]),
      );
      const { id, row } = await readContextRow(one, key, context);
      Object.assign(columns, await sealFor(one, id, row, patch[one.tag.field], options));
    }
    return setAll(columns);
  });
}
