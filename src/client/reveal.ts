import { KeyrowError } from "../errors.ts";
import { type AnsweredError, answeredError, asPage } from "./failure.ts";
import type { RevealQuery, UserCredentialFilter } from "./generated.ts";
import {
  filterOf,
  filterOfPattern,
  isMatched,
  isNamed,
  onlyWorkspace,
  parseWhich,
  placeOf,
  type Which,
} from "./names.ts";
import type { CallOptions, Send } from "./send.ts";

/** A credential with its value. */
export interface Revealed {
  readonly id: string;
  readonly provider: string;
  readonly name: string;
  readonly scope: "USER" | "WORKSPACE" | "SYSTEM";
  readonly workspaceId: string | null;
  readonly value: string;
}

/** What one row of a reveal came to. */
export type Outcome = Omit<Revealed, "value"> & ({ readonly value: string } | { readonly error: KeyrowError });

// What a server lets one page have where its limits are not lowered.
const MOST = 1_000;
// Of each credential that is asked for by name, in one request's variables.
const BATCH = 200;

/** What the rows of an answer came to. Throws NO_KEYROW where one is none that was asked for. */
function outcomesOf(
  connection: RevealQuery["userCredentials"],
  errors: readonly AnsweredError[],
  isAsked: (row: Node) => boolean,
): Outcome[] {
  const whole = errors.find(({ path = [] }) => path[0] === "userCredentials" && path.length < 4);
  if (connection === null || whole !== undefined) throw answeredError(whole ?? errors[0] ?? {});
  const { nodes, pageInfo } = asPage(connection);
  if (pageInfo.hasNextPage) {
    throw new KeyrowError("LIMIT_EXCEEDED", { message: `More than ${MOST} credentials match.`, hint: "Name fewer." });
  }
  return nodes.flatMap((node, index) => {
    if (node === null) return [];
    // Its name may become a variable, and its value what a program runs.
    if (!isAsked(node)) throw unasked();
    return [
      outcomeOf(
        node,
        errors.find(({ path = [] }) => path[2] === index && path[3] === "value"),
      ),
    ];
  });
}

function unasked(): KeyrowError {
  return new KeyrowError("NO_KEYROW", {
    message: "The server answered with a credential that nobody asked for.",
    hint: "Nothing of its answer is used. Look at the address, and at who runs that server.",
  });
}

type Node = NonNullable<NonNullable<RevealQuery["userCredentials"]>["nodes"][number]>;

function outcomeOf({ value, ...row }: Node, error: AnsweredError | undefined): Outcome {
  if (typeof value === "string" && error === undefined) return { ...row, value };
  return { ...row, error: answeredError(error ?? {}, { about: `${row.provider}/${row.name}` }) };
}

/** Where credentials are looked for: in a workspace, by its id or its name, else among one's own. */
export interface Place {
  readonly workspace?: string | undefined;
  readonly workspaceName?: string | undefined;
}

/** Reveals the credentials that patterns match, in one request; throws the first error of any. */
export async function revealAll(
  send: Send,
  patterns: readonly string[],
  { workspace, workspaceName: name }: Place,
  options: CallOptions,
): Promise<Revealed[]> {
  const filterIn = (place: UserCredentialFilter) => ({
    or: patterns.map((pattern) => filterOfPattern(pattern, place)),
  });
  const isAskedIn = (id: string | undefined) => (row: Node) => patterns.some((one) => isMatched(row, one, id));
  if (name === undefined) {
    const { data, errors } = await send("Reveal", { filter: filterIn(placeOf(workspace)), first: MOST }, options);
    return outcomesOf(data.userCredentials, errors, isAskedIn(workspace)).map(valueIn);
  }
  const filter = { scope: { equalTo: "WORKSPACE" as const }, workspaceName: name, ...filterIn({}) };
  const { data, errors } = await send("RevealIn", { name, filter, first: MOST }, options);
  if (data.workspaces === null) throw answeredError(errors[0] ?? {});
  const id = onlyWorkspace(data.workspaces.nodes.flatMap((node) => node?.id ?? []));
  return outcomesOf(data.userCredentials, errors, isAskedIn(id)).map(valueIn);
}

function valueIn(outcome: Outcome): Revealed {
  if ("error" in outcome) throw outcome.error;
  return outcome;
}

interface Waiting {
  readonly which: Which;
  readonly workspace: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (value: string) => void;
  readonly reject: (error: unknown) => void;
}

/** Makes what reveals one value; calls of the same tick share a request. */
export function createReveal(send: Send) {
  let waiting: Waiting[] = [];

  async function flush(): Promise<void> {
    const all = waiting.filter(({ signal }) => !signal?.aborted);
    waiting = [];
    for (let start = 0; start < all.length; start += BATCH) await run(send, all.slice(start, start + BATCH));
  }

  return (text: string, workspace: string | undefined, signal: AbortSignal | undefined): Promise<string> => {
    const settled = new AbortController();
    const value = new Promise<string>((resolve, reject) => {
      signal?.throwIfAborted();
      const which = parseWhich(text);
      // Who gives up does not wait for the others.
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true, signal: settled.signal });
      if (waiting.length === 0) setTimeout(flush, 0);
      waiting.push({ which, workspace, signal, resolve, reject });
    });
    // A signal may live as long as the program: it keeps nothing of what is over.
    return value.finally(() => settled.abort());
  };
}

async function run(send: Send, batch: readonly Waiting[]): Promise<void> {
  // The request goes on as long as anybody waits for it.
  const given = batch.flatMap(({ signal }) => signal ?? []);
  const over = new AbortController();
  let left = given.length;
  for (const signal of given) {
    const onAbort = () => {
      left -= 1;
      if (left === 0 && given.length === batch.length) over.abort(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true, signal: over.signal });
  }
  try {
    const filters = batch.map(({ which, workspace }) => filterOf(which, placeOf(workspace)));
    const or = [...new Map(filters.map((filter) => [JSON.stringify(filter), filter])).values()];
    const isAsked = (row: Node) => batch.some(({ which, workspace }) => isNamed(row, which, workspace));
    const { data, errors } = await send("Reveal", { filter: { or }, first: MOST }, { signal: over.signal });
    const outcomes = outcomesOf(data.userCredentials, errors, isAsked);
    for (const one of batch) settle(one, outcomes);
  } catch (error) {
    for (const { reject } of batch) reject(error);
  } finally {
    if (!over.signal.aborted) over.abort();
  }
}

function settle({ which, workspace, resolve, reject }: Waiting, outcomes: readonly Outcome[]): void {
  const found = outcomes.find((row) => isNamed(row, which, workspace));
  if (found === undefined) reject(notFound(which));
  else if ("error" in found) reject(found.error);
  else resolve(found.value);
}

/** The error for a credential that is not there, or not to be seen. */
export function notFound(which: Which): KeyrowError {
  const title = "id" in which ? which.id : `${which.provider}/${which.name}`;
  return new KeyrowError("NOT_FOUND", {
    message: `${title}: there is no such credential, or it is not visible to you.`,
  });
}
