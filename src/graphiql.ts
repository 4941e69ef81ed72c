import type { IncomingMessage, ServerResponse } from "node:http";

/** Answers a request by itself; true where it did. */
export type Page = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;

const paths = /^\/(graphiql$|ruru-static\/|graphql\/stream$)/;
const loopback = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * Serves GraphiQL, its files and, while watching, its event stream. The page holds the demo's token: it goes to whoever
 * addresses this machine by a loopback name, so that no name that was made to point here gets it.
 */
export function graphiqlPage(handle: (request: IncomingMessage, response: ServerResponse) => unknown): Page {
  return async (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0] as string;
    if (!paths.test(path) || request.method !== "GET") return false;
    const name = (request.headers.host ?? "").replace(/:\d+$/, "").toLowerCase();
    if (!loopback.has(name)) return false;
    response.setHeader("cache-control", "no-store");
    response.setHeader("referrer-policy", "no-referrer");
    response.setHeader("x-frame-options", "DENY");
    await handle(request, response);
    return true;
  };
}
