import { type PgResource, type PgUpdateSingleStep, pgUpdateSingle } from "postgraphile/@dataplan/pg";
import {
  access,
  constant,
  each,
  type FieldArgs,
  lambda,
  type ObjectStep,
  object,
  type Step,
  sideEffect,
} from "postgraphile/grafast";
import { extendSchema, gql } from "postgraphile/utils";
import { encryptedColumns } from "./encrypted-columns/column.ts";
import { contextStep } from "./encrypted-columns/mutation.ts";
import type { EncryptedColumnsOptions } from "./encrypted-columns/options.ts";
import { forRequest } from "./encrypted-columns/patience.ts";
import { readContextRow, sealFor, setAll } from "./encrypted-columns/seal.ts";
import { assertFound } from "./not-found.ts";
import { type SetInput, type SetResult, setCredentials } from "./user-credentials/set.ts";

type Payload<T extends Step> = ObjectStep<{ input: Step<{ clientMutationId?: string }>; result: T }>;

/** What credentials have beyond a table's own mutations: set, rotate, revoke, and who is asking. */
export const UserCredentialsPlugin: GraphileConfig.Plugin = extendSchema((build) => {
  const credentials = build.pgResources.user_credentials as PgResource;
  const users = build.pgResources.users as PgResource;
  const options = build.options.encryptedColumns as EncryptedColumnsOptions;
  const encrypted = encryptedColumns(credentials.codec as never, credentials)[0];
  if (encrypted === undefined) throw new Error("public.user_credentials has no column with the tag @encrypted");
  const $context = () => contextStep(credentials);

  return {
    typeDefs: gql`
      extend type Query {
        """The user whose token this is."""
        currentUser: User
      }

      extend type Mutation {
        """
        Gives a credential its value, whether it exists or not: found by scope, workspace, provider and name, it gets the
        new value and is active again, otherwise it is created. What is left out stays as it is.
        """
        setUserCredential(input: SetUserCredentialInput!): SetUserCredentialPayload

        """Does what setUserCredential does for several credentials, 1,000 at most: all of them, or none."""
        setUserCredentials(input: SetUserCredentialsInput!): SetUserCredentialsPayload

        """Gives a credential a new value, and makes it active again where it was revoked."""
        rotateUserCredential(input: RotateUserCredentialInput!): RotateUserCredentialPayload

        """Revokes a credential: its value is never revealed again. A new value makes it active again."""
        revokeUserCredential(input: RevokeUserCredentialInput!): RevokeUserCredentialPayload
      }

      """What a credential is found by, and what it gets."""
      input SetUserCredentialInput {
        """Passed back in the payload."""
        clientMutationId: String
        """Whom it belongs to: USER, or WORKSPACE with a workspaceId."""
        scope: CredentialScope! = USER
        """The workspace, required under WORKSPACE scope."""
        workspaceId: UUID
        """Whom it is good for."""
        provider: String!
        """What it is called."""
        name: String!
        """The value to seal."""
        value: String!
        """What kind of secret it is; SECRET where it is created without."""
        type: CredentialType
        """What it is for."""
        description: String
        """When it ends."""
        expiresAt: Datetime
        """Anything else to keep with it, not encrypted."""
        metadata: JSON
      }

      """What setUserCredential did."""
      type SetUserCredentialPayload {
        """As given in the input."""
        clientMutationId: String
        """Whether the credential was created, rather than given a new value."""
        created: Boolean
        """The credential."""
        userCredential: UserCredential
      }

      """A credential of several that are set."""
      input UserCredentialToSet {
        """Whom it belongs to: USER, or WORKSPACE with a workspaceId."""
        scope: CredentialScope! = USER
        """The workspace, required under WORKSPACE scope."""
        workspaceId: UUID
        """Whom it is good for."""
        provider: String!
        """What it is called."""
        name: String!
        """The value to seal."""
        value: String!
        """What kind of secret it is; SECRET where it is created without."""
        type: CredentialType
        """What it is for."""
        description: String
        """When it ends."""
        expiresAt: Datetime
        """Anything else to keep with it, not encrypted."""
        metadata: JSON
      }

      """The credentials to set, each named once."""
      input SetUserCredentialsInput {
        """Passed back in the payload."""
        clientMutationId: String
        """What each is found by, and what it gets."""
        credentials: [UserCredentialToSet!]!
        """Says what would be done, by doing it and taking it back: nothing is stored, nor on the record."""
        dryRun: Boolean! = false
      }

      """What was done to one credential of several."""
      type SetUserCredentialResult {
        """Whether the credential was created, rather than given a new value."""
        created: Boolean!
        """The credential; null where a dry run would create it."""
        userCredential: UserCredential
      }

      """What setUserCredentials did."""
      type SetUserCredentialsPayload {
        """As given in the input."""
        clientMutationId: String
        """What was done to each credential, in the order of the input."""
        results: [SetUserCredentialResult!]
      }

      """The credential and its new value."""
      input RotateUserCredentialInput {
        """Passed back in the payload."""
        clientMutationId: String
        """The credential's id."""
        id: UUID!
        """The new value to seal."""
        value: String!
        """When the new value ends; left out, the date stays, unless it has passed."""
        expiresAt: Datetime
      }

      """What rotateUserCredential did."""
      type RotateUserCredentialPayload {
        """As given in the input."""
        clientMutationId: String
        """The credential."""
        userCredential: UserCredential
      }

      """The credential to revoke."""
      input RevokeUserCredentialInput {
        """Passed back in the payload."""
        clientMutationId: String
        """The credential's id."""
        id: UUID!
      }

      """What revokeUserCredential did."""
      type RevokeUserCredentialPayload {
        """As given in the input."""
        clientMutationId: String
        """The credential."""
        userCredential: UserCredential
      }
    `,

    objects: {
      Query: {
        plans: {
          currentUser() {
            const $settings = access<Record<string, string>>($context(), "pgSettings");
            return users.get({ id: access<string>($settings, "jwt.claims.user_id") });
          },
        },
      },
      Mutation: {
        plans: {
          setUserCredential(_: Step, args: FieldArgs) {
            const $input = args.getRaw("input") as Step<SetInput>;
            const $result = sideEffect([$input, $context()] as const, ([input, context]) =>
              setCredentials(encrypted, [input], context, options),
            );
            return object({ input: $input, result: access<SetResult>($result, 0) });
          },
          setUserCredentials(_: Step, args: FieldArgs) {
            const $input = args.getRaw("input") as Step<{ credentials: readonly SetInput[]; dryRun: boolean }>;
            const $result = sideEffect([$input, $context()] as const, ([input, context]) =>
              setCredentials(encrypted, input.credentials, context, options, input.dryRun),
            );
            return object({ input: $input, result: $result });
          },
          rotateUserCredential(_: Step, args: FieldArgs) {
            const $input = args.getRaw("input") as Step<{ id: string; value: string; expiresAt?: string | null }>;
            const $apply = lambda([$input, $context()] as const, async ([input, context]) => {
              const { id, row } = await readContextRow(encrypted, { id: input.id }, context);
              const sealed = await sealFor(encrypted, id, row, input.value, forRequest(options, context.pgSettings));
              return setAll({ ...sealed, ...(input.expiresAt !== undefined && { expires_at: input.expiresAt }) });
            });
            const $update = pgUpdateSingle(credentials, { id: access<string>($input, "id") });
            $update.apply($apply);
            assertFound($update);
            return object({ input: $input, result: $update });
          },
          revokeUserCredential(_: Step, args: FieldArgs) {
            const $input = args.getRaw("input") as Step<{ id: string }>;
            const $update = pgUpdateSingle(
              credentials,
              { id: access<string>($input, "id") },
              { is_active: constant(false) },
            );
            assertFound($update);
            return object({ input: $input, result: $update });
          },
        },
      },
      SetUserCredentialPayload: {
        plans: {
          clientMutationId,
          created: ($payload: Payload<Step<SetResult>>) => access($payload.getStepForKey("result"), "created"),
          userCredential: ($payload: Payload<Step<SetResult>>) =>
            credentials.get({ id: access<string>($payload.getStepForKey("result"), "id") }),
        },
      },
      SetUserCredentialsPayload: {
        plans: {
          clientMutationId,
          results: ($payload: Payload<Step<readonly SetResult[]>>) =>
            each($payload.getStepForKey("result"), ($one) => $one),
        },
      },
      SetUserCredentialResult: {
        plans: {
          created: ($one: Step<SetResult>) => access($one, "created"),
          userCredential: ($one: Step<SetResult>) => credentials.get({ id: access<string>($one, "id") }),
        },
      },
      RotateUserCredentialPayload: { plans: { clientMutationId, userCredential: updated } },
      RevokeUserCredentialPayload: { plans: { clientMutationId, userCredential: updated } },
    },
  };
}, "UserCredentialsPlugin");

function clientMutationId($payload: Payload<Step>) {
  return access($payload.getStepForKey("input"), "clientMutationId");
}

function updated($payload: Payload<PgUpdateSingleStep>) {
  return $payload.getStepForKey("result");
}
