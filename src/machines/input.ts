import { KeyrowError } from "../errors.ts";

// RFC 7519, section 4.1: they differ with each token, or are checked already.
const ofEachToken = ["iss", "aud", "exp", "nbf", "iat", "jti"];

/** The claims of `--claim repository=acme/app`, each once; throws USAGE for anything else. */
export function parseClaims(given: readonly string[]): Record<string, string> {
  const entries = given.map((one) => {
    const [, name = "", value = ""] =
      /^([\x21-\x3c\x3e-\x7e]{1,255})=([^\p{Cc}\p{Cs}\p{Cf}]{1,1000})$/u.exec(one) ?? [];
    if (name === "") throw usage("The value of --claim is not a claim.", "Write it as in repository=acme/app.");
    if (ofEachToken.includes(name)) {
      throw usage(`The claim ${name} tells no machine from another.`, "Give claims such as sub, repository or azp.");
    }
    return [name, value] as const;
  });
  if (new Set(entries.map(([name]) => name)).size < entries.length) {
    throw usage("A claim is given twice.", "A token has it once: make a machine for each.");
  }
  return Object.fromEntries(entries);
}

/** The name of a machine; throws USAGE where it is none. */
export function parseMachineName(given: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,62}$/.test(given)) return given;
  throw usage(
    "That is not the name of a machine.",
    "Give up to 63 lower-case letters, digits, dots, hyphens and underscores, as in ci.",
  );
}

function usage(message: string, hint: string): KeyrowError {
  return new KeyrowError("USAGE", { message, hint });
}
