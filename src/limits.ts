/** The most bytes of UTF-8 that a credential's value may have. */
export const MAX_VALUE_BYTES = 64 * 1024;

/** The most bytes of a request's body: one value of the largest size, however it is escaped, or a thousand ids. */
export const MAX_BODY_BYTES = 512 * 1024;

/** How large a GraphQL document may be; fields and aliases are counted through fragments. Introspection fits. */
export const documentLimits = { length: 200_000, tokens: 15_000, depth: 20, fields: 2_000, aliases: 200 } as const;
