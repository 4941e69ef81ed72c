import { createHash, createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "./config.ts";
import { createDurably } from "./durable-file.ts";
import { KeyrowError } from "./errors.ts";

/** A key that signs the tokens that Keyrow makes, with ES256. */
export interface SigningKey {
  /** What a token's header names it by: the same for every server that has the file. */
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

const MAX_FILE_BYTES = 16 * 1024;
const MAKE =
  "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out signing-key.pem && chmod 600 signing-key.pem";

/** Where the key is: the file that is named, or the data directory's own, which `keyrow start` makes. */
export function signingKeyPath({
  signingKeyFile,
  dataDirectory,
}: Pick<Config, "signingKeyFile" | "dataDirectory">): string {
  return signingKeyFile ?? join(dataDirectory, "signing-key.pem");
}

/** The key in a PEM file that its owner alone may open; throws CONFIG_INVALID with what is wrong and the remedy. */
export async function readSigningKey(path: string): Promise<SigningKey> {
  let handle: FileHandle | undefined;
  try {
    // Opening a FIFO would wait for ever.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile() || stats.size > MAX_FILE_BYTES) throw fault(path, "is not a PEM file", MAKE);
    if (stats.mode & 0o077) throw fault(path, "may be opened by others", `Run: chmod 600 ${path}`);
    return toKey(path, await handle.readFile("utf8"));
  } catch (error) {
    if (error instanceof KeyrowError) throw error;
    throw fault(
      path,
      `can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`,
      `Make it: ${MAKE}`,
    );
  } finally {
    await handle?.close();
  }
}

/** The key of a file that is made where it is missing, mode 0600; throws as `readSigningKey` does. */
export async function ownSigningKey(path: string): Promise<SigningKey> {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  try {
    await createDurably(path, privateKey.export({ type: "pkcs8", format: "pem" }));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EEXIST")
      throw fault(path, `can't be made (${code ?? "unknown error"})`, "Check the path and the disk.");
  }
  return readSigningKey(path);
}

function toKey(path: string, pem: string): SigningKey {
  let privateKey: KeyObject;
  try {
    privateKey = createPrivateKey({ key: pem, format: "pem" });
  } catch {
    throw fault(path, "holds no private key in PEM", `Make one: ${MAKE}`);
  }
  if (privateKey.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
    throw fault(path, "holds a key that is not of the curve P-256", `Make one: ${MAKE}`);
  }
  const publicKey = createPublicKey(privateKey);
  const digest = createHash("sha256")
    .update(publicKey.export({ type: "spki", format: "der" }))
    .digest("hex");
  return Object.freeze({ kid: `keyrow-${digest.slice(0, 16)}`, privateKey, publicKey });
}

function fault(path: string, what: string, hint: string): KeyrowError {
  return new KeyrowError("CONFIG_INVALID", { message: `KEYROW_SIGNING_KEY_FILE: The file ${path} ${what}.`, hint });
}
