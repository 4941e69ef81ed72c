/** The most bytes of UTF-8 that a credential's value may have. */
export const MAX_VALUE_BYTES = 64 * 1024;

/** The most bytes of a request's body: one value of the largest size, however it is escaped, or a thousand ids. */
export const MAX_BODY_BYTES = 512 * 1024;

/** How large a GraphQL document may be; fields and aliases are counted through fragments. Introspection fits. */
export const documentLimits = { length: 200_000, tokens: 5_000, depth: 20, fields: 500, aliases: 50 } as const;

/** How many rows a list has where nobody says, and at most. */
export const pageLimits = { standard: 100, most: 1_000 } as const;

/** How much of the database's answers one request may hold, in characters. */
export const MAX_RESULT_CHARACTERS = 32 * 1024 * 1024;

/** How long planning and executing one request may take, in ms. */
export const requestTimeouts = { planning: 1_000, execution: 30_000 } as const;

/** How many entries the variables of a request may have in all. */
export const MAX_VARIABLE_ENTRIES = 5_000;

/** Documents up to so many characters are kept parsed for the next request, so many of them; of so many, the plans. */
export const documentCache = { characters: 10_000, documents: 100, plans: 20 } as const;

/** How many requests of one user run at once, and how many more may wait. */
export const perUser = { running: 8, waiting: 50 } as const;
