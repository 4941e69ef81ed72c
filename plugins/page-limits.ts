import type {} from "postgraphile";
import { lambda, type Step } from "postgraphile/grafast";
import { KeyrowError } from "../src/errors.ts";
import { version } from "../src/version.ts";

type Count = number | null | undefined;
type Connection = Step & { setFirst($first: Step<Count>): void; setLast($last: Step<Count>): void };

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** How many rows a list has where nobody says, and at most. */
      pageLimits?: { readonly standard: number; readonly most: number };
      /** Columns by table that may hold much, and as how many cells each counts, in a list within something else too. */
      largeColumns?: {
        readonly columns: Readonly<Record<string, readonly string[]>>;
        readonly cells: number;
        readonly cellsWithin: number;
      };
    }
  }
}

/**
 * Gives every list a page, nested ones too: so many rows where nobody says how many, and never more than so many. It also
 * marks large columns as so many `cells` where somebody counts what a document asks for.
 */
export const PageLimitsPlugin: GraphileConfig.Plugin = {
  name: "PageLimitsPlugin",
  description: "Limits the rows of every list",
  version,
  schema: {
    hooks: {
      GraphQLObjectType_fields_field_args_arg(arg, build, { scope }) {
        const { argName, isPgFieldConnection } = scope;
        const limits = build.options.pageLimits;
        if (!isPgFieldConnection || (argName !== "first" && argName !== "last") || limits === undefined) return arg;
        const { applyPlan: _, ...rest } = arg;
        const otherwise = argName === "first" ? `; ${limits.standard} where neither this nor \`last\` is given` : "";
        return { ...rest, description: `${arg.description} At most ${limits.most}${otherwise}.` };
      },

      GraphQLObjectType_fields_field(field, build, { scope }) {
        if (isLarge(build.options, scope)) {
          const { cells, cellsWithin } = build.options.largeColumns ?? {};
          return { ...field, extensions: { ...field.extensions, cells, cellsWithin } };
        }
        const { plan: planned } = field;
        const limits = build.options.pageLimits;
        if (!scope.isPgFieldConnection || planned === undefined || limits === undefined) return field;
        return {
          ...field,
          plan($parent, args, info) {
            const $connection = planned.call(field, $parent, args, info) as unknown as Connection;
            const $first = args.getRaw("first") as Step<Count>;
            const $last = args.getRaw("last") as Step<Count>;
            $connection.setFirst(
              lambda([$first, $last] as const, ([first, last]) =>
                last == null ? checked("first", first ?? limits.standard, limits.most) : both(first),
              ),
            );
            $connection.setLast(lambda($last, (last) => (last == null ? last : checked("last", last, limits.most))));
            return $connection as never;
          },
        };
      },
    },
  },
};

function isLarge({ largeColumns }: GraphileBuild.SchemaOptions, scope: GraphileBuild.ScopeObjectFieldsField): boolean {
  const { pgCodec: codec, pgFieldAttribute: attribute } = scope;
  if (attribute === undefined || codec?.attributes === undefined) return false;
  const columns = Object.entries(largeColumns?.columns ?? {}).find(([table]) => table === codec.extensions?.pg?.name);
  return columns?.[1].some((column) => codec.attributes?.[column] === attribute) ?? false;
}

function checked(name: string, count: number, most: number): number {
  if (count < 0) throw new KeyrowError("VALIDATION", { message: `"${name}" can't be negative.` });
  if (count > most) {
    throw new KeyrowError("LIMIT_EXCEEDED", { message: `A page has ${most} rows at most.`, hint: "ask page by page" });
  }
  return count;
}

function both(first: Count): null {
  if (first != null) throw new KeyrowError("VALIDATION", { message: `"first" and "last" exclude each other.` });
  return null;
}
