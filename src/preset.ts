// An import of nothing is left out of declarations, and whoever takes them needs PostGraphile's global types.
/// <reference types="postgraphile" preserve="true" />
import { defaultMaskError } from "postgraphile/grafserv";
import { GraphQLError } from "postgraphile/graphql";
import type { EncryptedColumnsOptions } from "../plugins/encrypted-columns/options.ts";
import { EncryptedColumnsPlugin } from "../plugins/encrypted-columns.ts";
import type { Cipher } from "./cipher/cipher.ts";
import { readKeyFile } from "./cipher/keyfile.ts";
import { createKeyring } from "./cipher/keyring.ts";
import { createLocalCipher } from "./cipher/local.ts";
import { KeyrowError } from "./errors.ts";
import { MAX_VALUE_BYTES } from "./limits.ts";
import { maskValue } from "./mask.ts";

export type { EncryptedColumnsOptions } from "../plugins/encrypted-columns/options.ts";
export type { Cipher } from "./cipher/cipher.ts";

/** What the preset must be told: how values are sealed, and who may open one. The rest has a default. */
export type PresetOptions = Pick<EncryptedColumnsOptions, "cipher" | "mayOpen"> & Partial<EncryptedColumnsOptions>;

// As much as one answer should have.
const MAX_CIPHERTEXT_BYTES = 16 * 1024 * 1024;

/** A preset that gives any PostGraphile 5 server columns with the smart tag `@encrypted`. */
export function encryptedColumnsPreset(options: PresetOptions): GraphileConfig.Preset {
  return {
    plugins: [EncryptedColumnsPlugin],
    schema: {
      encryptedColumns: {
        mask: maskValue,
        maxBytes: MAX_VALUE_BYTES,
        maxReveals: 1_000,
        maxCiphertext: () => MAX_CIPHERTEXT_BYTES,
        onRevealed: () => undefined,
        ...options,
      },
    },
  };
}

/** The cipher of a key file, as `keyrow keys rotate` keeps one. Throws KEY_FILE_INVALID. */
export async function keyFileCipher(path: string): Promise<Cipher> {
  return createKeyring((await readKeyFile(path)).map(createLocalCipher));
}

/** For `grafserv.maskError`: tells Keyrow's errors by their code and hint; of all others PostGraphile's own says nothing. */
export function maskError(error: GraphQLError): GraphQLError {
  const { originalError: original, nodes = null, source = null, positions = null, path = null } = error;
  if (!(original instanceof KeyrowError) || original.code === "INTERNAL") return defaultMaskError(error);
  const { message, code, hint } = original;
  const extensions = { code, ...(hint !== undefined && { hint }) };
  return new GraphQLError(message, { nodes, source, positions, path, originalError: original, extensions });
}
