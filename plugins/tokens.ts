import type { PgResource } from "postgraphile/@dataplan/pg";
import { access, type FieldArgs, lambda, object, type Step, sideEffect } from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { KeyrowError } from "../src/errors.ts";
import type { TokenSigner } from "../src/own-tokens.ts";
import { parseLimits } from "../src/token-limits.ts";
import { contextStep } from "./encrypted-columns/mutation.ts";
import type { RequestContext } from "./encrypted-columns/reveal.ts";

declare global {
  namespace GraphileBuild {
    interface SchemaOptions {
      /** Signs the tokens that `createToken` makes; absent: it makes none. */
      tokenSigner?: TokenSigner | undefined;
    }
  }
}

interface CreateInput {
  readonly name: string;
  readonly credentials?: readonly string[] | null;
  readonly actions?: ReadonlyArray<"READ" | "REVEAL" | "WRITE"> | null;
  readonly workspaceId?: string | null;
  readonly expiresIn: number;
}

const MAX_SECONDS = 365 * 86_400;
// What holds a token that is good is its ancestors' limits as well.
const columns = `id, name, parent_id as "parentId", coalesce(keyrow.token_limits(id), limits) as limits, to_json(expires_at) #>> '{}' as "expiresAt",
  to_json(created_at) #>> '{}' as "createdAt", to_json(revoked_at) #>> '{}' as "revokedAt"`;

/** Tokens that can do less than the one they are made with: made, listed and revoked. */
export const TokensPlugin: GraphileConfig.Plugin = extendSchema((build) => {
  const credentials = build.pgResources.user_credentials as PgResource;
  const { tokenSigner } = build.options;
  const $context = () => contextStep(credentials);

  return {
    typeDefs: gql`
      extend type Query {
        """
        The tokens that were made here for the user and have not ended, 200 at most: first those that were not revoked,
        of each kind the latest. A limited token sees itself and those that were made with it.
        """
        tokens: [Token!]
      }

      extend type Mutation {
        """
        Makes a token that may do less than the one it is made with, and never more: it ends with that one at the latest,
        and all that limits that one limits it. The answer alone has the token.
        """
        createToken(input: CreateTokenInput!): CreateTokenPayload

        """Revokes a token and all that were made with it: the next request with one of them is refused."""
        revokeToken(input: RevokeTokenInput!): RevokeTokenPayload
      }

      """A token that was made here, without the token itself."""
      type Token {
        """Its id: what the token calls itself, its jti."""
        id: UUID!
        """What it is for."""
        name: String!
        """The token that it was made with, where that was made here as well."""
        parentId: UUID
        """
        What it may do at most: limits that all hold, of credentials, actions and a workspace; its own, and then those of
        what it was made with.
        """
        limits: JSON!
        """When it ends."""
        expiresAt: Datetime!
        """When it was made."""
        createdAt: Datetime!
        """When it was revoked."""
        revokedAt: Datetime
      }

      """What a token may do with a credential."""
      enum TokenAction {
        """List it."""
        READ
        """List it and open its value."""
        REVEAL
        """List it, create, change, revoke and delete it."""
        WRITE
      }

      """What the token is for, and what it may do at most. What is left out is not limited."""
      input CreateTokenInput {
        """Passed back in the payload."""
        clientMutationId: String
        """What it is for, at most 100 characters."""
        name: String! = "token"
        """Which credentials: patterns of provider and name, as in github/*. Only * is special. At most 100."""
        credentials: [String!]
        """What may be done with them."""
        actions: [TokenAction!]
        """The one workspace whose credentials they are."""
        workspaceId: UUID
        """For how many seconds it is good, a year at most."""
        expiresIn: Int! = 3600
      }

      """The token, this once, and the record of it."""
      type CreateTokenPayload {
        """As given in the input."""
        clientMutationId: String
        """The token itself. It is kept nowhere here."""
        jwt: String
        """What is known of it."""
        token: Token
      }

      """The token to revoke."""
      input RevokeTokenInput {
        """Passed back in the payload."""
        clientMutationId: String
        """The token's id."""
        id: UUID!
      }

      """What was revoked."""
      type RevokeTokenPayload {
        """As given in the input."""
        clientMutationId: String
        """What is known of the token."""
        token: Token
      }
    `,

    objects: {
      Query: { plans: { tokens: () => lambda($context(), listTokens) } },
      Mutation: {
        plans: {
          createToken(_: Step, args: FieldArgs) {
            const $input = args.getRaw("input") as Step<CreateInput>;
            const $result = sideEffect([$input, $context()] as const, ([input, context]) =>
              createToken(input, context, tokenSigner),
            );
            return object({ input: $input, result: $result });
          },
          revokeToken(_: Step, args: FieldArgs) {
            const $input = args.getRaw("input") as Step<{ id: string }>;
            const $result = sideEffect([$input, $context()] as const, ([input, context]) =>
              revokeToken(input.id, context),
            );
            return object({ input: $input, result: $result });
          },
        },
      },
      CreateTokenPayload: { plans: { clientMutationId, jwt: ($it: Payload) => result($it, "jwt"), token } },
      RevokeTokenPayload: { plans: { clientMutationId, token } },
    },
  };
}, "TokensPlugin");

// biome-ignore lint/suspicious/noExplicitAny: extendSchema does not know the payloads of the types it adds.
type Payload = any;

const result = ($payload: Payload, key: string) => access($payload.getStepForKey("result"), key);
const token = ($payload: Payload) => result($payload, "token");
const clientMutationId = ($payload: Payload) => access($payload.getStepForKey("input"), "clientMutationId");

interface Recorded {
  readonly id: string;
  readonly userId: string;
  readonly expiresAt: string;
}

async function createToken(input: CreateInput, context: RequestContext, sign: TokenSigner | undefined) {
  if (sign === undefined) {
    throw new KeyrowError("NO_SIGNING_KEY", { hint: "Let the server's operator set KEYROW_SIGNING_KEY_FILE." });
  }
  if (input.expiresIn < 1 || input.expiresIn > MAX_SECONDS) {
    throw new KeyrowError("VALIDATION", { message: "A token is good for 1 second to 365 days." });
  }
  const [made] = await query<Recorded>(
    context,
    `select ${columns}, user_id as "userId"
     from keyrow.create_token($1, $2, now() + make_interval(secs => $3))`,
    [input.name, JSON.stringify(limitOf(input)), input.expiresIn],
  );
  if (made === undefined) throw new KeyrowError("INTERNAL");
  // The statement that makes a token does not see it yet.
  const [all] = await query<{ limits: unknown }>(context, "select keyrow.token_limits($1) as limits", [made.id]);
  return {
    token: { ...made, ...all },
    jwt: sign({ id: made.id, userId: made.userId, expiresAt: new Date(made.expiresAt) }),
  };
}

/** The limit that the input says; throws VALIDATION where it can't be understood. */
function limitOf({ credentials, actions, workspaceId }: CreateInput): object {
  const limit = {
    ...(credentials != null && { credentials }),
    ...(actions != null && { actions: [...new Set(actions)].map((action) => action.toLowerCase()) }),
    ...(workspaceId != null && { workspace: workspaceId }),
  };
  try {
    parseLimits(limit);
  } catch {
    throw new KeyrowError("VALIDATION", {
      message:
        "A pattern of credentials is provider/name, as in github/*, of 100 and 255 characters at most; a token has 100 at most.",
    });
  }
  return limit;
}

async function revokeToken(id: string, context: RequestContext) {
  const [token] = await query(context, `select ${columns} from keyrow.revoke_token($1)`, [id]);
  if (token === undefined) throw new KeyrowError("NOT_FOUND");
  return { token };
}

function listTokens(context: RequestContext) {
  return query(context, `select ${columns} from keyrow.visible_tokens()`, []);
}

async function query<T>({ pgSettings, withPgClient }: RequestContext, text: string, values: unknown[]): Promise<T[]> {
  const { rows } = await withPgClient(pgSettings, (client) => client.query<T>({ text, values: values as never[] }));
  return [...rows];
}
