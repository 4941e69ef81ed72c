import { isLoopback } from "../client/loopback.ts";
import { onlyWorkspace } from "../client/names.ts";
import { type Client, keyrow } from "../client.ts";
import { KeyrowError } from "../errors.ts";
import { UUID } from "../uuid.ts";
import { given, namesProxy } from "./environment.ts";
import { readText } from "./files.ts";
import { type Login, storedLogin } from "./login.ts";

/** How a command reaches the server. */
export interface ConnectOptions {
  readonly cacert?: string | undefined;
  readonly timeout?: string | undefined;
  readonly allowHttp?: boolean | undefined;
}

/** A server, the token for it, and where they are from. */
export interface Session extends Login {
  readonly from: "environment" | "login";
}

/**
 * The session of a command: KEYROW_URL and KEYROW_TOKEN where they are set, else what `keyrow login` has kept. A token
 * that is kept goes to its own server alone. Throws USAGE where no server is known, UNAUTHENTICATED where no token is.
 */
export async function findSession(): Promise<Session> {
  const { url, token } = given();
  if (url !== undefined && token !== undefined) return { url, token, allowHttp: false, from: "environment" };
  const stored = await storedLogin();
  if (token !== undefined && stored !== undefined) return { ...stored, token, from: "environment" };
  if (stored !== undefined && (url === undefined || url === stored.url)) return { ...stored, from: "login" };
  if (url === undefined) {
    throw new KeyrowError("USAGE", { message: "No server is named.", hint: "Run `keyrow login`, or set KEYROW_URL." });
  }
  throw new KeyrowError("UNAUTHENTICATED", {
    message: "There is no token for the server of KEYROW_URL.",
    hint: "Set KEYROW_TOKEN, or run `keyrow login`.",
  });
}

/** A client of the command's session. */
export async function connect(options: ConnectOptions): Promise<Client> {
  return clientOf(await findSession(), options);
}

/** A client of a server: through the proxy that the environment names, and trusting the authority that `cacert` has. */
export async function clientOf({ url, token, allowHttp }: Login, options: ConnectOptions): Promise<Client> {
  const through = await fetchFor(url, options.cacert);
  return keyrow({
    url,
    token,
    timeout: secondsOf(options.timeout) * 1000,
    allowHttp: allowHttp || options.allowHttp === true,
    ...(through !== undefined && { fetch: through }),
  });
}

function secondsOf(text = "30"): number {
  if (/^\d{1,4}$/.test(text) && Number(text) > 0) return Number(text);
  throw new KeyrowError("USAGE", {
    message: "The value of --timeout is not a number of seconds.",
    hint: "Give a number from 1 to 9999.",
  });
}

/** Another `fetch` where one is needed: Node's own knows neither proxies nor another authority. */
async function fetchFor(url: string, cacert: string | undefined): Promise<typeof fetch | undefined> {
  if (cacert === undefined && !namesProxy()) return undefined;
  const ca = cacert === undefined ? undefined : await authority(cacert);
  const undici = await import("undici");
  const tls = ca === undefined ? {} : { ca };
  // To a proxy this machine's loopback is its own, and plain http would hand it the token.
  const dispatcher =
    URL.canParse(url) && isLoopback(new URL(url).hostname)
      ? new undici.Agent({ connect: tls })
      : new undici.EnvHttpProxyAgent({ connect: tls, requestTls: tls, proxyTls: tls });
  const through = (url: string, init: object) => undici.fetch(url, { ...init, dispatcher });
  // Its types and those of Node differ in what is not used here.
  return through as unknown as typeof fetch;
}

async function authority(path: string): Promise<string> {
  const pem = await readText(path).catch(() => "");
  if (pem.includes("-----BEGIN CERTIFICATE-----")) return pem;
  throw new KeyrowError("USAGE", {
    message: "The file of --cacert can't be read, or holds no certificate.",
    hint: "Give a PEM file of the authority that signed the server's certificate.",
  });
}

/** The id of the workspace that an option names, by its id or name. Throws NOT_FOUND, or USAGE where two have the name. */
export async function workspaceId(client: Client, named: string | undefined): Promise<string | undefined> {
  if (named === undefined || UUID.test(named)) return named?.toLowerCase();
  return onlyWorkspace(await client.workspacesNamed(named));
}
