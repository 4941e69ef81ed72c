/** What is known of an error before it happens: the HTTP status it has by itself, and what the caller reads. */
interface Entry {
  readonly status: number;
  readonly message: string;
}

/** Every error of Keyrow, by code. No other error leaves the process; a message never repeats what was given. */
export const catalogue = {
  // What a request can answer.
  UNAUTHENTICATED: { status: 401, message: "A valid token is required." },
  FORBIDDEN: { status: 403, message: "A policy does not allow this." },
  NOT_FOUND: { status: 404, message: "There is no such row, or it is not visible to you." },
  CONFLICT: { status: 409, message: "A row with these identifying values exists already." },
  VALIDATION: { status: 400, message: "The request is not valid." },
  CREDENTIAL_REVOKED: { status: 410, message: "This credential is revoked. Set a new value to use it again." },
  CREDENTIAL_EXPIRED: {
    status: 410,
    message: "This credential has expired. Set a new value and expiry to use it again.",
  },
  CIPHER_UNAVAILABLE: { status: 503, message: "Values can't be sealed or opened right now. Try again later." },
  CANNOT_OPEN: { status: 500, message: "This value can't be opened." },
  LIMIT_EXCEEDED: { status: 413, message: "The request exceeds a limit." },
  UNAVAILABLE: { status: 503, message: "The database can't be reached right now. Try again later." },
  NO_SIGNING_KEY: { status: 501, message: "This server makes no tokens, for it has no key to sign them with." },
  INTERNAL: { status: 500, message: "Something went wrong here. The server's log has it under this request id." },
  // What a client sees without an answer.
  SERVER_UNREACHABLE: { status: 503, message: "The server can't be reached." },
  NO_KEYROW: { status: 502, message: "What answered is no Keyrow." },
  // What can stop a command or the start.
  CONFIG_INVALID: { status: 500, message: "The configuration is not valid." },
  KEY_FILE_INVALID: { status: 500, message: "The key file can't be used." },
  KEY_MISSING: { status: 500, message: "Some rows are sealed under a key that is not in the key ring." },
  KEY_NEEDED: { status: 500, message: "Rows need this key." },
  TRANSIT_UNBOUND: { status: 500, message: "The Transit key binds no value to its row." },
  TRANSIT_CONVERGENT: { status: 500, message: "The Transit key seals what is the same to the same text." },
  DATA_DIRECTORY: { status: 500, message: "The data directory can't be used." },
  DATA_DIRECTORY_BUSY: { status: 500, message: "Another process holds the data directory." },
  PORT_TAKEN: { status: 500, message: "The port is taken." },
  EMBEDDED_POSTGRES: { status: 500, message: "The embedded PostgreSQL could not be run." },
  EMBEDDED_OPENBAO: { status: 500, message: "The embedded OpenBao could not be run." },
  DATABASE_UNREACHABLE: { status: 500, message: "The database can't be reached." },
  DATABASE_RIGHTS: { status: 500, message: "The server's database login has the wrong rights." },
  SCHEMA_BEHIND: { status: 500, message: "The database schema is not the one this version needs." },
  IDENTITY_MISMATCH: { status: 500, message: "The database does not see who is asking." },
  MIGRATION_FAILED: { status: 500, message: "A migration failed; the database is as it was before it." },
  USAGE: { status: 400, message: "The command was not understood." },
} as const satisfies Record<string, Entry>;

/** A code of the catalogue. */
export type ErrorCode = keyof typeof catalogue;

/** An error of the catalogue; `hint` names the remedy. Neither message nor hint ever holds a value, key, token or SQL. */
export class KeyrowError extends Error {
  override readonly name = "KeyrowError";
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** The code's HTTP status, or the one that came with it: one code may be a request too large or one too many. */
  readonly status: number;

  constructor(code: ErrorCode, options: { message?: string; hint?: string; status?: number; cause?: unknown } = {}) {
    super(options.message ?? catalogue[code].message, { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.status = options.status ?? catalogue[code].status;
  }
}

/** What may be told of an unexpected error: its class, code and frames. Its message may hold anything, so it stays. */
export function describeError(error: unknown): { name: string; code?: string; at: string[] } {
  if (!(error instanceof Error)) return { name: typeof error, at: [] };
  const { code } = error as { code?: unknown };
  const stack = error.stack ?? "";
  const end = stack.indexOf(error.message) + error.message.length;
  const frames = stack
    .slice(end)
    .split("\n")
    .filter((line) => /^ {4}at .*:\d+:\d+\)?$/.test(line));
  return {
    name: error.constructor.name,
    ...(typeof code === "string" && /^[A-Z0-9_]{1,40}$/.test(code) && { code }),
    at: frames.map((line) => line.trim()),
  };
}
