import type { IncomingMessage } from "node:http";

/** Headers of an answer by name. */
type Headers = Readonly<Record<string, string>>;

/** What pages of other origins may do (the Fetch standard, section 3.3). */
export interface Cors {
  /** The headers that let the page read the answer; of an origin that is not named, none that do. */
  headers(request: IncomingMessage): Headers;
  /** The headers of the answer to a preflight; undefined for an origin that is not named. */
  preflight(request: IncomingMessage): Headers | undefined;
}

const PREFLIGHT_SECONDS = "600";

/** Makes the rules of exact origins. A token comes in a header, so no cookies are ever allowed along. */
export function createCors(origins: readonly string[]): Cors {
  const named = new Set(origins);
  // A cache must not give one origin's answer to another.
  const vary = named.size > 0 ? { vary: "Origin" } : {};
  const allowed = (request: IncomingMessage): Headers | undefined => {
    const { origin } = request.headers;
    if (origin === undefined || !named.has(origin)) return undefined;
    return { ...vary, "access-control-allow-origin": origin };
  };
  return {
    headers: (request) => {
      const headers = allowed(request);
      return headers === undefined
        ? vary
        : { ...headers, "access-control-expose-headers": "retry-after, www-authenticate, x-request-id" };
    },
    preflight: (request) => {
      const headers = allowed(request);
      return (
        headers && {
          ...headers,
          "access-control-allow-methods": "POST",
          "access-control-allow-headers": "accept, authorization, content-type, x-request-id",
          "access-control-max-age": PREFLIGHT_SECONDS,
        }
      );
    },
  };
}

/** Whether a browser asks, before it sends the request of a page, whether it may. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return method === "OPTIONS" && headers.origin !== undefined && headers["access-control-request-method"] !== undefined;
}
