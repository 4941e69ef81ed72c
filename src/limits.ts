/** The limits that an operator may set. Their names and defaults are among the settings. */
export interface Limits {
  /** Bytes of a request's body. */
  readonly bodyBytes: number;
  /** Bytes of an answer. */
  readonly answerBytes: number;
  readonly document: DocumentLimits;
  /** Rows of a list where nobody says, and at most. */
  readonly page: { readonly standard: number; readonly most: number };
  /** Values that one request may reveal. */
  readonly reveals: number;
  /** How long one statement may take. */
  readonly statementMs: number;
  /** How long a request may take from its whole arrival to its answer. */
  readonly requestMs: number;
  /** How long a request may take to arrive. */
  readonly receiveMs: number;
  /** Requests under way at once, whoever sent them. */
  readonly requests: number;
  /** Requests of one user that run at once. */
  readonly requestsPerUser: number;
  /** Connections of callers. */
  readonly connections: number;
  /** Connections to the database. */
  readonly databaseConnections: number;
}

/** How large a GraphQL document may be; what it holds is counted through fragments. */
export interface DocumentLimits {
  readonly characters: number;
  readonly depth: number;
  readonly fields: number;
  readonly aliases: number;
  /** Rows that it asks for and their fields, a page for each row of a page. */
  readonly cells: number;
}

// What follows is nobody's to set: each holds the server's memory or time together.

/** The most bytes that the target and headers of a request may have: a token much too long comes so far that it is refused as one. */
export const MAX_HEAD_BYTES = 160 * 1024;

/** How many requests of one connection wait for their answers: HTTP lets a caller send them without waiting. */
export const MAX_UNANSWERED = 10;

/** The most bytes of UTF-8 that a credential's value may have. */
export const MAX_VALUE_BYTES = 64 * 1024;

/** The most tokens of a document. Comments are no tokens here. */
export const MAX_TOKENS = 5_000;

/** How much of the database's answers one request may hold, in characters. */
export const MAX_RESULT_CHARACTERS = 32 * 1024 * 1024;

/** As how many of a document's cells a column of 16 KiB counts; in a list in something else, PostgreSQL holds it several times. */
export const LARGE_COLUMN = { cells: 20, cellsWithin: 60 } as const;

/** As how many cells a value counts that is revealed: it may be an error, with a place and words of its own. */
export const VALUE_CELLS = 10;

/**
 * Requests of more cells than this, fields and entries counted as such, run one at a time for each user: they are planned,
 * and their answers made, in the server's one thread, which does a thousand cells in some 1.2 ms.
 */
export const MANY_CELLS = 10_000;

/** As how many cells a field of the document counts where it is asked whether a request is a large one: each is planned. */
export const FIELD_CELLS = 150;

/** Bodies of more bytes than this wait for others to be served before they are read: reading so many takes as long as many cells. */
export const LONG_BODY = 100_000;

/** Documents of more characters than this run like those of many cells: checking them takes as long. */
export const LONG_DOCUMENT = 5_000;

/** How long planning a request may take, in ms: it blocks the process. */
export const PLANNING_MS = 1_000;

/** How many entries variables and literals of a request may have in all, each counted as often as it is used. */
export const MAX_ENTRIES = 5_000;

/** As how many cells an entry counts where it is asked whether a request is a large one: each may be a condition. */
export const ENTRY_CELLS = 20;

/** How many levels JSON in a variable may have, such as metadata: what is much deeper can't be written again. */
export const MAX_JSON_DEPTH = 1_000;

/** Documents up to so many characters are kept parsed for the next request, so many of them; of so many, the plans. */
export const documentCache = { characters: 10_000, documents: 100, plans: 20 } as const;

/** How many requests of one user wait for their turn. */
export const MAX_WAITING = 50;
