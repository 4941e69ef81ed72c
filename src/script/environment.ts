import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import { KeyrowError } from "../errors.ts";

/** What commands for scripts read of the environment, which the server's settings don't know. */
export const scriptVariables = {
  KEYROW_URL: "the server's address",
  KEYROW_TOKEN: "the token",
} as const;

type Environment = Readonly<Record<string, string | undefined>>;

/** The server and token that the environment names; an empty variable is an unset one. */
export function given(env: Environment = process.env): { url: string | undefined; token: string | undefined } {
  return { url: env.KEYROW_URL || undefined, token: env.KEYROW_TOKEN || undefined };
}

/** The user's directory for settings: absolute. Throws CONFIG_INVALID where there is none. */
export function configDirectory(env: Environment = process.env): string {
  const { APPDATA, XDG_CONFIG_HOME = "" } = env;
  if (process.platform === "win32" && APPDATA) return join(APPDATA, "keyrow");
  // A relative path is to be ignored (XDG Base Directory Specification).
  return join(XDG_CONFIG_HOME.startsWith("/") ? XDG_CONFIG_HOME : join(home(), ".config"), "keyrow");
}

function home(): string {
  try {
    const path = homedir();
    // An empty HOME would be the working directory, and a login that somebody else has put there.
    if (isAbsolute(path)) return path;
  } catch {
    // A user whom the system does not know has none.
  }
  throw new KeyrowError("CONFIG_INVALID", {
    message: "There is no home directory in which a login could be kept.",
    hint: "Set KEYROW_URL and KEYROW_TOKEN; or HOME or XDG_CONFIG_HOME to an absolute path.",
  });
}

/** Whether requests may have to go through a proxy. */
export function namesProxy(env: Environment = process.env): boolean {
  return ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"].some((name) => Boolean(env[name]));
}

/** What a variable is set to already; an empty one is an unset one. */
export function alreadySet(variable: string, env: Environment = process.env): string | undefined {
  return env[variable] || undefined;
}

/** Refuses to go on where Node itself would print what passes through it, as `NODE_DEBUG` tells it to. Throws USAGE. */
export function refuseDebugOf(
  section: "stream" | "child_process",
  { NODE_DEBUG = "" }: Environment = process.env,
): void {
  if (!NODE_DEBUG.toLowerCase().includes(section) && !NODE_DEBUG.includes("*")) return;
  throw new KeyrowError("USAGE", { message: `NODE_DEBUG would print values (${section}).`, hint: "Unset it." });
}

/** The environment of a child with these variables, and without the token that fetched them unless it is wanted. */
export function childEnvironment(
  variables: Environment,
  keepToken: boolean,
  env: Environment = process.env,
): Record<string, string> {
  const { KEYROW_TOKEN: token, ...others } = env;
  const all: Environment = { ...others, ...(keepToken && { KEYROW_TOKEN: token }), ...variables };
  return Object.fromEntries(
    Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
