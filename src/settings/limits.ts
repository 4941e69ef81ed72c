import { duration, setting, whole } from "./setting.ts";

/** What a request, a user and all of them together may have. */
export const limitSettings = {
  KEYROW_MAX_BODY: setting({
    default: "524288",
    description: "How many bytes the body of a request may have. The default holds the largest value, or 1,000 ids.",
    parser: whole(1_024, 16_777_216),
    remedy: "give a number of bytes from 1024 to 16777216",
  }),
  KEYROW_MAX_ANSWER: setting({
    default: "16777216",
    description:
      "How many bytes the answer to a request may have. What a mutation has changed stays changed where its answer is larger.",
    // Six times as many, where all is escaped, must be one text.
    parser: whole(1_024, 67_108_864),
    remedy: "give a number of bytes from 1024 to 67108864",
  }),
  KEYROW_MAX_DOCUMENT: setting({
    default: "200000",
    description: "How many characters a GraphQL document may have; it has 5,000 tokens at most in any case.",
    parser: whole(100, 1_000_000),
    remedy: "give a number from 100 to 1000000",
  }),
  KEYROW_MAX_DEPTH: setting({
    default: "20",
    description:
      "How many levels deep a document may be, and so may a literal in it or a variable; JSON in a variable, such as metadata, has 1,000. Introspection, as GraphiQL asks for it, needs 15.",
    parser: whole(1, 100),
    remedy: "give a number from 1 to 100",
  }),
  KEYROW_MAX_FIELDS: setting({
    default: "500",
    description: "How many fields a document may have, fragments counted where they are spread.",
    parser: whole(1, 10_000),
    remedy: "give a number from 1 to 10000",
  }),
  KEYROW_MAX_ALIASES: setting({
    default: "50",
    description: "How many aliases a document may have, counted like fields.",
    parser: whole(0, 1_000),
    remedy: "give a number from 0 to 1000",
  }),
  KEYROW_PAGE_SIZE: setting({
    default: "100",
    description: "How many rows a list has where a request does not say.",
    parser: whole(1, 10_000),
    remedy: "give a number from 1 to KEYROW_MAX_PAGE_SIZE",
  }),
  KEYROW_MAX_PAGE_SIZE: setting({
    default: "1000",
    description: "How many rows a list may have.",
    parser: whole(1, 10_000),
    remedy: "give a number from 1 to 10000",
  }),
  KEYROW_MAX_CELLS: setting({
    default: "200000",
    description:
      "How many rows and fields of rows a document may ask for in all, objects and aliases included. A list in another counts a page for each of its rows, whether there are so many or not. A value counts as 10, a description or metadata as 20, and as 60 in a list that is in something else.",
    parser: whole(1, 10_000_000),
    remedy: "give a number from 1 to 10000000",
  }),
  KEYROW_MAX_REVEALS: setting({
    default: "1000",
    description:
      "How many values one request may reveal. They are counted as it goes: of several mutations in one document, those before the one too many are revealed and recorded.",
    // The most that the database's function takes at once.
    parser: whole(1, 1_000),
    remedy: "give a number from 1 to 1000",
  }),
  KEYROW_STATEMENT_TIMEOUT: setting({
    default: "10s",
    description: "How long one statement in the database may take. The wait for its commit may take 5 s more.",
    parser: duration(10, 600_000),
    remedy: "give a time from 10ms to 10m, such as 10s",
  }),
  KEYROW_REQUEST_TIMEOUT: setting({
    default: "30s",
    description:
      "How long one request may take, from its whole arrival to its answer. Then it asks the database for nothing more; what has begun there has its own time.",
    parser: duration(10, 600_000),
    remedy: "give a time from 10ms to 10m, such as 30s",
  }),
  KEYROW_RECEIVE_TIMEOUT: setting({
    default: "10s",
    description: "How long a request may take to arrive, head and body. Slow senders are cut off.",
    parser: duration(100, 600_000),
    remedy: "give a time from 100ms to 10m, such as 10s",
  }),
  KEYROW_MAX_REQUESTS: setting({
    default: "400",
    description:
      "How many requests may be under way at once, of one user half of them at most. Beyond that the answer is 503 with Retry-After.",
    parser: whole(1, 100_000),
    remedy: "give a number from 1 to 100000",
  }),
  KEYROW_MAX_USER_REQUESTS: setting({
    default: "8",
    description:
      "How many requests of one user run at once; fifty more wait for their turn, and beyond that the answer is 429 with Retry-After.",
    parser: whole(1, 1_000),
    remedy: "give a number from 1 to 1000",
  }),
  KEYROW_MAX_CONNECTIONS: setting({
    default: "1000",
    description: "How many connections may be open at once. Beyond that the answer is 503 with Retry-After.",
    parser: whole(1, 100_000),
    remedy: "give a number from 1 to 100000",
  }),
  KEYROW_DATABASE_CONNECTIONS: setting({
    default: "20",
    description: "How many connections to the database the server opens at most.",
    parser: whole(2, 1_000),
    remedy: "give a number from 2 to 1000",
  }),
} as const;
