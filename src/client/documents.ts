const TOKEN = "id name parentId limits expiresAt createdAt revokedAt";

// Everything of a credential but its value.
const CREDENTIAL = `
fragment Credential on UserCredential {
  id provider name type scope workspaceId userId maskedValue description metadata
  isActive expiresAt lastUsedAt rotatedAt createdAt updatedAt
}`;

/** What the client asks of the API, by the operation's name. `generated.ts` has the types of what they take and answer. */
export const documents = {
  WhoAmI: `query WhoAmI {
  currentUser { id name }
  currentMachine { id name workspaceId credentials expiresAt }
}`,

  Workspaces:
    "query Workspaces($name: String!) { workspaces(filter: { name: { equalTo: $name } }, first: 2) { nodes { id } } }",

  List: `query List($filter: UserCredentialFilter, $after: Cursor) {
  userCredentials(filter: $filter, after: $after) {
    nodes { ...Credential }
    pageInfo { hasNextPage endCursor }
  }
}${CREDENTIAL}`,

  // A policy may let somebody list what is another's, under the same provider and name: hence who is asking.
  Find: `query Find($filter: UserCredentialFilter!) {
  currentUser { id }
  userCredentials(filter: $filter) { nodes { ...Credential } }
}${CREDENTIAL}`,

  Reveal: `query Reveal($filter: UserCredentialFilter!, $first: Int!) {
  currentUser { id }
  userCredentials(filter: $filter, first: $first) {
    nodes { id provider name scope workspaceId userId value }
    pageInfo { hasNextPage }
  }
}`,

  SetMany: `mutation SetMany($input: SetUserCredentialsInput!) {
  setUserCredentials(input: $input) { results { created userCredential { ...Credential } } }
}${CREDENTIAL}`,

  Rotate: `mutation Rotate($input: RotateUserCredentialInput!) {
  rotateUserCredential(input: $input) { userCredential { ...Credential } }
}${CREDENTIAL}`,

  Revoke: `mutation Revoke($input: RevokeUserCredentialInput!) {
  revokeUserCredential(input: $input) { userCredential { ...Credential } }
}${CREDENTIAL}`,

  Remove: `mutation Remove($input: DeleteUserCredentialInput!) {
  deleteUserCredential(input: $input) { userCredential { id } }
}`,

  CreateToken: `mutation CreateToken($input: CreateTokenInput!) {
  createToken(input: $input) { jwt token { ${TOKEN} } }
}`,

  Tokens: `query Tokens { tokens { ${TOKEN} } }`,

  RevokeToken: `mutation RevokeToken($input: RevokeTokenInput!) {
  revokeToken(input: $input) { token { ${TOKEN} } }
}`,
} as const;
