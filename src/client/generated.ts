// Generated from schema.graphql by `npx node src/docs.ts --write`; changes made here are lost.

/** Internal type. DO NOT USE DIRECTLY. */
type Exact<T extends { [key: string]: unknown }> = { [K in keyof T]: T[K] };
/** Internal type. DO NOT USE DIRECTLY. */
export type Incremental<T> = T | { [P in keyof T]?: P extends ' $fragmentName' | '__typename' ? T[P] : never };
/** A filter to be used against Boolean fields. All fields are combined with a logical ‘and.’ */
export type BooleanFilter = {
  /** Equal to the specified value. */
  readonly equalTo?: boolean | null | undefined;
  /** Greater than the specified value. */
  readonly greaterThan?: boolean | null | undefined;
  /** Greater than or equal to the specified value. */
  readonly greaterThanOrEqualTo?: boolean | null | undefined;
  /** Included in the specified list. */
  readonly in?: ReadonlyArray<boolean> | null | undefined;
  /** Is null (if `true` is specified) or is not null (if `false` is specified). */
  readonly isNull?: boolean | null | undefined;
  /** Less than the specified value. */
  readonly lessThan?: boolean | null | undefined;
  /** Less than or equal to the specified value. */
  readonly lessThanOrEqualTo?: boolean | null | undefined;
  /** Not equal to the specified value. */
  readonly notEqualTo?: boolean | null | undefined;
  /** Not included in the specified list. */
  readonly notIn?: ReadonlyArray<boolean> | null | undefined;
};

/** What the token is for, and what it may do at most. What is left out is not limited. */
export type CreateTokenInput = {
  /** What may be done with them. */
  readonly actions?: ReadonlyArray<TokenAction> | null | undefined;
  /** Passed back in the payload. */
  readonly clientMutationId?: string | null | undefined;
  /** Which credentials: patterns of provider and name, as in github/*. Only * is special. At most 100. */
  readonly credentials?: ReadonlyArray<string> | null | undefined;
  /** For how many seconds it is good, a year at most. */
  readonly expiresIn?: number;
  /** What it is for, at most 100 characters. */
  readonly name?: string;
  /** The one workspace whose credentials they are. */
  readonly workspaceId?: string | null | undefined;
};

/** Whom a credential belongs to: its user alone, the admins of a workspace, or the system. */
export type CredentialScope =
  | 'SYSTEM'
  | 'USER'
  | 'WORKSPACE';

/** A filter to be used against CredentialScope fields. All fields are combined with a logical ‘and.’ */
export type CredentialScopeFilter = {
  /** Equal to the specified value. */
  readonly equalTo?: CredentialScope | null | undefined;
  /** Greater than the specified value. */
  readonly greaterThan?: CredentialScope | null | undefined;
  /** Greater than or equal to the specified value. */
  readonly greaterThanOrEqualTo?: CredentialScope | null | undefined;
  /** Included in the specified list. */
  readonly in?: ReadonlyArray<CredentialScope> | null | undefined;
  /** Is null (if `true` is specified) or is not null (if `false` is specified). */
  readonly isNull?: boolean | null | undefined;
  /** Less than the specified value. */
  readonly lessThan?: CredentialScope | null | undefined;
  /** Less than or equal to the specified value. */
  readonly lessThanOrEqualTo?: CredentialScope | null | undefined;
  /** Not equal to the specified value. */
  readonly notEqualTo?: CredentialScope | null | undefined;
  /** Not included in the specified list. */
  readonly notIn?: ReadonlyArray<CredentialScope> | null | undefined;
};

/** What kind of secret a credential is. */
export type CredentialType =
  | 'ACCESS_TOKEN'
  | 'API_KEY'
  | 'CUSTOM'
  | 'OAUTH_TOKEN'
  | 'PASSWORD'
  | 'SECRET';

/** A filter to be used against CredentialType fields. All fields are combined with a logical ‘and.’ */
export type CredentialTypeFilter = {
  /** Equal to the specified value. */
  readonly equalTo?: CredentialType | null | undefined;
  /** Greater than the specified value. */
  readonly greaterThan?: CredentialType | null | undefined;
  /** Greater than or equal to the specified value. */
  readonly greaterThanOrEqualTo?: CredentialType | null | undefined;
  /** Included in the specified list. */
  readonly in?: ReadonlyArray<CredentialType> | null | undefined;
  /** Is null (if `true` is specified) or is not null (if `false` is specified). */
  readonly isNull?: boolean | null | undefined;
  /** Less than the specified value. */
  readonly lessThan?: CredentialType | null | undefined;
  /** Less than or equal to the specified value. */
  readonly lessThanOrEqualTo?: CredentialType | null | undefined;
  /** Not equal to the specified value. */
  readonly notEqualTo?: CredentialType | null | undefined;
  /** Not included in the specified list. */
  readonly notIn?: ReadonlyArray<CredentialType> | null | undefined;
};

/** A filter to be used against Datetime fields. All fields are combined with a logical ‘and.’ */
export type DatetimeFilter = {
  /** Equal to the specified value. */
  readonly equalTo?: string | null | undefined;
  /** Greater than the specified value. */
  readonly greaterThan?: string | null | undefined;
  /** Greater than or equal to the specified value. */
  readonly greaterThanOrEqualTo?: string | null | undefined;
  /** Included in the specified list. */
  readonly in?: ReadonlyArray<string> | null | undefined;
  /** Is null (if `true` is specified) or is not null (if `false` is specified). */
  readonly isNull?: boolean | null | undefined;
  /** Less than the specified value. */
  readonly lessThan?: string | null | undefined;
  /** Less than or equal to the specified value. */
  readonly lessThanOrEqualTo?: string | null | undefined;
  /** Not equal to the specified value. */
  readonly notEqualTo?: string | null | undefined;
  /** Not included in the specified list. */
  readonly notIn?: ReadonlyArray<string> | null | undefined;
};

/** All input for the `deleteUserCredential` mutation. */
export type DeleteUserCredentialInput = {
  /**
   * An arbitrary string value with no semantic meaning. Will be included in the
   * payload verbatim. May be used to track mutations by the client.
   */
  readonly clientMutationId?: string | null | undefined;
  /** The credential's id, made by the server. */
  readonly id: string;
};

/** A filter to be used against JSON fields. All fields are combined with a logical ‘and.’ */
export type JsonFilter = {
  /** Contains the specified JSON. */
  readonly contains?: unknown;
  /** Contains the specified key. */
  readonly containsKey?: string | null | undefined;
  /** Equal to the specified value. */
  readonly equalTo?: unknown;
  /** Greater than the specified value. */
  readonly greaterThan?: unknown;
  /** Greater than or equal to the specified value. */
  readonly greaterThanOrEqualTo?: unknown;
  /** Included in the specified list. */
  readonly in?: ReadonlyArray<unknown> | null | undefined;
  /** Is null (if `true` is specified) or is not null (if `false` is specified). */
  readonly isNull?: boolean | null | undefined;
  /** Less than the specified value. */
  readonly lessThan?: unknown;
  /** Less than or equal to the specified value. */
  readonly lessThanOrEqualTo?: unknown;
  /** Not equal to the specified value. */
  readonly notEqualTo?: unknown;
  /** Not included in the specified list. */
  readonly notIn?: ReadonlyArray<unknown> | null | undefined;
};

/** The token to revoke. */
export type RevokeTokenInput = {
  /** Passed back in the payload. */
  readonly clientMutationId?: string | null | undefined;
  /** The token's id. */
  readonly id: string;
};

/** The credential to revoke. */
export type RevokeUserCredentialInput = {
  /** Passed back in the payload. */
  readonly clientMutationId?: string | null | undefined;
  /** The credential's id. */
  readonly id: string;
};

/** The credential and its new value. */
export type RotateUserCredentialInput = {
  /** Passed back in the payload. */
  readonly clientMutationId?: string | null | undefined;
  /** When the new value ends; left out, the date stays, unless it has passed. */
  readonly expiresAt?: string | null | undefined;
  /** The credential's id. */
  readonly id: string;
  /** The new value to seal. */
  readonly value: string;
};

/** The credentials to set, each named once. */
export type SetUserCredentialsInput = {
  /** Passed back in the payload. */
  readonly clientMutationId?: string | null | undefined;
  /** What each is found by, and what it gets. */
  readonly credentials: ReadonlyArray<UserCredentialToSet>;
  /** Says what would be done, by doing it and taking it back: nothing is stored, nor on the record. */
  readonly dryRun?: boolean;
};

/** A filter to be used against String fields. All fields are combined with a logical ‘and.’ */
export type StringFilter = {
  /** Equal to the specified value. */
  readonly equalTo?: string | null | undefined;
  /** Greater than the specified value. */
  readonly greaterThan?: string | null | undefined;
  /** Greater than or equal to the specified value. */
  readonly greaterThanOrEqualTo?: string | null | undefined;
  /** Included in the specified list. */
  readonly in?: ReadonlyArray<string> | null | undefined;
  /** Contains the specified string (case-sensitive). */
  readonly includes?: string | null | undefined;
  /** Contains the specified string (case-insensitive). */
  readonly includesInsensitive?: string | null | undefined;
  /** Is null (if `true` is specified) or is not null (if `false` is specified). */
  readonly isNull?: boolean | null | undefined;
  /** Less than the specified value. */
  readonly lessThan?: string | null | undefined;
  /** Less than or equal to the specified value. */
  readonly lessThanOrEqualTo?: string | null | undefined;
  /** Matches the specified pattern (case-sensitive). An underscore (_) matches any single character; a percent sign (%) matches any sequence of zero or more characters. */
  readonly like?: string | null | undefined;
  /** Not equal to the specified value. */
  readonly notEqualTo?: string | null | undefined;
  /** Not included in the specified list. */
  readonly notIn?: ReadonlyArray<string> | null | undefined;
  /** Starts with the specified string (case-sensitive). */
  readonly startsWith?: string | null | undefined;
  /** Starts with the specified string (case-insensitive). */
  readonly startsWithInsensitive?: string | null | undefined;
};

/** What a token may do with a credential. */
export type TokenAction =
  /** List it. */
  | 'READ'
  /** List it and open its value. */
  | 'REVEAL'
  /** List it, create, change, revoke and delete it. */
  | 'WRITE';

/** A filter to be used against UUID fields. All fields are combined with a logical ‘and.’ */
export type UuidFilter = {
  /** Equal to the specified value. */
  readonly equalTo?: string | null | undefined;
  /** Greater than the specified value. */
  readonly greaterThan?: string | null | undefined;
  /** Greater than or equal to the specified value. */
  readonly greaterThanOrEqualTo?: string | null | undefined;
  /** Included in the specified list. */
  readonly in?: ReadonlyArray<string> | null | undefined;
  /** Is null (if `true` is specified) or is not null (if `false` is specified). */
  readonly isNull?: boolean | null | undefined;
  /** Less than the specified value. */
  readonly lessThan?: string | null | undefined;
  /** Less than or equal to the specified value. */
  readonly lessThanOrEqualTo?: string | null | undefined;
  /** Not equal to the specified value. */
  readonly notEqualTo?: string | null | undefined;
  /** Not included in the specified list. */
  readonly notIn?: ReadonlyArray<string> | null | undefined;
};

/** A filter to be used against `UserCredential` object types. All fields are combined with a logical ‘and.’ */
export type UserCredentialFilter = {
  /** Checks for all expressions in this list. */
  readonly and?: ReadonlyArray<UserCredentialFilter> | null | undefined;
  /** Filter by the object’s `createdAt` field. */
  readonly createdAt?: DatetimeFilter | null | undefined;
  /** Filter by the object’s `description` field. */
  readonly description?: StringFilter | null | undefined;
  /** Filter by the object’s `expiresAt` field. */
  readonly expiresAt?: DatetimeFilter | null | undefined;
  /** Filter by the object’s `id` field. */
  readonly id?: UuidFilter | null | undefined;
  /** Filter by the object’s `isActive` field. */
  readonly isActive?: BooleanFilter | null | undefined;
  /** Filter by the object’s `lastUsedAt` field. */
  readonly lastUsedAt?: DatetimeFilter | null | undefined;
  /** Filter by the object’s `maskedValue` field. */
  readonly maskedValue?: StringFilter | null | undefined;
  /** Filter by the object’s `metadata` field. */
  readonly metadata?: JsonFilter | null | undefined;
  /** Filter by the object’s `name` field. */
  readonly name?: StringFilter | null | undefined;
  /** Negates the expression. */
  readonly not?: UserCredentialFilter | null | undefined;
  /** Checks for any expressions in this list. */
  readonly or?: ReadonlyArray<UserCredentialFilter> | null | undefined;
  /** Whether it carries the caller’s id: a USER credential of their own, or a WORKSPACE credential that they made. */
  readonly own?: boolean | null | undefined;
  /** Filter by the object’s `provider` field. */
  readonly provider?: StringFilter | null | undefined;
  /** Filter by the object’s `rotatedAt` field. */
  readonly rotatedAt?: DatetimeFilter | null | undefined;
  /** Filter by the object’s `scope` field. */
  readonly scope?: CredentialScopeFilter | null | undefined;
  /** Filter by the object’s `type` field. */
  readonly type?: CredentialTypeFilter | null | undefined;
  /** Filter by the object’s `updatedAt` field. */
  readonly updatedAt?: DatetimeFilter | null | undefined;
  /** Filter by the object’s `userId` field. */
  readonly userId?: UuidFilter | null | undefined;
  /** Filter by the object’s `workspaceId` field. */
  readonly workspaceId?: UuidFilter | null | undefined;
  /** The name of its workspace. Nothing is found where the caller sees several workspaces of that name. */
  readonly workspaceName?: string | null | undefined;
};

/** A credential of several that are set. */
export type UserCredentialToSet = {
  /** What it is for. */
  readonly description?: string | null | undefined;
  /** When it ends. */
  readonly expiresAt?: string | null | undefined;
  /** Anything else to keep with it, not encrypted. */
  readonly metadata?: unknown;
  /** What it is called. */
  readonly name: string;
  /** Whom it is good for. */
  readonly provider: string;
  /** Whom it belongs to: USER, or WORKSPACE with a workspaceId. */
  readonly scope?: CredentialScope;
  /** What kind of secret it is; SECRET where it is created without. */
  readonly type?: CredentialType | null | undefined;
  /** The value to seal. */
  readonly value: string;
  /** The workspace, required under WORKSPACE scope. */
  readonly workspaceId?: string | null | undefined;
};

export type WhoAmIQueryVariables = Exact<{ [key: string]: never; }>;


export type WhoAmIQuery = { readonly currentUser: { readonly id: string, readonly name: string | null } | null, readonly currentMachine: { readonly id: string, readonly name: string, readonly workspaceId: string, readonly credentials: ReadonlyArray<string>, readonly expiresAt: string | null } | null };

export type WorkspacesQueryVariables = Exact<{
  name: string;
}>;


export type WorkspacesQuery = { readonly workspaces: { readonly nodes: ReadonlyArray<{ readonly id: string } | null> } | null };

export type ListQueryVariables = Exact<{
  filter?: UserCredentialFilter | null | undefined;
  after?: string | null | undefined;
}>;


export type ListQuery = { readonly userCredentials: { readonly nodes: ReadonlyArray<{ readonly id: string, readonly provider: string, readonly name: string, readonly type: CredentialType, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly userId: string, readonly maskedValue: string | null, readonly description: string | null, readonly metadata: unknown, readonly isActive: boolean, readonly expiresAt: string | null, readonly lastUsedAt: string | null, readonly rotatedAt: string | null, readonly createdAt: string, readonly updatedAt: string } | null>, readonly pageInfo: { readonly hasNextPage: boolean, readonly endCursor: string | null } } | null };

export type FindQueryVariables = Exact<{
  filter: UserCredentialFilter;
}>;


export type FindQuery = { readonly userCredentials: { readonly nodes: ReadonlyArray<{ readonly id: string, readonly provider: string, readonly name: string, readonly type: CredentialType, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly userId: string, readonly maskedValue: string | null, readonly description: string | null, readonly metadata: unknown, readonly isActive: boolean, readonly expiresAt: string | null, readonly lastUsedAt: string | null, readonly rotatedAt: string | null, readonly createdAt: string, readonly updatedAt: string } | null> } | null };

export type RevealQueryVariables = Exact<{
  filter: UserCredentialFilter;
  first: number;
}>;


export type RevealQuery = { readonly userCredentials: { readonly nodes: ReadonlyArray<{ readonly id: string, readonly provider: string, readonly name: string, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly value: string | null } | null>, readonly pageInfo: { readonly hasNextPage: boolean } } | null };

export type RevealInQueryVariables = Exact<{
  name: string;
  filter: UserCredentialFilter;
  first: number;
}>;


export type RevealInQuery = { readonly workspaces: { readonly nodes: ReadonlyArray<{ readonly id: string } | null> } | null, readonly userCredentials: { readonly nodes: ReadonlyArray<{ readonly id: string, readonly provider: string, readonly name: string, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly value: string | null } | null>, readonly pageInfo: { readonly hasNextPage: boolean } } | null };

export type SetManyMutationVariables = Exact<{
  input: SetUserCredentialsInput;
}>;


export type SetManyMutation = { readonly setUserCredentials: { readonly results: ReadonlyArray<{ readonly created: boolean, readonly userCredential: { readonly id: string, readonly provider: string, readonly name: string, readonly type: CredentialType, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly userId: string, readonly maskedValue: string | null, readonly description: string | null, readonly metadata: unknown, readonly isActive: boolean, readonly expiresAt: string | null, readonly lastUsedAt: string | null, readonly rotatedAt: string | null, readonly createdAt: string, readonly updatedAt: string } | null }> | null } | null };

export type RotateMutationVariables = Exact<{
  input: RotateUserCredentialInput;
}>;


export type RotateMutation = { readonly rotateUserCredential: { readonly userCredential: { readonly id: string, readonly provider: string, readonly name: string, readonly type: CredentialType, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly userId: string, readonly maskedValue: string | null, readonly description: string | null, readonly metadata: unknown, readonly isActive: boolean, readonly expiresAt: string | null, readonly lastUsedAt: string | null, readonly rotatedAt: string | null, readonly createdAt: string, readonly updatedAt: string } | null } | null };

export type RevokeMutationVariables = Exact<{
  input: RevokeUserCredentialInput;
}>;


export type RevokeMutation = { readonly revokeUserCredential: { readonly userCredential: { readonly id: string, readonly provider: string, readonly name: string, readonly type: CredentialType, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly userId: string, readonly maskedValue: string | null, readonly description: string | null, readonly metadata: unknown, readonly isActive: boolean, readonly expiresAt: string | null, readonly lastUsedAt: string | null, readonly rotatedAt: string | null, readonly createdAt: string, readonly updatedAt: string } | null } | null };

export type RemoveMutationVariables = Exact<{
  input: DeleteUserCredentialInput;
}>;


export type RemoveMutation = { readonly deleteUserCredential: { readonly userCredential: { readonly id: string } | null } | null };

export type CreateTokenMutationVariables = Exact<{
  input: CreateTokenInput;
}>;


export type CreateTokenMutation = { readonly createToken: { readonly jwt: string | null, readonly token: { readonly id: string, readonly name: string, readonly parentId: string | null, readonly limits: unknown, readonly expiresAt: string, readonly createdAt: string, readonly revokedAt: string | null } | null } | null };

export type TokensQueryVariables = Exact<{ [key: string]: never; }>;


export type TokensQuery = { readonly tokens: ReadonlyArray<{ readonly id: string, readonly name: string, readonly parentId: string | null, readonly limits: unknown, readonly expiresAt: string, readonly createdAt: string, readonly revokedAt: string | null }> | null };

export type RevokeTokenMutationVariables = Exact<{
  input: RevokeTokenInput;
}>;


export type RevokeTokenMutation = { readonly revokeToken: { readonly token: { readonly id: string, readonly name: string, readonly parentId: string | null, readonly limits: unknown, readonly expiresAt: string, readonly createdAt: string, readonly revokedAt: string | null } | null } | null };

export type CredentialFragment = { readonly id: string, readonly provider: string, readonly name: string, readonly type: CredentialType, readonly scope: CredentialScope, readonly workspaceId: string | null, readonly userId: string, readonly maskedValue: string | null, readonly description: string | null, readonly metadata: unknown, readonly isActive: boolean, readonly expiresAt: string | null, readonly lastUsedAt: string | null, readonly rotatedAt: string | null, readonly createdAt: string, readonly updatedAt: string };

/** The operations by name. */
export interface Operations {
  readonly WhoAmI: { readonly data: WhoAmIQuery; readonly variables: WhoAmIQueryVariables };
  readonly Workspaces: { readonly data: WorkspacesQuery; readonly variables: WorkspacesQueryVariables };
  readonly List: { readonly data: ListQuery; readonly variables: ListQueryVariables };
  readonly Find: { readonly data: FindQuery; readonly variables: FindQueryVariables };
  readonly Reveal: { readonly data: RevealQuery; readonly variables: RevealQueryVariables };
  readonly RevealIn: { readonly data: RevealInQuery; readonly variables: RevealInQueryVariables };
  readonly SetMany: { readonly data: SetManyMutation; readonly variables: SetManyMutationVariables };
  readonly Rotate: { readonly data: RotateMutation; readonly variables: RotateMutationVariables };
  readonly Revoke: { readonly data: RevokeMutation; readonly variables: RevokeMutationVariables };
  readonly Remove: { readonly data: RemoveMutation; readonly variables: RemoveMutationVariables };
  readonly CreateToken: { readonly data: CreateTokenMutation; readonly variables: CreateTokenMutationVariables };
  readonly Tokens: { readonly data: TokensQuery; readonly variables: TokensQueryVariables };
  readonly RevokeToken: { readonly data: RevokeTokenMutation; readonly variables: RevokeTokenMutationVariables };
}
