import { KeyrowError } from "../errors.ts";
import { documents } from "./documents.ts";
import { type AnsweredError, answeredError, noAnswer, unreachable, wasNeverSent } from "./failure.ts";
import type { Operations } from "./generated.ts";
import { isLoopback } from "./loopback.ts";

/** How a client reaches its server. */
export interface ClientOptions {
  /** The server's address, as in `https://keyrow.example.com`; `/graphql` follows where it has no path. */
  readonly url: string | URL;
  /** A token, or a function that gives one that is still valid. */
  readonly token: string | (() => string | Promise<string>);
  /** Another `fetch`, such as one that goes through a proxy. */
  readonly fetch?: typeof fetch;
  /** How long one attempt may take, in ms; 30,000 where nobody says. */
  readonly timeout?: number;
  /** How often a request is sent again that was not executed; twice where nobody says. */
  readonly retries?: number;
  /** Lets the token go in the clear to a server that is not on this machine. */
  readonly allowHttp?: boolean;
}

/** What every call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** An answer: its data, and the errors beside it. */
export interface Answered<N extends keyof Operations> {
  readonly data: Operations[N]["data"];
  readonly errors: readonly AnsweredError[];
}

/** Sends one operation. Throws a KeyrowError where nothing was executed, and the signal's reason where it is aborted. */
export type Send = <N extends keyof Operations>(
  name: N,
  variables: Operations[N]["variables"],
  options?: CallOptions,
) => Promise<Answered<N>>;

// Reading these twice changes nothing. A reveal is on the record each time, so it counts as a change.
const repeatable: ReadonlySet<keyof Operations> = new Set(["WhoAmI", "Workspaces", "List", "Find", "Tokens"]);
const MAX_WAIT_MS = 30_000;
// What timers of browsers and Node alike can count.
const MAX_TIMEOUT_MS = 2 ** 31 - 1;
// KEYROW_MAX_ANSWER lets no server answer more.
const MOST_MIB = 64;

/** Makes what sends operations to a server. Throws CONFIG_INVALID for an address or a timeout that can't be used. */
export function createSend(options: ClientOptions): Send {
  const address = addressOf(options);
  const { timeout = 30_000, retries = 2 } = options;
  if (!Number.isInteger(timeout) || timeout < 1 || timeout > MAX_TIMEOUT_MS || Number.isNaN(retries)) {
    throw new KeyrowError("CONFIG_INVALID", {
      message: "The timeout or the number of retries can't be used.",
      hint: `A timeout is a whole number of milliseconds, from 1 to ${MAX_TIMEOUT_MS}.`,
    });
  }
  const call = options.fetch ?? globalThis.fetch;
  return async (name, variables, { signal } = {}) => {
    const body = asJson({ query: documents[name], operationName: name, variables });
    for (let attempt = 0; ; attempt++) {
      signal?.throwIfAborted();
      const token = asToken(typeof options.token === "function" ? await options.token() : options.token);
      const outcome = await attemptTo(call, address, token, body, timeout, signal);
      if ("data" in outcome) return outcome as Answered<typeof name>;
      const again = outcome.notExecuted || (outcome.passing && repeatable.has(name));
      if (!again || attempt >= retries) throw outcome.error;
      await pause(outcome.waitMs ?? 250 * 2 ** attempt * (0.5 + Math.random() / 2), signal);
    }
  };
}

/** Throws UNAUTHENTICATED for what can be no token: a header would not take it, and the error of `fetch` would repeat it. */
function asToken(token: unknown): string {
  if (typeof token === "string" && /^[\x21-\x7e]+$/.test(token.trim())) return token.trim();
  throw new KeyrowError("UNAUTHENTICATED", {
    message: "What was given as the token is none.",
    hint: "A token is one word, as `keyrow token` prints it; is the variable set from which it comes?",
  });
}

function asJson(request: object): string {
  try {
    return JSON.stringify(request);
  } catch (cause) {
    throw new KeyrowError("VALIDATION", { message: "What was given can't be written as JSON.", cause });
  }
}

interface Failed {
  readonly error: KeyrowError;
  /** Whether it is certain that nothing was executed, and worth another attempt. */
  readonly notExecuted: boolean;
  /** Whether it may pass by itself. */
  readonly passing: boolean;
  readonly waitMs?: number | undefined;
}

async function attemptTo(
  call: typeof fetch,
  address: string,
  token: string,
  body: string,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<{ data: unknown; errors: readonly AnsweredError[] } | Failed> {
  const timer = AbortSignal.timeout(timeout);
  try {
    const response = await call(address, {
      method: "POST",
      headers: {
        accept: "application/graphql-response+json, application/json;q=0.9",
        "content-type": "application/json",
        authorization: `Bearer ${token}`,
      },
      body,
      // A token and a value go where they were sent, and nowhere else.
      redirect: "manual",
      credentials: "omit",
      cache: "no-store",
      signal: signal === undefined ? timer : AbortSignal.any([signal, timer]),
    });
    return read(response.status, response.headers.get("retry-after"), await textOf(response));
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof KeyrowError) return { error, notExecuted: false, passing: false };
    if (timer.aborted) {
      const message = `The server did not answer within ${timeout / 1000} s.`;
      return { error: new KeyrowError("SERVER_UNREACHABLE", { message }), notExecuted: false, passing: true };
    }
    return { error: unreachable(error), notExecuted: wasNeverSent(error), passing: true };
  }
}

/** The text of an answer, of which no more is read than may be, however small it was when it was compressed. */
async function textOf({ body }: Response): Promise<string> {
  const reader = body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let left = MOST_MIB * 1024 ** 2;
  for (let part = await reader?.read(); part?.value !== undefined; part = await reader?.read()) {
    left -= part.value.length;
    if (left < 0) {
      reader?.cancel().catch(() => undefined);
      throw new KeyrowError("NO_KEYROW", { message: `The answer has more than ${MOST_MIB} MiB, as no Keyrow gives.` });
    }
    text += decoder.decode(part.value, { stream: true });
  }
  return text + decoder.decode();
}

function read(
  status: number,
  retryAfter: string | null,
  text: string,
): { data: unknown; errors: readonly AnsweredError[] } | Failed {
  const passing = [429, 502, 503, 504].includes(status);
  const waitMs = waitOf(retryAfter);
  const answer = graphqlAnswer(text);
  if (answer === undefined) return { error: noAnswer(status), notExecuted: false, passing, waitMs };
  const { data, errors = [] } = answer;
  const [first] = errors;
  if (data != null) return { data, errors };
  if (first === undefined) return { error: noAnswer(status), notExecuted: false, passing: false };
  // The server's own refusal, without data: it came before anything was executed.
  const refused = data === undefined && (status === 429 || status === 503);
  return { error: answeredError(first, refused ? { status } : {}), notExecuted: refused, passing, waitMs };
}

function graphqlAnswer(text: string): { data?: unknown; errors?: AnsweredError[] } | undefined {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer !== "object" || answer === null) return undefined;
    const { data, errors } = answer as { data?: unknown; errors?: unknown };
    if (errors !== undefined && !(Array.isArray(errors) && errors.every(isError))) return undefined;
    if (data != null && (typeof data !== "object" || Array.isArray(data))) return undefined;
    return data === undefined && errors === undefined ? undefined : (answer as object);
  } catch {
    return undefined;
  }
}

function isError(error: unknown): boolean {
  if (typeof error !== "object" || error === null) return false;
  const { path } = error as AnsweredError;
  return path === undefined || Array.isArray(path);
}

/** The time that `Retry-After` asks for, in ms: seconds or a date (RFC 9110, section 10.2.3). */
function waitOf(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(ms, 0), MAX_WAIT_MS);
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}

function addressOf({ url, allowHttp = false }: ClientOptions): string {
  const invalid = (message: string, hint: string) => new KeyrowError("CONFIG_INVALID", { message, hint });
  if (!URL.canParse(String(url)) || !/^https?:$/.test(new URL(url).protocol)) {
    throw invalid("The server's address is no URL.", "Give one as in https://keyrow.example.com.");
  }
  const address = new URL(url);
  if (address.username !== "" || address.password !== "") {
    throw invalid("The server's address holds a user or a password.", "The token alone says who is asking.");
  }
  if (address.protocol === "http:" && !allowHttp && !isLoopback(address.hostname)) {
    throw invalid(
      "The token and every value would go over the network in the clear.",
      "Use https; or allow plain http, where the network itself can be trusted.",
    );
  }
  address.hash = "";
  if (address.pathname === "/") address.pathname = "/graphql";
  return address.href;
}
