import type { IncomingMessage, ServerResponse } from "node:http";
import type {} from "postgraphile";

/** Answers a request by itself; true where it did. */
export type Page = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;

const paths = /^\/(graphiql$|ruru-static\/|graphql\/stream$)/;
const loopback = new Set(["localhost", "127.0.0.1", "[::1]"]);
const local = /^(::ffff:)?127\.|^::1$/;

// Its scripts and styles stand in the page, its editor works in workers, and it talks to this server alone.
const contentSecurityPolicy = [
  "default-src 'self'",
  "script-src 'self' 'unsafe-inline'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "worker-src 'self' blob:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/**
 * Serves GraphiQL, its files and, while watching, its event stream. The page holds the demo's token: it goes to whoever
 * comes from this machine (a Host header is anybody's to write) and addresses it by a loopback name, so that no name
 * that was made to point here gets it.
 */
export function graphiqlPage(handle: (request: IncomingMessage, response: ServerResponse) => unknown): Page {
  return async (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0] as string;
    if (!paths.test(path) || request.method !== "GET") return false;
    const name = (request.headers.host ?? "").replace(/:\d+$/, "").toLowerCase();
    if (!loopback.has(name) || !local.test(request.socket.remoteAddress ?? "")) return false;
    response.setHeader("cache-control", "no-store");
    response.setHeader("referrer-policy", "no-referrer");
    response.setHeader("x-frame-options", "DENY");
    response.setHeader("content-security-policy", contentSecurityPolicy);
    await handle(request, response);
    return true;
  };
}

const firstQuery = `# Add "value" to reveal, on the record.
{
  currentUser {
    name
  }
  userCredentials {
    nodes {
      provider
      name
      scope
      maskedValue
    }
  }
}
`;

// GraphiQL asks for the schema before it has read its own headers. What somebody typed there stays.
const sendToken = `<script>
const send = globalThis.fetch;
globalThis.fetch = (input, options) => {
  const request = new Request(input, options);
  const { Authorization } = JSON.parse(RURU_CONFIG.initialHeaders ?? "{}");
  const own = new URL(request.url).origin === location.origin;
  if (own && Authorization && !request.headers.has("authorization")) request.headers.set("authorization", Authorization);
  return send(request);
};
</script>`;

/** GraphiQL's first query, ready to run where there is a token to give away. */
export function graphiqlConfig(token: string | undefined): NonNullable<GraphileConfig.Preset["ruru"]> {
  const clientConfig = {
    defaultQuery: firstQuery,
    ...(token !== undefined && { initialHeaders: JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2) }),
  };
  return {
    htmlParts: { titleTag: "<title>Keyrow: GraphiQL</title>", headerScripts: (scripts) => `${scripts}\n${sendToken}` },
    // Its type wants every field there is.
    clientConfig: clientConfig as NonNullable<NonNullable<GraphileConfig.Preset["ruru"]>["clientConfig"]>,
  };
}
