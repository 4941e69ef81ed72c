import type { IncomingMessage } from "node:http";
import { type Answer, failure, headersOf, refused } from "./answer.ts";
import { readJsonBody } from "./body.ts";
import { toBoundedJson, tooLarge } from "./bounded-json.ts";
import { KeyrowError } from "./errors.ts";
import { type GraphQLAnswer, type GraphQLExecutor, graphqlRequest } from "./graphql.ts";
import type { Limits } from "./limits.ts";
import type { Log } from "./log.ts";
import type { LoopTurn } from "./loop-turns.ts";
import { accepted, GRAPHQL_RESPONSE, isJson, isPlain } from "./negotiation.ts";
import type { Liveness } from "./own-tokens.ts";
import { presentError } from "./present.ts";
import type { Bearer, Claims } from "./token.ts";
import type { Turns } from "./turns.ts";

/** What answers a GraphQL request. */
export interface GraphQLParts {
  readonly execute: GraphQLExecutor;
  /** How many requests of one user, and of all, run at once. */
  readonly turns: Turns;
  /** How many requests with the tokens of one subject, and of all, ask at once who that is. */
  readonly askTurns: Turns;
  readonly loopTurn: LoopTurn;
  /** Throws UNAUTHENTICATED; UNAVAILABLE where the keys for it can't be fetched. */
  readonly verify: (authorization: string | readonly string[] | undefined) => Promise<Bearer>;
  /** Tells which user or machine a bearer is; throws UNAUTHENTICATED for a stranger. */
  readonly identify: (bearer: Bearer, log: Log) => Promise<Claims>;
  /** Tells of the tokens that Keyrow made which are no more. */
  readonly liveness: Liveness;
  /** Makes the row of a user whose token names them by id, where it is missing; absent where users are not provisioned. */
  readonly provision: ((claims: Claims, requestId: string) => Promise<void>) | undefined;
  readonly limits: Pick<Limits, "bodyBytes" | "answerBytes">;
}

/** Answers a POST as GraphQL over HTTP says (its draft of 2024). Throws what is the whole answer's error. */
export async function serveGraphQL(
  parts: GraphQLParts,
  request: IncomingMessage,
  requestId: string,
  log: Log,
): Promise<Answer> {
  // Before anything is read of the request itself.
  const bearer = await parts.verify(request.headersDistinct.authorization);
  if (!isJson(request.headers)) return refused(415, "Send the request as application/json in UTF-8.", log);
  if (!isPlain(request.headers)) {
    return refused(415, "Send the request as it is, without a Content-Encoding.", log, {
      "accept-encoding": "identity",
    });
  }
  const type = accepted(request.headers);
  if (type === undefined) {
    return refused(406, "Answers are application/graphql-response+json or application/json.", log);
  }
  const asked = await takeTurn(parts.askTurns, `${bearer.issuer.name} ${bearer.subject}`, log);
  if (typeof asked !== "function") return asked;
  const claims = await parts.identify(bearer, log).finally(asked);
  parts.liveness.refuseEnded(claims);
  // Several subjects may be one user, who has one share. A turn comes before the body: those that wait would fill the memory.
  const giveBack = await takeTurn(parts.turns, claims.userId, log);
  if (typeof giveBack !== "function") return giveBack;
  try {
    const executed = await run(parts, request, bearer, claims, requestId, log);
    const answer = toAnswer(executed, type, parts.limits.answerBytes, log);
    // Answers that nobody reads fill the memory, too.
    return { ...answer, over: giveBack };
  } catch (error) {
    giveBack();
    throw error;
  }
}

function toAnswer(executed: GraphQLAnswer, type: string, mostBytes: number, log: Log): Answer {
  const fitting = toBoundedJson(executed, mostBytes);
  const result = fitting === undefined ? { data: null, errors: [presentError(tooLarge(), log)] } : executed;
  if (result.errors !== undefined) {
    log.info({ codes: [...new Set(result.errors.map(({ extensions }) => extensions.code))] }, "errors");
  }
  const status = statusOf(result, type);
  const headers = { ...headersOf(status), "content-type": `${type}; charset=utf-8` };
  return { status, body: fitting ?? result, headers };
}

async function run(
  parts: GraphQLParts,
  request: IncomingMessage,
  bearer: Bearer,
  claims: Claims,
  requestId: string,
  log: Log,
): Promise<GraphQLAnswer> {
  // Before the body: with a token that was revoked nobody holds its user's turns by sending none.
  await parts.liveness.check(claims, requestId);
  const body = graphqlRequest(await readJsonBody(request, parts.limits.bodyBytes, parts.loopTurn));
  if (bearer.issuer.subjects === "uuid" && claims.bearer !== "machine") await parts.provision?.(claims, requestId);
  return parts.execute(body, claims, requestId, log);
}

/** A turn to give back, or the answer where there is none. */
function takeTurn(turns: Turns, who: string, log: Log): Promise<(() => void) | Answer> {
  return turns.take(who).catch((error: unknown) => tooMany(error, log));
}

/** One user's flood is 429; where all together are too many, the answer is the error's own, 503. */
function tooMany(error: unknown, log: Log): Answer {
  const answer = failure(error, log);
  return answer.status === 413 ? { ...answer, status: 429, headers: headersOf(429) } : answer;
}

/** Where nothing was executed, the older media type says 200 all the same (GraphQL over HTTP, section 6.4). */
function statusOf({ data, errors }: GraphQLAnswer, type: string): number {
  if (data !== undefined || errors === undefined || type !== GRAPHQL_RESPONSE) return 200;
  const { status } = new KeyrowError(errors[0]?.extensions.code ?? "INTERNAL");
  return status >= 500 ? status : 400;
}
