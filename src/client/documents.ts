const TOKEN = "id name parentId limits expiresAt createdAt revokedAt";

// A page of credentials with their values.
const REVEALED = `userCredentials(filter: $filter, first: $first) {
    nodes { id provider name scope workspaceId value }
    pageInfo { hasNextPage }
  }`;

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

  Find: `query Find($filter: UserCredentialFilter!) {
  userCredentials(filter: $filter) { nodes { ...Credential } }
}${CREDENTIAL}`,

  Reveal: `query Reveal($filter: UserCredentialFilter!, $first: Int!) {
  ${REVEALED}
}`,

  // The filter has the name as well: where two workspaces have it, nothing is found, and so nothing revealed.
  RevealIn: `query RevealIn($name: String!, $filter: UserCredentialFilter!, $first: Int!) {
  workspaces(filter: { name: { equalTo: $name } }, first: 2) { nodes { id } }
  ${REVEALED}
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
