import { createPublicKey, createSecretKey, type KeyObject } from "node:crypto";

/** A key that verifies tokens, with the one algorithm it is good for: a token never chooses (RFC 8725, section 3.1). */
export interface JwtKey {
  readonly algorithm: "HS256" | "RS256" | "ES256";
  readonly key: KeyObject;
}

const MIN_SECRET_BYTES = 32;
const MIN_RSA_BITS = 2048;
const MIN_RSA_EXPONENT = 65_537n;

/** The HS256 key whose bytes are the text's in UTF-8; throws an Error that says what is wrong, never the text. */
export function secretKey(text: string): JwtKey {
  // A public key as secret is known to everybody: whoever reads it could sign.
  if (text.includes("-----BEGIN")) throw new Error("this is a PEM text, not a secret");
  if (Buffer.byteLength(text) < MIN_SECRET_BYTES) throw new Error(`it is shorter than ${MIN_SECRET_BYTES} bytes`);
  // What the environment read as U+FFFD was some other byte, each of them: little of the secret is left.
  if (text.includes("\ufffd")) throw new Error("it is not UTF-8");
  return { algorithm: "HS256", key: createSecretKey(text, "utf8") };
}

/** The key in one PEM text (line ends may be a literal `\n`); throws an Error that says what is wrong with it. */
export function publicKey(text: string): JwtKey {
  const pem = text.replaceAll("\\n", "\n").trim();
  const label = /^-----BEGIN ([A-Z0-9 ]+)-----\r?\n/.exec(pem)?.[1];
  if (label === undefined) throw new Error("this is not a PEM text");
  // Node would derive the public key from either, and hold more than a verifier should have.
  if (label.endsWith("PRIVATE KEY")) throw new Error("this is a private key");
  if (label === "CERTIFICATE") throw new Error("this is a certificate, not a public key");
  if (label !== "PUBLIC KEY" && label !== "RSA PUBLIC KEY") throw new Error("this is not a public key");
  if (pem.split("-----BEGIN").length !== 2) throw new Error("there is more than one key in it");
  return verifyingKey(read(pem));
}

function read(pem: string): KeyObject {
  try {
    return createPublicKey({ key: pem, format: "pem" });
  } catch {
    throw new Error("this PEM text can't be read");
  }
}

/** A public key with its algorithm; throws an Error that says why it is none of ours, or too weak. */
export function verifyingKey(key: KeyObject): JwtKey {
  const { modulusLength = 0, publicExponent = 0n, namedCurve } = key.asymmetricKeyDetails ?? {};
  switch (key.asymmetricKeyType) {
    case "rsa":
      if (modulusLength < MIN_RSA_BITS) throw new Error(`this RSA key is shorter than ${MIN_RSA_BITS} bits`);
      // An exponent of 1 makes any text its own signature; small ones have a history of forgeries.
      if (publicExponent < MIN_RSA_EXPONENT) throw new Error(`this RSA key's exponent is below ${MIN_RSA_EXPONENT}`);
      return { algorithm: "RS256", key };
    case "ec":
      if (namedCurve !== "prime256v1") throw new Error("this is an elliptic curve other than P-256");
      return { algorithm: "ES256", key };
    default:
      // jsonwebtoken 9 has no EdDSA: say so now, not at each token.
      throw new Error("this kind of key (Ed25519 among them) is not supported");
  }
}
