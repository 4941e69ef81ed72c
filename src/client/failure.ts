import { catalogue, type ErrorCode, KeyrowError } from "../errors.ts";

/** An error as GraphQL answers carry it. */
export interface AnsweredError {
  readonly message?: unknown;
  readonly path?: ReadonlyArray<string | number>;
  readonly extensions?: { readonly code?: unknown; readonly hint?: unknown };
}

/** An error that the server answered; one whose code this version does not know is INTERNAL, in its own words. */
export function answeredError(
  { message, extensions }: AnsweredError,
  { about = "", status }: { about?: string; status?: number } = {},
): KeyrowError {
  const { code, hint } = extensions ?? {};
  const known = typeof code === "string" && Object.hasOwn(catalogue, code) ? (code as ErrorCode) : "INTERNAL";
  const text = typeof message === "string" ? message : catalogue[known].message;
  return new KeyrowError(known, {
    message: cut(
      about === "" ? text : `${about}: ${text.replace(/^[A-Z](?=[a-z ])/, (letter) => letter.toLowerCase())}`,
    ),
    ...(typeof hint === "string" && { hint: cut(hint) }),
    ...(status !== undefined && { status }),
  });
}

/** A page of an answer as it was asked for; throws NO_KEYROW for anything else, for a server can answer what it likes. */
export function asPage<T extends { readonly nodes: readonly unknown[]; readonly pageInfo: object }>(page: T): T {
  if (Array.isArray(page?.nodes) && page.pageInfo) return page;
  throw new KeyrowError("NO_KEYROW");
}

/** A text as far as somebody would read it. */
function cut(text: string): string {
  return text.length > 1_000 ? `${text.slice(0, 1_000)}…` : text;
}

// What says that a connection never came about, so that nothing was sent.
const neverSent = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** The codes that Node and undici give a failed `fetch`; a browser gives none. */
function codesOf(error: unknown): string[] {
  const { code, cause, errors = [] } = (error ?? {}) as { code?: unknown; cause?: unknown; errors?: unknown[] };
  const deeper = [...(cause === undefined ? [] : [cause]), ...errors].flatMap(codesOf);
  return typeof code === "string" ? [code, ...deeper] : deeper;
}

/** Whether a failed `fetch` has sent nothing. */
export function wasNeverSent(error: unknown): boolean {
  const codes = codesOf(error);
  return codes.length > 0 && codes.some((code) => neverSent.has(code));
}

/** The error for a `fetch` that failed: its reason by code alone, for a message may hold an address with a password. */
export function unreachable(error: unknown): KeyrowError {
  const code = codesOf(error).find((one) => /^[A-Z][A-Z0-9_]{1,40}$/.test(one));
  const certificate = code !== undefined && /CERT|SELF_SIGNED|SIGNATURE|UNABLE_TO_/.test(code);
  return new KeyrowError("SERVER_UNREACHABLE", {
    ...(code !== undefined && { message: `The server can't be reached (${code}).` }),
    hint: certificate
      ? "Name the authority that signed the server's certificate: --cacert or NODE_EXTRA_CA_CERTS."
      : "Look at the address, the network and the proxy.",
    cause: error,
  });
}

/** The error for what is no answer of GraphQL, such as a proxy's page; nothing of it is repeated. */
export function noAnswer(status: number): KeyrowError {
  const message = `What answered is no Keyrow (HTTP status ${status}).`;
  // A proxy says so while the server behind it is away, or asked too much.
  if ([429, 502, 503, 504].includes(status)) return new KeyrowError("SERVER_UNREACHABLE", { message, status });
  return new KeyrowError("NO_KEYROW", { message });
}
