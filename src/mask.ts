// What providers put before a token for all to see. `eyJ` begins every JWT.
const PREFIXES = [
  ...["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"],
  ...["sk-proj-", "sk-ant-", "sk-", "sk_live_", "sk_test_", "pk_live_", "rk_live_"],
  ...["xoxb-", "xoxp-", "xoxa-", "xapp-", "AKIA", "ASIA", "AIza", "ya29.", "npm_", "pypi-", "hf_", "SG."],
  ...["dop_v1_", "shpat_", "hvs.", "eyJ"],
].sort((a, b) => b.length - a.length);

// Always as long, so that it tells nothing of the value's length; with the longest prefix and the tail, 20 characters.
const HIDDEN = "*****";
const TAIL = 4;
// Below this nothing is shown: a short value is a password rather than a token, and each character of it counts.
const SHORTEST = 16;
const LONGEST_SHOWN = 15;
// Neither controls, spaces, half surrogate pairs, nor what is invisible or joins, reorders or hides its neighbours.
const VISIBLE = /^(?:(?!\p{Default_Ignorable_Code_Point})[\p{L}\p{N}\p{P}\p{S}])*$/u;

/**
 * What may be shown of a value, in at most 20 characters (code points): a known prefix, five asterisks and up to the
 * last four characters, in all no more than a quarter of the value's; of a short or empty value, the asterisks alone.
 */
export function maskValue(value: string): string {
  // More than this can't change what is shown, and a value may have 64 KiB; a code point is one or two units.
  const counted = Array.from(value.slice(0, 2 * 4 * LONGEST_SHOWN)).length;
  if (counted < SHORTEST) return HIDDEN;
  const budget = Math.min(LONGEST_SHOWN, Math.floor(counted / 4));
  const prefix = PREFIXES.find((known) => known.length <= budget && value.startsWith(known)) ?? "";
  return prefix + HIDDEN + tail(value, Math.min(TAIL, budget - prefix.length));
}

/** The last `count` characters, or none when one of them is not plainly visible. */
function tail(value: string, count: number): string {
  if (count === 0) return "";
  // Eight units hold four whole code points; one cut in two at their start is a fifth, and left out.
  const characters = Array.from(value.slice(-2 * TAIL))
    .slice(-count)
    .join("");
  return VISIBLE.test(characters) ? characters : "";
}
