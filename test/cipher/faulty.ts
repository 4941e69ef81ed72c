import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  type ClientRequest,
  createServer,
  request as forward,
  type IncomingMessage,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import type { ExecutionContext } from "ava";
import type { OpenBaoAccess } from "../../src/cipher/openbao/access.ts";

/**
 * What stands between a server and its OpenBao: nothing, silence, answers that are none, are cut, take half a second, never
 * end, are damaged, or seal nothing.
 */
export type Fault =
  | "none"
  | "silence"
  | "silence to what is large"
  | "garbage"
  | "no answer's form"
  | "cut"
  | "stumble once"
  | "damaged once"
  | "slow"
  | "huge"
  | "open";

/** An OpenBao behind a door that can be made to fail; everything else is the real one's. */
export interface Faulty {
  readonly access: OpenBaoAccess;
  /** From now on, for every call. */
  set(fault: Fault): void;
  /** How many calls came, whatever became of them. */
  calls(): number;
}

/** Opens the door; it is closed with the test. */
export async function makeFaulty(t: ExecutionContext, real: OpenBaoAccess): Promise<Faulty> {
  let fault: Fault = "none";
  let calls = 0;
  const server = createServer((request, response) => {
    calls += 1;
    if (fault === "none") pass(real, request, response);
    else if (fault === "open" && request.url?.includes("/encrypt/")) void answerOpen(request, response);
    else if (fault === "open" && request.url?.includes("/rewrap/")) answerOpened(real, request, response);
    else if (fault === "open") pass(real, request, response);
    else if (fault === "damaged once" && request.url?.includes("/rewrap/")) {
      fault = "none";
      answerDamaged(real, request, response);
    } else if (fault === "damaged once") pass(real, request, response);
    else if (fault === "silence to what is large") {
      if (Number(request.headers["content-length"] ?? 0) < LARGE) pass(real, request, response);
    } else if (fault === "slow") setTimeout(() => pass(real, request, response), SLOW_MS);
    else if (fault === "stumble once") {
      fault = "none";
      response.writeHead(502).end();
    } else answers[fault](response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    access: { ...real, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` },
    set(next) {
      fault = next;
    },
    calls: () => calls,
  };
}

// In bytes.
const LARGE = 256 * 1024;
// Just in time, each for itself.
const SLOW_MS = 550;

const answers: Readonly<
  Record<
    Exclude<Fault, "none" | "stumble once" | "damaged once" | "slow" | "silence to what is large" | "open">,
    (response: ServerResponse) => void
  >
> = {
  silence: () => undefined,
  garbage: (response) => response.writeHead(200).end("<html>vault:v1:not-a-ciphertext</html>"),
  "no answer's form": (response) =>
    response
      .writeHead(200)
      .end(JSON.stringify({ data: { batch_results: [{ ciphertext: "plaintext", plaintext: "?" }] } })),
  huge(response) {
    response.writeHead(200).write('{"data":{"batch_results":[');
    const more = () => {
      while (!response.destroyed && response.write('{"plaintext":""},'.repeat(10_000)));
    };
    response.on("drain", more);
    more();
  },
  cut(response) {
    response.writeHead(200, { "content-length": "1000" }).write('{"data":{"batch_results":[{"ciphertext":"vault:v1:');
    setImmediate(() => response.destroy());
  },
};

/** Ciphertexts of the right form and length that have their plaintexts in them. */
async function answerOpen(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { batch_input: items } = (await json(request)) as { batch_input: Array<{ plaintext: string }> };
  const sealed = items.map(({ plaintext }) => {
    const bytes = Buffer.concat([randomBytes(28), Buffer.from(plaintext, "base64")]);
    return { ciphertext: `vault:v1:${bytes.toString("base64")}` };
  });
  response.writeHead(200).end(JSON.stringify({ data: { batch_results: sealed } }));
}

/** What was to be sealed anew, opened, in the form of a ciphertext. */
function answerOpened(real: OpenBaoAccess, request: IncomingMessage, response: ServerResponse): void {
  const path = request.url?.replace("/rewrap/", "/decrypt/");
  const onward = send(real, request, path, async (answer) => {
    const { data } = (await json(answer)) as { data: { batch_results: Array<{ plaintext: string }> } };
    const opened = data.batch_results.map(({ plaintext }) => ({ ciphertext: `vault:v1:${plaintext}` }));
    response.writeHead(200).end(JSON.stringify({ data: { batch_results: opened } }));
  });
  onward.on("error", () => response.destroy());
  request.pipe(onward);
}

/** What was sealed anew, the first of it with its last byte flipped. */
function answerDamaged(real: OpenBaoAccess, request: IncomingMessage, response: ServerResponse): void {
  const onward = send(real, request, request.url, async (answer) => {
    const { data } = (await json(answer)) as { data: { batch_results: Array<{ ciphertext: string }> } };
    const [first, ...others] = data.batch_results;
    const [, prefix = "", body = ""] = /^(vault:v\d+:)(.*)$/.exec(first?.ciphertext ?? "") ?? [];
    const bytes = Buffer.from(body, "base64");
    bytes.writeUInt8(bytes.readUInt8(bytes.length - 1) ^ 1, bytes.length - 1);
    const damaged = { ciphertext: `${prefix}${bytes.toString("base64")}` };
    response.writeHead(200).end(JSON.stringify({ data: { batch_results: [damaged, ...others] } }));
  });
  onward.on("error", () => response.destroy());
  request.pipe(onward);
}

function pass(real: OpenBaoAccess, request: IncomingMessage, response: ServerResponse): void {
  const onward = send(real, request, request.url, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    answer.pipe(response);
  });
  // The real one's absence is this one's.
  onward.on("error", () => response.destroy());
  request.pipe(onward);
}

function send(
  { address }: OpenBaoAccess,
  { method, headers: { host: _, connection: __, ...headers } }: IncomingMessage,
  path: string | undefined,
  answered: (answer: IncomingMessage) => void,
): ClientRequest {
  const { protocol, hostname, port, pathname } = new URL(address);
  const to = protocol === "unix:" ? { socketPath: decodeURIComponent(pathname) } : { hostname, port };
  return forward({ ...to, method, path, headers }, answered);
}
