import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { errors, Pool } from "undici";
import { KeyrowError } from "../../errors.ts";
import { readAtMost } from "../../read-at-most.ts";
import { isAboutCertificate } from "../../unreachable.ts";
import type { OpenBaoAccess } from "./access.ts";
import { OpenBaoFault } from "./fault.ts";

/** A call to OpenBao's HTTP API. */
export interface Call {
  readonly method: "GET" | "POST";
  /** Below `/v1/`. */
  readonly path: string;
  readonly token?: string | undefined;
  readonly body?: object;
  /** Statuses besides 2xx whose answers are read as well. */
  readonly accept?: readonly number[];
  /** How much longer than others it may take, in ms: it is large. */
  readonly more?: number;
  /** How many bytes its answer may have; MOST_BYTES where nobody says. */
  readonly bytes?: number;
}

/** Calls one OpenBao over connections that stay open. */
export interface OpenBaoClient {
  /** The `data` or `auth` of the answer, as JSON has it; throws an OpenBaoFault. */
  call(call: Call): Promise<Answer>;
  /** How long a call may take, in ms. */
  readonly timeoutMs: number;
  close(): Promise<void>;
}

/** What OpenBao answers: `data` of most calls, `auth` of a login. */
export interface Answer {
  readonly data?: unknown;
  readonly auth?: unknown;
}

// A request makes several calls, and should not wait for one that never answers.
const TIMEOUT_MS = 1_000;
const CONNECTIONS = 16;
/** How many bytes an answer may have: beyond that it is none of OpenBao's, and reading it would hold the process. */
export const MOST_BYTES = 1024 * 1024;

/** Makes the client of an OpenBao; it connects when it is first called. Throws CONFIG_INVALID for a bad BAO_CACERT. */
export function createOpenBaoClient(access: OpenBaoAccess): OpenBaoClient {
  const { address, caFile, namespace, timeoutMs = TIMEOUT_MS } = access;
  const socketPath = address.startsWith("unix:") ? decodeURIComponent(new URL(address).pathname) : undefined;
  const pool = new Pool(socketPath === undefined ? new URL(address).origin : "http://localhost", {
    connections: CONNECTIONS,
    pipelining: 1,
    connect: {
      // Of itself it would go on for ten seconds behind a call that was given up, and keep a command from ending.
      timeout: timeoutMs,
      ...(socketPath !== undefined && { socketPath }),
      ...(caFile !== undefined && { ca: readAuthorities(caFile) }),
    },
  });

  async function attempt(call: Call, signal: AbortSignal): Promise<Answer> {
    const { method, path, token, body, accept = [], bytes = MOST_BYTES } = call;
    const { statusCode, body: stream } = await pool.request({
      method,
      path: `/v1/${path}`,
      signal,
      headers: {
        "x-vault-request": "true",
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(token !== undefined && { "x-vault-token": token }),
        ...(namespace !== undefined && { "x-vault-namespace": namespace }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    // Read to its end whatever it is, so that the connection can be used again.
    const answered = await readAtMost(stream, bytes);
    if (answered === undefined) throw new OpenBaoFault("garbage");
    const good = (statusCode >= 200 && statusCode < 300) || accept.includes(statusCode);
    if (!good) throw new OpenBaoFault("status", statusCode);
    return statusCode === 204 ? {} : parse(answered.toString("utf8"));
  }

  return {
    timeoutMs,
    async call(call) {
      // Not AbortSignal.timeout: that makes an error, with its stack, for each call that was over long before.
      const late = new AbortController();
      const timer = setTimeout(() => late.abort(), timeoutMs + (call.more ?? 0));
      const once = () =>
        attempt(call, late.signal).catch((error: unknown) => {
          throw faultOf(error, late.signal);
        });
      try {
        return await once().catch((fault: OpenBaoFault) => {
          if (mayRetry(fault)) return once();
          throw fault;
        });
      } finally {
        clearTimeout(timer);
      }
    },
    async close() {
      await pool.destroy();
    },
  };
}

/** Once more where the connection broke or the server stumbled; what it refused, and what it took too long for, stays. */
function mayRetry({ kind, status = 0 }: OpenBaoFault): boolean {
  return kind === "unreachable" || status >= 500;
}

function faultOf(error: unknown, signal: AbortSignal): OpenBaoFault {
  if (error instanceof OpenBaoFault) return error;
  if (signal.aborted) return new OpenBaoFault("timeout");
  if (error instanceof errors.HTTPParserError) return new OpenBaoFault("garbage");
  return new OpenBaoFault(isAboutCertificate(error) ? "certificate" : "unreachable");
}

function parse(text: string): Answer {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer === "object" && answer !== null) return answer;
  } catch {
    // Its cause is dropped: it quotes what it could not read.
  }
  throw new OpenBaoFault("garbage");
}

function readAuthorities(path: string): string {
  const invalid = (what: string) =>
    new KeyrowError("CONFIG_INVALID", {
      message: `BAO_CACERT: the file ${what}.`,
      hint: "Give the path of a PEM file that the server's user may read.",
    });
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw invalid(`can't be read (${(error as NodeJS.ErrnoException).code ?? "unknown error"})`);
  }
  try {
    // TLS takes a file without any for one that trusts nobody, without a word.
    new X509Certificate(text);
  } catch {
    throw invalid("has no certificate in it");
  }
  return text;
}
