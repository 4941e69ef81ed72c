import { randomUUID } from "node:crypto";
import type { PgCodecWithAttributes, PgResource } from "postgraphile/@dataplan/pg";
import { type FieldArgs, lambda, object, type Step, specFromNodeId } from "postgraphile/grafast";
import { KeyrowError } from "../../src/errors.ts";
import type { EncryptedColumn } from "./column.ts";
import type { EncryptedColumnsOptions } from "./options.ts";
import { forRequest } from "./patience.ts";
import type { RequestContext } from "./reveal.ts";
import { type Columns, readContextRow, rowToInsert, sealFor, setAll } from "./seal.ts";

type Inputs = Readonly<Record<string, unknown>>;

/** The columns' names as the GraphQL input has them. */
function inputNames(build: GraphileBuild.Build, resource: PgResource): Map<string, string> {
  const codec = resource.codec as PgCodecWithAttributes;
  return new Map(
    Object.keys(codec.attributes).map((name) => [name, build.inflection.attribute({ attributeName: name, codec })]),
  );
}

/** The step that gives a request's settings and its way to the database. */
export function contextStep(resource: PgResource): Step<RequestContext> {
  return resource.executor.context() as unknown as Step<RequestContext>;
}

/** The step that seals what a create mutation is given: what to set, as a callback on the insert. */
export function sealIntoInsert(
  build: GraphileBuild.Build,
  resource: PgResource,
  encrypted: readonly EncryptedColumn[],
  args: FieldArgs,
  options: EncryptedColumnsOptions,
) {
  const names = inputNames(build, resource);
  const $input = args.getRaw(["input", build.inflection.tableFieldName(resource)]) as Step<Inputs>;
  return lambda([$input, contextStep(resource)] as const, async ([input, { pgSettings }]) => {
    const byColumn = Object.fromEntries([...names].map(([column, field]) => [column, input[field]]));
    // The id is known before the insert, so that the ciphertext can be bound to it.
    const id = randomUUID();
    const columns: Columns = {};
    for (const one of encrypted) {
      refuseNulls(one, byColumn, names);
      const row = rowToInsert(one, byColumn, pgSettings ?? {});
      const missing = Object.entries(row).filter(([column, value]) => value !== null && byColumn[column] == null);
      Object.assign(columns, { [one.primaryKey]: id }, Object.fromEntries(missing));
      Object.assign(columns, await sealFor(one, id, row, input[one.tag.field], forRequest(options, pgSettings)));
    }
    return setAll(columns);
  });
}

/** Refuses null where the tag has a default: a column is set once, and a value is bound to what is set. */
function refuseNulls({ tag }: EncryptedColumn, byColumn: Inputs, names: ReadonlyMap<string, string>): void {
  const column = [...tag.insert.keys()].find((name) => byColumn[name] === null);
  if (column === undefined) return;
  const message = `"${names.get(column)}" can't be null. Leave it out for what it is by default.`;
  throw new KeyrowError("VALIDATION", { message });
}

/** The step that seals what an update mutation is given, for the row as the caller sees it. */
export function sealIntoUpdate(
  build: GraphileBuild.Build,
  resource: PgResource,
  encrypted: readonly EncryptedColumn[],
  args: FieldArgs,
  byNodeId: boolean,
  options: EncryptedColumnsOptions,
) {
  const $patch = args.getRaw([
    "input",
    build.inflection.patchField(build.inflection.tableFieldName(resource)),
  ]) as Step<Inputs>;
  const $key = byNodeId ? keyOfNode(build, resource, args) : keyOfInput(build, resource, args);
  return lambda([$patch, $key, contextStep(resource)] as const, async ([patch, key, context]) => {
    const columns: Columns = {};
    for (const one of encrypted) {
      if (patch[one.tag.field] === undefined) continue;
      const { id, row } = await readContextRow(one, key, context);
      Object.assign(
        columns,
        await sealFor(one, id, row, patch[one.tag.field], forRequest(options, context.pgSettings)),
      );
    }
    return setAll(columns);
  });
}

/** The columns that find the row, and their values: those of a primary key or of another unique constraint. */
function keyOfInput(build: GraphileBuild.Build, resource: PgResource, args: FieldArgs): Step<Inputs> {
  const names = inputNames(build, resource);
  return lambda(args.getRaw("input") as Step<Inputs>, (input) =>
    Object.fromEntries(
      [...names].filter(([, field]) => input[field] !== undefined).map(([column, field]) => [column, input[field]]),
    ),
  );
}

function keyOfNode(build: GraphileBuild.Build, resource: PgResource, args: FieldArgs): Step<Inputs> {
  const handler = build.getNodeIdHandler?.(build.inflection.tableType(resource.codec));
  if (!handler) throw new Error("an update by node id needs a handler of node ids");
  const $nodeId = args.getRaw(["input", build.inflection.nodeIdFieldName()]) as Step<string>;
  return object(specFromNodeId(handler, $nodeId) as Record<string, Step>);
}
