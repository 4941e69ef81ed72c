import { lstat, mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { replaceDurably } from "../durable-file.ts";
import { KeyrowError } from "../errors.ts";
import { configDirectory } from "./environment.ts";

/** A server, and the token for it. */
export interface Login {
  readonly url: string;
  readonly token: string;
  readonly allowHttp: boolean;
}

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

/** The login that is kept; undefined where there is none. Throws CONFIG_INVALID where others can read it. */
export async function storedLogin(): Promise<Login | undefined> {
  const path = file();
  try {
    const { mode, isFile } = await lstat(path).then((stat) => ({ mode: stat.mode, isFile: stat.isFile() }));
    if (!isFile || (process.platform !== "win32" && (mode & 0o077) !== 0)) {
      throw unusable(`${path} is open to others.`, `Run chmod 600 on it, and think about a new token.`);
    }
    const { url, token, allowHttp } = JSON.parse(await readFile(path, "utf8")) as Partial<Login>;
    if (typeof url === "string" && typeof token === "string") return { url, token, allowHttp: allowHttp === true };
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    if (cause instanceof KeyrowError) throw cause;
  }
  throw unusable(`${path} can't be read.`, "Run `keyrow login` again.");
}

/** Forgets the login; whether there was one. */
export async function forgetLogin(): Promise<boolean> {
  const there = await lstat(file()).then(
    () => true,
    () => false,
  );
  await rm(file(), { force: true });
  return there;
}

function unusable(message: string, hint: string, cause?: unknown): KeyrowError {
  return new KeyrowError("CONFIG_INVALID", { message, hint, cause });
}
