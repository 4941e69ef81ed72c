import type {} from "postgraphile";
import {
  type PgCodecWithAttributes,
  type PgSelectQueryBuilder,
  type PgSelectStep,
  TYPES,
} from "postgraphile/@dataplan/pg";
import { lambda, type Step } from "postgraphile/grafast";
import { sql } from "postgraphile/pg-sql2";
import { KeyrowError } from "../src/errors.ts";
import { version } from "../src/version.ts";

type Direction = "ASC" | "DESC";

// A cursor's condition grows with the square of them.
const MOST = 5;
// By what a query is ordered so far.
const ordered = new WeakMap<PgSelectQueryBuilder, Set<string>>();

/**
 * Orders that a cursor can follow. Newest first is the default where rows have a `created_at`, with the primary key in
 * the same direction, as the indexes have it; an order by the primary key alone is not offered there, for under row
 * level security it reads the whole table for who sees little.
 */
export const StableOrderPlugin: GraphileConfig.Plugin = {
  name: "StableOrderPlugin",
  description: "Newest first by default, and orders that cursors can follow",
  version,
  schema: {
    hooks: {
      GraphQLEnumType_values(values, build, { scope }) {
        const codec = scope.pgCodec as PgCodecWithAttributes | undefined;
        if (!scope.isPgRowSortEnum || codec?.attributes === undefined) return values;
        const primaryKey = primaryKeyOf(build, codec);
        const named = (attributeName: string, variant: "asc" | "desc") =>
          build.inflection.orderByAttributeEnum({ codec, attributeName, variant });
        const byAttribute = Object.keys(codec.attributes).flatMap((attribute) =>
          (["ASC", "DESC"] as const).map((direction) => ({
            name: named(attribute, direction === "ASC" ? "asc" : "desc"),
            attribute,
            direction,
          })),
        );
        const dated = "created_at" in codec.attributes;
        const kept = byAttribute.filter(
          ({ name, attribute }) => name in values && !(dated && primaryKey[0] === attribute && attribute === "id"),
        );
        return Object.fromEntries(
          kept.map(({ name, attribute, direction }) => [
            name,
            { ...values[name], extensions: { grafast: { apply: orderBy(codec, attribute, direction, primaryKey) } } },
          ]),
        );
      },

      GraphQLObjectType_fields_field_args_arg(arg, build, { scope }) {
        const codec = scope.pgFieldResource?.codec as PgCodecWithAttributes | undefined;
        if (scope.argName !== "orderBy" || !scope.isPgFieldConnection || !codec?.attributes) return arg;
        const newest = build.inflection.orderByAttributeEnum({ codec, attributeName: "created_at", variant: "desc" });
        const type = build.graphql.getNamedType(arg.type);
        const value = build.graphql.isEnumType(type) ? type.getValue(newest) : undefined;
        const { applyPlan } = arg;
        if (!value || applyPlan === undefined) return arg;
        const byNewest = orderBy(codec, "created_at", "DESC", primaryKeyOf(build, codec));
        return {
          ...arg,
          defaultValue: [value.value],
          // An empty list is no order of its own: it would be the one by primary key.
          applyPlan(parent, $connection, given, info) {
            applyPlan.call(this, parent, $connection, given, info);
            const $select = ($connection as unknown as { getSubplan(): PgSelectStep }).getSubplan();
            const $orders = given.getRaw() as unknown as Step<readonly unknown[] | null>;
            $select.apply(lambda($orders, (orders) => (orders?.length === 0 || orders === null ? byNewest : () => {})));
          },
        };
      },
    },
  },
};

function primaryKeyOf(build: GraphileBuild.Build, codec: PgCodecWithAttributes): readonly string[] {
  return build.pgTableResource(codec)?.uniques.find((unique) => unique.isPrimary)?.attributes ?? [];
}

/** By one attribute; ties are broken by the primary key, in the same direction after `created_at`. */
function orderBy(codec: PgCodecWithAttributes, attribute: string, direction: Direction, primaryKey: readonly string[]) {
  return (builder: PgSelectQueryBuilder) => {
    checkOrder(builder, attribute);
    // With nulls on a side of their own, as PostgreSQL has them by itself: a cursor that only compares values loses
    // what is beyond the first or last null (@dataplan/pg 1.1.2 has the two sides the wrong way round).
    if (!codec.attributes[attribute]?.notNull) {
      const fragment = sql`(${builder.alias}.${sql.identifier(attribute)} is null)`;
      builder.orderBy({ fragment, codec: TYPES.boolean, direction, nullable: false });
    }
    builder.orderBy({ attribute, direction });
    if (attribute !== "created_at") return;
    for (const key of primaryKey) {
      if (key !== attribute) builder.orderBy({ attribute: key, direction });
    }
    builder.setOrderIsUnique();
  };
}

/** Refuses an order by one column twice, or by too many. */
function checkOrder(builder: PgSelectQueryBuilder, attribute: string): void {
  const known = ordered.get(builder) ?? new Set();
  ordered.set(builder, known);
  if (known.has(attribute)) {
    throw new KeyrowError("VALIDATION", { message: "A list is ordered by each column once at most." });
  }
  if (known.size === MOST) {
    throw new KeyrowError("LIMIT_EXCEEDED", { message: `A list is ordered by ${MOST} columns at most.` });
  }
  known.add(attribute);
}
