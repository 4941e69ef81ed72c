import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { TransitKey } from "../../cipher/openbao/access.ts";
import { createDurably, syncDirectory } from "../../durable-file.ts";
import { KeyrowError } from "../../errors.ts";
import { makeDirectory } from "../lock.ts";

/** The name of OpenBao's own directory in a data directory. */
export const OPENBAO = "openbao";

/** The names in it that others need to know. */
export const RAFT = "raft";
export const SEAL_KEY = "seal.key";
const CREDENTIALS = "credentials.json";

// Left until the first start is complete: until then nothing can have been sealed.
const FIRST_START = "first-start";

const secret = z.string().regex(/^[A-Za-z0-9_-]{43}$/);
const role = z.strictObject({ roleId: secret, secretId: secret });
const format = z.strictObject({
  version: z.literal(1),
  transitKey: z.strictObject({ mount: z.string(), key: z.string() }),
  server: role,
  operator: role,
});

/** Who may log in at the OpenBao of a data directory, and to use which key: ids of 32 random bytes in base64url. */
export type Credentials = Readonly<z.infer<typeof format>>;

/** An OpenBao's directory, ready for a start. */
export interface Home {
  readonly path: string;
  readonly credentials: Credentials;
  /** Whether nothing has been sealed in it yet, so that OpenBao still has to set itself up. */
  readonly isFirst: boolean;
}

/**
 * Makes what is missing in OpenBao's directory at the first start, and after a first start that was killed begins anew.
 * Throws EMBEDDED_OPENBAO where something is lost that can't be made again, and file system errors as they are.
 */
export async function prepareHome(path: string, transitKey: TransitKey): Promise<Home> {
  makeDirectory(path);
  const marker = join(path, FIRST_START);
  const lasting = [RAFT, SEAL_KEY, CREDENTIALS];
  const lost = lasting.filter((name) => !existsSync(join(path, name)));
  if (lost.length === lasting.length) await createUnlessThere(marker, "");
  const isFirst = existsSync(marker);
  if (isFirst) {
    await rm(join(path, RAFT), { recursive: true, force: true });
    await createUnlessThere(join(path, SEAL_KEY), randomBytes(32));
    await createUnlessThere(join(path, CREDENTIALS), `${JSON.stringify(newCredentials(transitKey), null, 2)}\n`);
    makeDirectory(join(path, RAFT));
  } else if (lost.length > 0) {
    throw fault(
      `The OpenBao in ${path} has lost its ${lost.join(" and ")}.`,
      "Restore the whole directory from a backup: what it sealed can't be opened by a new one.",
    );
  }
  await refuseOpen(path);
  const credentials = await readCredentials(path);
  checkKey(path, credentials.transitKey, transitKey);
  return { path, credentials, isFirst };
}

/** Says, on the disk when it returns, that the first start is complete. */
export async function completeFirstStart(path: string): Promise<void> {
  await rm(join(path, FIRST_START));
  await syncDirectory(path);
}

/** The credentials in OpenBao's directory. Throws EMBEDDED_OPENBAO, which never says what the file holds. */
export async function readCredentials(path: string): Promise<Credentials> {
  const text = await readFile(join(path, CREDENTIALS), "utf8");
  try {
    return format.parse(JSON.parse(text));
  } catch {
    // Its cause is dropped: it quotes what it could not read.
    throw fault(
      `The file ${join(path, CREDENTIALS)} is damaged.`,
      "Restore it from a backup: OpenBao knows no others.",
    );
  }
}

/** Whoever reads these has the keys. */
async function refuseOpen(path: string): Promise<void> {
  const places = [[path, "700"] as const, ...[SEAL_KEY, CREDENTIALS].map((name) => [join(path, name), "600"] as const)];
  for (const [place, mode] of places) {
    if ((await stat(place)).mode & 0o077)
      throw fault(`${place} is open to other users.`, `Run: chmod ${mode} ${place}`);
  }
}

function newCredentials(transitKey: TransitKey): Credentials {
  const random = () => randomBytes(32).toString("base64url");
  const newRole = () => ({ roleId: random(), secretId: random() });
  return { version: 1, transitKey, server: newRole(), operator: newRole() };
}

async function createUnlessThere(path: string, contents: string | Uint8Array): Promise<void> {
  try {
    await createDurably(path, contents);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}

/** A key by another name would have to be made by somebody who may: nobody may any more. */
function checkKey(path: string, has: TransitKey, wanted: TransitKey): void {
  if (has.mount === wanted.mount && has.key === wanted.key) return;
  throw fault(
    `The OpenBao in ${path} has the key ${has.key} in ${has.mount}, and the settings name another.`,
    `Set KEYROW_TRANSIT_MOUNT=${has.mount} and KEYROW_TRANSIT_KEY=${has.key}, or unset both where they are the defaults.`,
  );
}

function fault(message: string, hint: string): KeyrowError {
  return new KeyrowError("EMBEDDED_OPENBAO", { message, hint });
}
