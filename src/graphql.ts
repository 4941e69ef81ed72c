import type { PostGraphileInstance } from "postgraphile";
import { execute, hookArgs, isAsyncIterable } from "postgraphile/grafast";
import type { GrafservBase } from "postgraphile/grafserv";
import { type ExecutionResult, Kind } from "postgraphile/graphql";
import { createPreparer, type PreparerOptions } from "./document.ts";
import { KeyrowError } from "./errors.ts";
import { type Limits, LONG_DOCUMENT, MANY_CELLS } from "./limits.ts";
import type { Log } from "./log.ts";
import type { LoopTurn } from "./loop-turns.ts";
import { type PresentedError, presentError } from "./present.ts";
import { createShares } from "./shares.ts";
import type { Claims } from "./token.ts";

/** A GraphQL request as its JSON body has it. */
export interface GraphQLRequest {
  readonly query: string;
  readonly operationName?: string | null | undefined;
  readonly variables?: Record<string, unknown> | null | undefined;
}

/** A GraphQL answer; `data` is absent where nothing was executed. */
export interface GraphQLAnswer {
  readonly data?: unknown;
  readonly errors?: readonly PresentedError[];
}

/** Executes one request for one user. */
export type GraphQLExecutor = (
  request: GraphQLRequest,
  claims: Claims,
  requestId: string,
  log: Log,
) => Promise<GraphQLAnswer>;

/** Reads a parsed body; throws VALIDATION that names what is wrong with it. */
export function graphqlRequest(body: unknown): GraphQLRequest {
  const invalid = (message: string) => new KeyrowError("VALIDATION", { message });
  if (typeof body !== "object" || body === null || Array.isArray(body))
    throw invalid("The body must be a JSON object.");
  const { query, operationName, variables, extensions } = body as Record<string, unknown>;
  if (typeof query !== "string") throw invalid('"query" must be a string.');
  if (operationName != null && typeof operationName !== "string") throw invalid('"operationName" must be a string.');
  for (const [name, value] of Object.entries({ variables, extensions })) {
    if (value != null && (typeof value !== "object" || Array.isArray(value)))
      throw invalid(`"${name}" must be an object.`);
  }
  return { query, operationName, variables: variables as Record<string, unknown> | null | undefined };
}

/** What executing is bound by. */
export interface ExecutorOptions extends PreparerOptions {
  readonly limits: PreparerOptions["limits"] & Pick<Limits, "requestMs">;
  readonly loopTurn: LoopTurn;
}

/** Makes the executor: parse, validate, execute, and every error as one of the catalogue. */
export function createExecutor(
  pgl: PostGraphileInstance,
  serv: GrafservBase,
  options: ExecutorOptions,
): GraphQLExecutor {
  const resolvedPreset = pgl.getResolvedPreset();
  const prepare = createPreparer(options);
  // While a document is planned, or its answer made, nothing else is done: eight of a user must not come in a row, and
  // others are served before each.
  const large = createShares(1);
  return async ({ query, operationName, variables }, claims, requestId, log) => {
    const requestContext = { claims, requestId } as unknown as Grafast.RequestContext;
    let giveBack: (() => void) | undefined;
    const waitAsLarge = async () => {
      giveBack = await large.take(claims.userId, options.limits.requestMs);
      await options.loopTurn();
    };
    try {
      if (query.length > LONG_DOCUMENT) await waitAsLarge();
      // The one in force: in watch mode the schema changes.
      const { schema } = await serv.getExecutionConfig(requestContext);
      const { errors, document, check } = prepare(schema, query);
      if (document === undefined) return { errors: errors.map((error) => presentError(error, log)) };
      const cells = check(variables);
      if (
        document.definitions.some((one) => one.kind === Kind.OPERATION_DEFINITION && one.operation === "subscription")
      )
        throw new KeyrowError("VALIDATION", { message: "There are queries and mutations, and no subscriptions." });
      if (cells > MANY_CELLS && giveBack === undefined) await waitAsLarge();
      const args = {
        schema,
        document,
        rootValue: null,
        contextValue: Object.create(null),
        variableValues: variables ?? null,
        operationName: operationName ?? null,
        resolvedPreset,
        requestContext,
      };
      await hookArgs(args as never);
      const result = await execute(args as never);
      // Neither subscriptions nor incremental delivery are in the schema.
      if (isAsyncIterable(result)) throw new Error("an incremental answer");
      return answer(result as ExecutionResult, log);
    } catch (error) {
      return { errors: [presentError(error, log)] };
    } finally {
      giveBack?.();
    }
  };
}

function answer({ data, errors = [] }: ExecutionResult, log: Log): GraphQLAnswer {
  const presented = errors.map((error) => presentError(error, log));
  // PostGraphile answers null, and no error, for a row that is not there or not visible.
  const missing = Object.keys(data ?? {})
    .filter((key) => data?.[key] === null && !presented.some(({ path }) => path?.[0] === key))
    .map((key) => presentError(new KeyrowError("NOT_FOUND"), log, [key]));
  const all = [...presented, ...missing];
  return { ...(data !== undefined && { data }), ...(all.length > 0 && { errors: all }) };
}
