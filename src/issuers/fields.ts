import { z } from "zod";
import type { JwtKey } from "../jwt-key.ts";
import { publicKey } from "../jwt-key.ts";
import { key, path, text } from "../settings/setting.ts";
import { issuer, takenClaims } from "../settings/tokens.ts";

/** One field of an issuer in the file of JWT_ISSUERS: what it is, how it is read, and what to do when it can't be. */
interface Field<T> {
  readonly needed: boolean;
  readonly description: string;
  /** Its messages are printed, so they must never repeat what was given. */
  readonly parser: z.ZodType<T>;
  readonly remedy: string;
}

const needed = <T>(it: Omit<Field<T>, "needed">): Field<T> => ({ needed: true, ...it });
const optional = <T>(it: Omit<Field<T>, "needed">): Field<T | undefined> => ({ needed: false, ...it }) as Field<T>;

/** The algorithms that a public key may verify by. */
export const publicAlgorithms = ["RS256", "ES256"] as const satisfies readonly JwtKey["algorithm"][];

const loopback = ["localhost", "127.0.0.1", "[::1]"];
const jwksAddress = z
  .string("it is not an address")
  .refine((given) => URL.canParse(given) && /^https?:$/.test(new URL(given).protocol), "it is not an address")
  .transform((given) => new URL(given))
  .refine(({ username, password, hash }) => `${username}${password}${hash}` === "", "it is more than an address")
  .refine(
    // Whoever can answer in the issuer's place makes tokens for everybody.
    ({ protocol, hostname }) => protocol === "https:" || loopback.includes(hostname),
    "it is http, and not on this machine",
  );

/** Every field there is. The reader and the reference page know them from here. */
export const fields = {
  name: needed({
    description: "What commands, the log and the metrics call it.",
    parser: z
      .string("it is not a name")
      .regex(/^[a-z][a-z0-9-]{0,39}$/, "it is not a name of lower-case letters, digits and hyphens"),
    remedy: "give up to 40 letters, as in github",
  }),
  issuer: needed({
    description: "Exactly what its tokens have as `iss`, to the last slash.",
    parser: issuer,
    remedy: "give it letter by letter",
  }),
  jwks: optional({
    description: "The address of its keys, a JSON Web Key Set.",
    parser: jwksAddress,
    remedy: "give the https address of its JSON Web Key Set; http only on 127.0.0.1, ::1 and localhost",
  }),
  publicKey: optional({
    description: "Instead: its public key, as a PEM text.",
    parser: z.string("it is not a text").pipe(key(publicKey)),
    remedy: "give one PUBLIC KEY in PEM, RSA of 2048 bits or more or P-256",
  }),
  publicKeyFile: optional({
    description: "Instead: the file of that PEM text. Paths are taken from where the file of issuers is.",
    parser: path,
    remedy: "give the path of a PEM file",
  }),
  secretFile: optional({
    description: "Instead: the file of the secret that it signs with (HS256), which nobody but its owner may read.",
    parser: path,
    remedy: "give the path of a file with 32 bytes or more",
  }),
  algorithms: optional({
    description:
      "What of RS256 and ES256 is taken with `jwks`; both where it is missing. A key of one's own has its one algorithm.",
    parser: z
      .array(z.enum(publicAlgorithms, "it names an algorithm that is not taken"), "it is not a list")
      .min(1, "it is empty"),
    remedy: 'give a list, as in ["RS256"]',
  }),
  audience: needed({
    description: "What a token's `aud` must be or hold. Without one of your own, a token for another service would do.",
    parser: text,
    remedy: "give the audience that it writes for this server",
  }),
  userClaim: optional({
    description: "The claim that names the user; `sub` where it is missing.",
    parser: text.refine((name) => !takenClaims.includes(name), "this claim has a meaning of its own"),
    remedy: "give the name of one claim at the top level of the token",
  }),
  subjects: needed({
    description:
      "How subjects become users. `uuid`: it is the user's id. `identities`: an admin says who it is, by `keyrow identity add`. `provision`: as that, and who comes for the first time gets a user of their own.",
    parser: z.enum(["uuid", "identities", "provision"], "it is none of the ways there are"),
    remedy: "give uuid, identities or provision",
  }),
} as const;

/** The name of a field. */
export type FieldName = keyof typeof fields;

/** What an issuer's fields hold once read. */
export type FieldValues = { [N in FieldName]: (typeof fields)[N] extends Field<infer T> ? T : never };
