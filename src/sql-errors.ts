import { tooLarge } from "./bounded-json.ts";
import { type ErrorCode, KeyrowError } from "./errors.ts";
import { isConnectionFault } from "./unreachable.ts";

/** What a violated constraint of Keyrow's own means to the caller. */
const constraints: Readonly<Record<string, [code: ErrorCode, message: string]>> = {
  user_credentials_workspace_scope: ["VALIDATION", "A WORKSPACE credential needs a workspaceId."],
  user_credentials_encrypted_value_form: ["VALIDATION", "A value must be sealed before it is stored."],
  user_credentials_user_id_fkey: ["VALIDATION", "The user of this token is not known here."],
  user_credentials_workspace_id_fkey: ["VALIDATION", "There is no such workspace."],
  user_credentials_named: ["VALIDATION", "Provider and name can't be empty."],
  user_credentials_unsealed_size: ["LIMIT_EXCEEDED", "Metadata and description may have at most 16384 bytes each."],
  user_credentials_sealed_size: ["LIMIT_EXCEEDED", "A value may have at most 65536 bytes."],
  user_credentials_owner_fixed: ["CONFLICT", "The owner of a USER credential can't change."],
  user_credentials_binding_fixed: ["CONFLICT", "Id, key, scope and owner can't change under a value."],
  user_credentials_revoke_or_renew: ["VALIDATION", "A new value and a revocation exclude each other."],
  user_credentials_revoked_stays: ["VALIDATION", "A revoked credential becomes active by a new value alone."],
  tokens_name: ["VALIDATION", "A token's name has 1 to 100 characters."],
  tokens_expiry: [
    "VALIDATION",
    "A token is good for 1 second to 365 days, and no longer than the one it is made with.",
  ],
  tokens_user_id_fkey: ["FORBIDDEN", "Tokens are made for users that are known here, and for no machine."],
  tokens_line: ["LIMIT_EXCEEDED", "Tokens are made of tokens eight times at most."],
  tokens_limits_size: [
    "LIMIT_EXCEEDED",
    "The limits of a token may have 65536 bytes, with those of what it is made with.",
  ],
  tokens_live: [
    "LIMIT_EXCEEDED",
    "A user has 100 tokens at once at most, and a token with limits makes none beyond 50. Revoke one.",
  ],
  user_credentials_handover_first: ["CONFLICT", "The user still carries WORKSPACE or SYSTEM credentials."],
};

/** SQLSTATEs, or their classes, and what they mean to the caller (PostgreSQL, appendix A). */
const states: ReadonlyArray<[prefix: string, code: ErrorCode, message?: string]> = [
  ["28000", "UNAUTHENTICATED"],
  ["42501", "FORBIDDEN"],
  ["23505", "CONFLICT"],
  ["23503", "VALIDATION", "Something that this refers to does not exist."],
  ["23502", "VALIDATION", "A required field is null."],
  ["22001", "VALIDATION", "A text is too long for its field."],
  ["22021", "VALIDATION", "A text holds a character that can't be stored, such as NUL."],
  ["22P05", "VALIDATION", "A text holds a character that can't be stored, such as NUL."],
  ["22", "VALIDATION", "A value does not fit its field."],
  ["23", "VALIDATION", "A value does not fit its field."],
  ["54", "LIMIT_EXCEEDED"],
  ["55P03", "CONFLICT", "Somebody else is changing the same thing. Try again."],
  ["57014", "LIMIT_EXCEEDED", "The request took too long."],
  ["40", "CONFLICT", "Somebody else changed the same thing at the same time. Try again."],
  ["08", "UNAVAILABLE"],
  ["57P", "UNAVAILABLE"],
  // Read only: a standby, or a login that somebody has set so.
  ["25006", "UNAVAILABLE"],
  ["53", "UNAVAILABLE"],
  // The system that the database runs on: its disk does not read or write.
  ["58", "UNAVAILABLE"],
];

/** The catalogue's error for one that the database or its driver threw, without its text; undefined for any other. */
export function fromDatabaseError(error: unknown): KeyrowError | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, constraint, table, severity } = error as Partial<Record<string, unknown>> & Error;
  // It ends the connection: no request has the means to do that.
  if (severity === "FATAL" || severity === "PANIC") return new KeyrowError("UNAVAILABLE");
  // What the log refuses is no fault of the caller's: nothing that they sent goes there unchecked.
  if (typeof table === "string" && table.startsWith("activity_logs")) return undefined;
  if (typeof constraint === "string" && Object.hasOwn(constraints, constraint)) {
    const [meaning, message] = constraints[constraint] as [ErrorCode, string];
    return new KeyrowError(meaning, { message });
  }
  // Before SQLSTATEs: EPIPE has five letters as well.
  if (isConnectionFault(error)) return new KeyrowError("UNAVAILABLE");
  // Of an answer that it can't hold; the code alone says no more than that something went wrong.
  if (code === "XX000" && error.message.startsWith("invalid memory alloc request size")) return tooLarge();
  if (typeof code === "string" && /^[0-9A-Z]{5}$/.test(code)) {
    const [, meaning, message] = states.find(([prefix]) => code.startsWith(prefix)) ?? [];
    return meaning && new KeyrowError(meaning, message === undefined ? {} : { message });
  }
  return undefined;
}
