import { mkdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { replaceDurably } from "../durable-file.ts";
import { KeyrowError } from "../errors.ts";
import { FlawedFile, readPrivateFile } from "../private-file.ts";
import { configDirectory } from "./environment.ts";

/** A server, and the token for it. */
export interface Login {
  readonly url: string;
  readonly token: string;
  readonly allowHttp: boolean;
}

// A server takes no token of more than 8 KiB.
const MAX_FILE_BYTES = 64 * 1024;

const file = () => join(configDirectory(), "login.json");

/** Keeps a login in the user's settings, for them alone; gives the file's path. Throws CONFIG_INVALID. */
export async function storeLogin(login: Login): Promise<string> {
  const path = file();
  try {
    await mkdir(configDirectory(), { recursive: true, mode: 0o700 });
    await replaceDurably(path, `${JSON.stringify(login)}\n`);
    return path;
  } catch (cause) {
    throw unusable(
      `${path} can't be written (${(cause as NodeJS.ErrnoException).code}).`,
      "Set XDG_CONFIG_HOME.",
      cause,
    );
  }
}

/** The login that is kept; undefined where there is none. Throws CONFIG_INVALID where it is not this user's alone. */
export async function storedLogin(): Promise<Login | undefined> {
  const path = file();
  try {
    const { url, token, allowHttp } = JSON.parse(await readPrivateFile(path, MAX_FILE_BYTES)) as Partial<Login>;
    if (typeof url === "string" && typeof token === "string") return { url, token, allowHttp: allowHttp === true };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    if (cause instanceof FlawedFile && cause.flaw === "is open to others") {
      throw unusable(`${path} ${cause.flaw}.`, "Run chmod 600 on it, and think about a new token.");
    }
    if (cause instanceof FlawedFile && cause.flaw === "is another user's") {
      throw unusable(`${path} ${cause.flaw}.`, "Run `keyrow login` as this user, or set KEYROW_URL and KEYROW_TOKEN.");
    }
  }
  throw unusable(`${path} can't be read.`, "Run `keyrow login` again.");
}

/** Forgets the login; whether there was one. Throws CONFIG_INVALID. */
export async function forgetLogin(): Promise<boolean> {
  const path = file();
  try {
    await unlink(path);
    return true;
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return false;
    throw unusable(`${path} can't be removed (${code}).`, "Look at the mode of its directory.", cause);
  }
}

function unusable(message: string, hint: string, cause?: unknown): KeyrowError {
  return new KeyrowError("CONFIG_INVALID", { message, hint, cause });
}
