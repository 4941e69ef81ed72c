import { checkEmbedded } from "../admin-database.ts";
import type { Cipher } from "../cipher/cipher.ts";
import { readKeyFile } from "../cipher/keyfile.ts";
import { createKeyring } from "../cipher/keyring.ts";
import { createLocalCipher } from "../cipher/local.ts";
import type { Config } from "../config.ts";
import { KeyrowError } from "../errors.ts";

/** The server's key ring, for an admin's command, which never makes a key. Throws CONFIG_INVALID, KEY_FILE_INVALID. */
export async function adminKeyring(config: Config): Promise<Cipher> {
  const { adminDatabaseUrl, keyFile } = config;
  if (adminDatabaseUrl === undefined) await checkEmbedded(config);
  // Another database's values don't belong under the keys that happen to lie in the data directory.
  else if (keyFile.mayCreate) {
    throw new KeyrowError("CONFIG_INVALID", {
      message:
        "KEYROW_KEY_FILE: it is not set; with ADMIN_DATABASE_URL give the path of the key file that the servers have",
      hint: "Values are sealed and opened here, so the command runs where the keys are.",
    });
  }
  return createKeyring((await readKeyFile(keyFile.path)).map(createLocalCipher));
}
