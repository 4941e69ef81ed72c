import { KeyrowError } from "./errors.ts";

// As keyrow.is_limit() has it.
const pattern = /^[^/\p{Cc}\p{Cs}\p{Cf}]{1,100}\/[^\p{Cc}\p{Cs}\p{Cf}]{1,255}$/u;

/** The patterns of `--only 'github/*'`, of which a machine or a limited token has some; throws USAGE where one is none. */
export function parsePatterns(given: readonly string[]): readonly string[] {
  if (given.length <= 100 && given.every((one) => pattern.test(one))) return given;
  throw new KeyrowError("USAGE", {
    message: "The value of --only is not a pattern of credentials.",
    hint: "Write provider/name, as in 'github/*' or '*/deploy': only * stands for others, and none of it for a /. At most 100, of 100 and 255 characters.",
  });
}
