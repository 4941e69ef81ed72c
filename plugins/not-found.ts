import type { PgDeleteSingleStep, PgUpdateSingleStep } from "postgraphile/@dataplan/pg";
import { type ObjectStep, type Step, sideEffect } from "postgraphile/grafast";
import { KeyrowError } from "../src/errors.ts";
import { version } from "../src/version.ts";

/** Updating a row that is not there, or not visible, is NOT_FOUND; PostGraphile by itself answers null, and no error. */
export const NotFoundPlugin: GraphileConfig.Plugin = {
  name: "NotFoundPlugin",
  description: "Makes updates of rows that can't be seen an error",
  version,
  schema: {
    hooks: {
      GraphQLObjectType_fields_field(field, _build, { scope }) {
        const { plan: planned } = field;
        if (!scope.isPgUpdateMutation || planned === undefined) return field;
        return {
          ...field,
          plan($root, args, info) {
            const $payload = planned.call(field, $root, args, info) as ObjectStep<{ result: PgUpdateSingleStep }>;
            assertFound($payload.getStepForKey("result") as PgUpdateSingleStep);
            return $payload;
          },
        };
      },
    },
  },
};

/** Makes what follows of a mutation depend on its row having been found. */
export function assertFound($row: PgUpdateSingleStep | PgDeleteSingleStep): void {
  sideEffect($row as unknown as Step<object | null>, (row) => {
    if (row === null) throw new KeyrowError("NOT_FOUND");
  });
}
