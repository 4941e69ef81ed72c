import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { createDurably } from "./durable-file.ts";
import { KeyrowError } from "./errors.ts";
import { parseJson } from "./json.ts";
import { type Flaw, FlawedFile, readPrivateFile } from "./private-file.ts";

const password = z.string().regex(/^[A-Za-z0-9_-]{43}$/);

const format = z.strictObject({
  version: z.literal(1),
  // Its text is the secret (the bytes of it in UTF-8), so that as JWT_SECRET it verifies the same tokens.
  jwtSecret: z.string().regex(/^[A-Za-z0-9_-]{64}$/),
  postgres: z.strictObject({
    superuser: password,
    keyrow_authenticator: password,
    keyrow_worker: password,
    keyrow_migrate: password,
  }),
});

/** The secrets that embedded mode makes for itself: base64url texts, of 48 random bytes (tokens) and 32 (passwords). */
export type EmbeddedSecrets = Readonly<z.infer<typeof format>>;

const FILE = "secrets.json";
const MAX_FILE_BYTES = 64 * 1024;
const RESTORE = "Restore it from a backup: the embedded PostgreSQL knows the passwords in it and no others.";

/**
 * The secrets of a data directory, made at the first call (directory and all); of two calls at once both get the same.
 * Throws DATA_DIRECTORY, which says what is wrong and the remedy, never what the file holds.
 */
export async function embeddedSecrets(directory: string): Promise<EmbeddedSecrets> {
  const present = await readSecrets(directory);
  if (present) return present;
  await createFile(directory, newSecrets());
  const made = await readSecrets(directory);
  if (made) return made;
  throw fault(directory, `lost its ${FILE} while it was read`, "Leave the directory to one process at a time.");
}

/** The secrets of a data directory, or undefined where there are none yet; makes nothing, throws DATA_DIRECTORY. */
export async function readSecrets(directory: string): Promise<EmbeddedSecrets | undefined> {
  try {
    // In a directory that others may write to, somebody could have put their own secrets here before the first start.
    const owners = async () => [await ownerOf(directory)];
    return parse(directory, await readPrivateFile(join(directory, FILE), MAX_FILE_BYTES, owners));
  } catch (error) {
    if (error instanceof FlawedFile) throw flawed(directory, error.flaw);
    if (errno(error) === "ENOENT") return undefined;
    throw error instanceof KeyrowError ? error : fileFault(directory, error);
  }
}

function flawed(directory: string, flaw: Flaw): KeyrowError {
  const path = join(directory, FILE);
  switch (flaw) {
    case "is not a file":
      return fault(directory, `holds a ${FILE} that is not a file`, `Move away ${path}.`);
    case "is open to others":
      return fault(directory, `holds a ${FILE} that others may open`, `Run: chmod 600 ${path}`);
    case "is too large":
      return fault(directory, `holds a ${FILE} that is too large to be one`, RESTORE);
    case "is another user's":
      return fault(directory, `holds a ${FILE} of another user`, "Use a directory that is yours alone.");
  }
}

async function ownerOf(directory: string): Promise<number> {
  const handle = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const { mode, uid } = await handle.stat();
    const anyoneMayReplace = (mode & 0o002) !== 0 && (mode & 0o1000) === 0;
    if (anyoneMayReplace) throw fault(directory, "may be written to by everybody", `Run: chmod o-w ${directory}`);
    return uid;
  } finally {
    await handle.close();
  }
}

function parse(directory: string, text: string): EmbeddedSecrets {
  let file: unknown;
  try {
    file = parseJson(text);
  } catch {
    throw fault(directory, `holds a damaged ${FILE} (it is not JSON)`, RESTORE);
  }
  const result = format.safeParse(file);
  if (result.success) return result.data;
  // The place alone, and only where it is a name of ours: the rest may be a secret that slipped.
  const place = result.error.issues[0]?.path.join(".") || "its fields";
  throw fault(directory, `holds a damaged ${FILE} (${place})`, RESTORE);
}

function newSecrets(): EmbeddedSecrets {
  const random = (bytes: number) => randomBytes(bytes).toString("base64url");
  return {
    version: 1,
    jwtSecret: random(48),
    postgres: {
      superuser: random(32),
      keyrow_authenticator: random(32),
      keyrow_worker: random(32),
      keyrow_migrate: random(32),
    },
  };
}

/** Puts the file there whole or not at all, on the disk when it returns; where one is already, that one stays. */
async function createFile(directory: string, secrets: EmbeddedSecrets): Promise<void> {
  try {
    // Others may pass through but not look around: PostgreSQL, which never runs as root, has its own directory inside.
    await mkdir(directory, { recursive: true, mode: 0o711 });
    await createDurably(join(directory, FILE), `${JSON.stringify(secrets, null, 2)}\n`);
  } catch (error) {
    if (errno(error) !== "EEXIST") throw fileFault(directory, error);
  }
}

function fault(directory: string, what: string, hint: string): KeyrowError {
  return new KeyrowError("DATA_DIRECTORY", { message: `The data directory ${directory} ${what}.`, hint });
}

function fileFault(directory: string, error: unknown): KeyrowError {
  const code = errno(error);
  switch (code) {
    case "ELOOP":
      return fault(directory, `holds a ${FILE} that is a link`, "Put the file itself there.");
    case "EEXIST":
    case "ENOTDIR":
      return fault(directory, "is not a directory", "Set KEYROW_DATA_DIR to the path of a directory.");
    case "EACCES":
    case "EPERM":
    case "EROFS":
      return fault(
        directory,
        `can't be used by this user (${code})`,
        "Make this user its owner, or set KEYROW_DATA_DIR to a directory of theirs.",
      );
    default:
      return fault(directory, `can't be used (${code})`, "Check the path and the space on the disk.");
  }
}

function errno(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? "unknown error";
}
