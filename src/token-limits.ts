import { z } from "zod";
import { UUID } from "./uuid.ts";

/** The claim of a JWT that limits it: one limit, or an array of them. */
export const LIMITS_CLAIM = "keyrow";

/** What a token may do at most. What is left out is not limited; an empty array allows nothing. */
export type Limit = Readonly<z.infer<typeof limit>>;

/** What may be done with a credential. `reveal` and `write` allow to read the same rows. */
export const actions = ["read", "reveal", "write"] as const;

// The database reads the same, and refuses what it can't understand: keyrow.is_limit().
const pattern = z.string().regex(/^[^/\p{Cc}\p{Cs}]{1,100}\/[^\p{Cc}\p{Cs}]{1,255}$/u);
const uuid = z.string().regex(UUID);
const limit = z.strictObject({
  credentials: z.array(pattern).max(100).readonly().optional(),
  actions: z.array(z.enum(actions)).max(3).readonly().optional(),
  workspace: uuid.optional(),
  /** The id of a token that Keyrow made: its record says the rest. */
  token: uuid.optional(),
});
const limits = z.union([limit.transform((one) => [one]), z.array(limit).min(1).max(32)]);

/** The limits that a claim holds, all of which must hold together; throws where it can't be understood. */
export function parseLimits(claim: unknown): readonly Limit[] {
  return limits.parse(claim);
}
