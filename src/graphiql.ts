import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type {} from "postgraphile";
import type {} from "postgraphile/grafserv/node";
import { type Answer, notAllowed } from "./answer.ts";
import type { Log } from "./log.ts";
import { version } from "./version.ts";

/** Answers a request by itself, or gives the answer to send; undefined where the request is not for it. */
export type Page = (
  request: IncomingMessage,
  response: ServerResponse,
  log: Log,
) => Promise<"answered" | Answer | undefined>;

const paths = /^\/(graphiql$|ruru-static\/|graphql\/stream$)/;
const loopback = new Set(["localhost", "127.0.0.1", "[::1]"]);
const local = /^(::ffff:)?127\.|^::1$/;

// It talks to this server alone, its editor works in workers, and styles itself as it goes.
const contentSecurityPolicy = (inline: readonly string[]) =>
  [
    "default-src 'none'",
    `script-src ${["'self'", ...inline].join(" ")}`,
    "style-src 'self' 'unsafe-inline'",
    "img-src data:",
    "font-src 'self' data:",
    "connect-src 'self'",
    "worker-src 'self'",
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
  return async (request, response, log) => {
    const path = (request.url ?? "").split("?", 1)[0] as string;
    if (!paths.test(path)) return undefined;
    const name = (request.headers.host ?? "").replace(/:\d+$/, "").toLowerCase();
    if (!loopback.has(name) || !local.test(request.socket.remoteAddress ?? "")) return undefined;
    if (request.method !== "GET") return notAllowed(["GET"], log);
    response.setHeader("cache-control", "no-store");
    response.setHeader("referrer-policy", "no-referrer");
    response.setHeader("x-frame-options", "DENY");
    response.setHeader("content-security-policy", contentSecurityPolicy([]));
    await handle(request, response);
    return "answered";
  };
}

/** Lets the scripts that stand in GraphiQL's page run, by their hashes, and no other inline one. */
export const GraphiqlPolicyPlugin: GraphileConfig.Plugin = {
  name: "GraphiqlPolicyPlugin",
  description: "Names the page's own inline scripts in its Content-Security-Policy",
  version,
  grafserv: {
    middleware: {
      async ruruHTML(next, { request }) {
        const html = await next();
        const scripts = [...html.matchAll(/<script[^>]*>(.*?)<\/script>/gs)].map(([, text = ""]) => text);
        const hashes = scripts.map((text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`);
        request.requestContext.node?.res.setHeader("content-security-policy", contentSecurityPolicy(hashes));
        return html;
      },
    },
  },
};

const firstQuery = `# Add "value" to reveal, on the record.
query Credentials {
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

// GraphiQL asks for the schema before it has read its own headers. What somebody typed there stays. And it would keep
// what is typed on disk, for good: documents with values in them, and tokens. A reload forgets them here.
const ownScript = `<script>
const send = globalThis.fetch;
globalThis.fetch = (input, options) => {
  const request = new Request(input, options);
  const { Authorization } = JSON.parse(RURU_CONFIG.initialHeaders ?? "{}");
  const own = new URL(request.url).origin === location.origin;
  if (own && Authorization && !request.headers.has("authorization")) request.headers.set("authorization", Authorization);
  return send(request);
};
const memory = Object.create({
  getItem(key) { return this[key] ?? null; },
  setItem(key, value) { this[key] = String(value); },
  removeItem(key) { delete this[key]; },
});
Object.defineProperty(globalThis, "localStorage", { value: memory });
</script>`;

// A browser would ask for one that is not there.
const noIcon = '<link rel="icon" href="data:,">';

/** GraphiQL's first query, ready to run where there is a token to give away. */
export function graphiqlConfig(token: string | undefined): NonNullable<GraphileConfig.Preset["ruru"]> {
  const clientConfig = {
    defaultQuery: firstQuery,
    ...(token !== undefined && { initialHeaders: JSON.stringify({ Authorization: `Bearer ${token}` }, null, 2) }),
  };
  return {
    htmlParts: {
      titleTag: `<title>Keyrow: GraphiQL</title>${noIcon}`,
      headerScripts: (scripts) => `${scripts}\n${ownScript}`,
    },
    // Its type wants every field there is.
    clientConfig: clientConfig as NonNullable<NonNullable<GraphileConfig.Preset["ruru"]>["clientConfig"]>,
  };
}
