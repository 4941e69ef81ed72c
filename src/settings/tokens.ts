import { publicKey, secretKey } from "../jwt-key.ts";
import { OWN_ISSUER } from "../own-issuer.ts";
import { key, optional, path, setting, text, yesOrNo } from "./setting.ts";

/** RFC 7519, section 4.1, and what provisioning and limits read: none of these can name a user as well. */
export const takenClaims = ["iss", "aud", "exp", "nbf", "iat", "jti", "email", "email_verified", "name", "keyrow"];

/** What `iss` may be in the tokens of an issuer that is not Keyrow itself: its own key alone verifies its own. */
export const issuer = text.refine((given) => given !== OWN_ISSUER, "this is what Keyrow's own tokens have");

/** Whose tokens are taken, and how. */
export const tokenSettings = {
  JWT_SECRET: optional({
    description:
      "The secret that tokens are signed with (HS256), 32 bytes or more. In embedded mode one is made where neither this nor JWT_PUBLIC_KEY is set.",
    parser: key(secretKey),
    remedy: "give 32 bytes or more, as `openssl rand -base64 48` makes them",
  }),
  JWT_PUBLIC_KEY: optional({
    description:
      "The public key of whoever signs the tokens, as a PEM text: RSA of 2048 bits or more (RS256) or P-256 (ES256). Line ends may be written as \\n.",
    parser: key(publicKey),
    remedy: "give one PUBLIC KEY in PEM, RSA of 2048 bits or more or P-256",
  }),
  JWT_AUDIENCE: setting({
    default: "keyrow",
    description: "What a token's `aud` must be or hold.",
    parser: text,
    remedy: "give the audience that your issuer writes",
  }),
  JWT_ISSUER: optional({
    description: "What a token's `iss` must be. Not checked where unset.",
    parser: issuer,
    remedy: "give the issuer letter by letter, or leave it unset",
  }),
  JWT_USER_CLAIM: setting({
    default: "sub",
    description: "The claim that holds the user's id, a UUID.",
    parser: text.refine((name) => !takenClaims.includes(name), "this claim has a meaning of its own"),
    remedy: "give the name of one claim at the top level of the token",
  }),
  JWT_ISSUERS: optional({
    description:
      "The JSON file of issuers whose tokens are taken, beside those of JWT_SECRET or JWT_PUBLIC_KEY: keys, a JWKS address among them, audience, and how subjects become users.",
    parser: path,
    remedy: "give the path of the file",
  }),
  JWT_PROVISION: setting({
    default: { embedded: "on", server: "off" },
    description: "Whether a user's row is made at their first valid token.",
    parser: yesOrNo,
    remedy: "give on or off",
  }),
} as const;
