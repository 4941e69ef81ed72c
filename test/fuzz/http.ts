import * as fc from "fast-check";
import { type Draw, once, pick, several } from "./draw.ts";
import { json, text } from "./values.ts";

/** A request as it goes over the wire. */
export interface FuzzMessage {
  readonly method: string;
  readonly path: string;
  readonly headers: Record<string, string | string[]>;
  readonly body: Buffer;
}

const introspection = "{ __schema { types { name fields { name args { name } } } } }";

/** Bodies that are no GraphQL request, or almost none: bytes, JSON of other forms, JSON that is broken. */
export const bodies: fc.Arbitrary<Buffer> = fc.gen().map((draw) => {
  const kinds: Array<() => Buffer> = [
    () => Buffer.from(draw(fc.uint8Array, { maxLength: 64 })),
    () => Buffer.from(JSON.stringify(json(draw))),
    () => Buffer.from(JSON.stringify(fields(draw))),
    () => broken(draw, Buffer.from(JSON.stringify(fields(draw)))),
    () =>
      Buffer.from(
        `{"query":"{ __typename }","variables":{"a":${pick(draw, ["1e400", "-0", "01", "1.", "[".repeat(9000)])}}}`,
      ),
    () => Buffer.from(`{"query":"{ __typename }","query":${JSON.stringify(text(draw))}}`),
    () => Buffer.from(`${pick(draw, ["\ufeff", " ", "\0", "//\n", "["])}${JSON.stringify({ query: introspection })}`),
    () => Buffer.from(JSON.stringify({ query: introspection }), pick(draw, ["utf16le", "latin1", "base64"])),
  ];
  return pick(draw, kinds)();
});

function fields(draw: Draw): unknown {
  const names = ["query", "variables", "operationName", "extensions", "id", "__proto__", "documentId", text(draw)];
  const any = () =>
    pick<unknown>(draw, [null, 1, true, text(draw), [text(draw)], json(draw), introspection, "{__typename}"]);
  return Object.fromEntries(several(draw, 1, 4, () => [pick(draw, names), any()]));
}

/** Some bytes of it changed, or its end missing. */
function broken(draw: Draw, bytes: Buffer): Buffer {
  for (const at of several(draw, 1, 3, () => draw(fc.nat, { max: bytes.length - 1 }))) {
    bytes[at] = draw(fc.nat, { max: 255 });
  }
  return once(draw, 3) ? bytes.subarray(0, draw(fc.nat, { max: bytes.length })) : bytes;
}

const contentTypes = [
  ...[
    "application/json",
    "APPLICATION/JSON; charset=UTF-8",
    'application/json;charset="utf-8"',
    "application/json; charset=utf-16",
  ],
  ...[
    "application/json; boundary=x",
    "application/graphql",
    "application/graphql-response+json",
    "text/plain",
    "",
    ";",
    "/",
  ],
  ...[
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/json, text/plain",
    "a".repeat(2_000),
  ],
  ...["application/json;charset=utf-8;charset=latin1", "application/json;;;", "application/*", "*/*"],
];
const accepted = [
  ...[
    "*/*",
    "application/json",
    "application/graphql-response+json",
    "application/graphql-response+json;q=0",
    "text/html",
  ],
  ...["", ",", ";", "application/*", "application/json;q=0.1, text/html", "application/json,".repeat(500), "\u00ff"],
];
const methods = ["POST", "POST", "POST", "POST", "GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "TRACE"];
const paths = [
  ...["/graphql", "/graphql", "/graphql", "/graphql?query={__typename}", "/graphql/", "//graphql", "/graphql%00", "/"],
  ...[
    "/healthz",
    "/readyz",
    "/graphiql",
    "/constructor",
    "/__proto__",
    "/../etc/passwd",
    "/%",
    "/?",
    "*",
    "http://x/graphql",
  ],
];

/** Requests whose method, path and headers may be anything; `tokens` are good ones. */
export function messages(tokens: readonly string[]): fc.Arbitrary<FuzzMessage> {
  return fc.gen().map((draw) => {
    const [token = ""] = tokens;
    const mangled = () => {
      const at = draw(fc.nat, { max: token.length - 1 });
      return (
        token.slice(0, at) + pick(draw, ["", "x", ".", " ", "=", "é"]) + token.slice(at + draw(fc.nat, { max: 2 }))
      );
    };
    const authorizations: Array<() => string | string[] | undefined> = [
      () => `Bearer ${pick(draw, tokens)}`,
      () => `Bearer ${pick(draw, tokens)}`,
      () => `Bearer ${mangled()}`,
      () =>
        pick(draw, ["bearer ", "BEARER  ", "Basic ", "", "Bearer Bearer "]) + pick(draw, [token, "x", "Og==", ".."]),
      () => [`Bearer ${token}`, `Bearer ${token}`],
      () => pick(draw, ["Bearer", "Bearer ", "Bearer\t", "null", "Bearer eyJhbGciOiJub25lIn0.e30.", "x".repeat(9_000)]),
      () => undefined,
    ];
    const authorization = pick(draw, authorizations)();
    const headers: FuzzMessage["headers"] = {
      ...(authorization !== undefined && { authorization }),
      ...(!once(draw, 8) && { "content-type": pick(draw, contentTypes) }),
      ...(once(draw, 2) && { accept: pick(draw, accepted) }),
      ...(once(draw, 4) && {
        "x-request-id": pick(draw, ["", "x", "a".repeat(64), "a".repeat(65), "a b", "../x", "\u00ff"]),
      }),
      ...(once(draw, 8) && { "content-encoding": pick(draw, ["gzip", "identity", "br"]) }),
      ...(once(draw, 8) && { origin: pick(draw, ["null", "https://example.com", "x"]) }),
      ...(once(draw, 8) && { expect: pick(draw, ["100-continue", "x"]) }),
    };
    const query = pick(draw, ["{ __typename }", "{ userCredentials { nodes { name } } }", "{", "mutation { x }"]);
    return {
      method: pick(draw, methods),
      path: pick(draw, paths),
      headers,
      body: Buffer.from(JSON.stringify({ query })),
    };
  });
}

/** Bytes on a connection: a request with some of them changed, one with its lengths at odds, or no HTTP at all. */
export function wires(token: string): fc.Arbitrary<Buffer> {
  return fc.gen().map((draw) => {
    const body = JSON.stringify({ query: "{ __typename }" });
    const lines = (more: readonly string[]) =>
      Buffer.from(
        `POST /graphql HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\n${more.map((line) => `${line}\r\n`).join("")}\r\n${body}`,
      );
    const length = `content-length: ${body.length}`;
    const framings = [
      ["content-length: 1"],
      ["content-length: 100000"],
      ["content-length: -1"],
      ["content-length: 1e9"],
      [length, length],
      [length, "content-length: 3"],
      [length, "transfer-encoding: chunked"],
      ["transfer-encoding: chunked"],
      ["transfer-encoding: chunked, chunked"],
      ["transfer-encoding: gzip"],
      [length, "upgrade: websocket", "connection: upgrade"],
      [length, `x: ${"a".repeat(20_000)}`],
      [length, "connection: close, x"],
      [],
    ];
    const kinds: Array<() => Buffer> = [
      () => broken(draw, lines([length])),
      () => lines(pick(draw, framings)),
      () => Buffer.concat([lines([length]), broken(draw, lines([length]))]),
      () => Buffer.from(draw(fc.uint8Array, { maxLength: 200 })),
      () =>
        Buffer.from(
          pick(draw, ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\0\x01", "GET / HTTP/9.9\r\n\r\n", "\r\n"]),
        ),
    ];
    return pick(draw, kinds)();
  });
}
