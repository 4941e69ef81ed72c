import { answeredError, asPage } from "./client/failure.ts";
import type { CredentialFragment, CredentialType, Operations, TokenAction } from "./client/generated.ts";
import { filterOf, isNamed, parseWhich, placeOf, type Which } from "./client/names.ts";
import { createReveal, notFound, type Place, type Revealed, revealAll } from "./client/reveal.ts";
import { type Answered, type CallOptions, type ClientOptions, createSend } from "./client/send.ts";
import { KeyrowError } from "./errors.ts";

export type { CredentialType, TokenAction } from "./client/generated.ts";
export type { Revealed } from "./client/reveal.ts";
export type { CallOptions, ClientOptions } from "./client/send.ts";
export { type ErrorCode, KeyrowError } from "./errors.ts";

/** A credential, without its value. */
export type Credential = CredentialFragment;

/** What names a credential takes: `workspace` is a workspace's id, for one of its credentials. */
export interface PlaceOptions extends CallOptions {
  readonly workspace?: string | undefined;
}

/** A credential to set; what is undefined stays as it is. */
export interface ToSet {
  /** `provider/name`. */
  readonly credential: string;
  readonly value: string;
  readonly type?: CredentialType | undefined;
  readonly description?: string | null | undefined;
  readonly expiresAt?: string | Date | null | undefined;
  readonly metadata?: unknown;
}

/** A token to make: what it may do at most; what is undefined is not limited. */
export interface TokenToMake {
  /** What it is for. */
  readonly name?: string | undefined;
  /** Patterns of `provider/name`. */
  readonly credentials?: readonly string[] | undefined;
  readonly actions?: readonly TokenAction[] | undefined;
  /** A workspace's id. */
  readonly workspace?: string | undefined;
  /** Seconds. */
  readonly expiresIn?: number | undefined;
}

/** A token that the server has made, without the token itself. */
export type Token = NonNullable<Operations["Tokens"]["data"]["tokens"]>[number];

/** Whose token it is: a user's, or a machine's and what that was given. */
export interface Who {
  readonly id: string;
  readonly name: string | null;
  readonly machine: Omit<NonNullable<Operations["WhoAmI"]["data"]["currentMachine"]>, "id" | "name"> | null;
}

/** What setting did. */
export interface SetOutcome {
  readonly created: boolean;
  readonly credential: Credential;
}

/** A client of one server; every method throws a KeyrowError, or the reason of its signal. */
export type Client = ReturnType<typeof keyrow>;

/** Makes a client. Throws CONFIG_INVALID for an address or a timeout that can't be used. */
export function keyrow(options: ClientOptions) {
  const send = createSend(options);
  const reveal = createReveal(send);

  async function describe(credential: string, { workspace, signal }: PlaceOptions = {}): Promise<Credential> {
    const which = parseWhich(credential);
    const { userCredentials } = whole(await send("Find", { filter: filterOf(which, placeOf(workspace)) }, { signal }));
    const found = nodesOf(userCredentials).find((row) => isNamed(row, which, workspace));
    if (found === undefined) throw notFound(which);
    return found;
  }

  /** The id of a credential, which is known already where it was named by it. */
  async function idOf(credential: string, place: PlaceOptions): Promise<string> {
    const which = parseWhich(credential);
    return "id" in which ? which.id : (await describe(credential, place)).id;
  }

  /**
   * Changes a credential by id. Throws FORBIDDEN for one that may be seen and not changed: no row was touched either way,
   * so it is looked for once.
   */
  async function changing<T>(id: string, { signal }: CallOptions, change: () => Promise<T>): Promise<T> {
    try {
      return await change();
    } catch (error) {
      if (!(error instanceof KeyrowError && error.code === "NOT_FOUND")) throw error;
      const seen = await send("Find", { filter: filterOf({ id }, {}) }, { signal });
      const [row] = nodesOf(seen.data.userCredentials);
      if (row?.id !== id) throw error;
      throw new KeyrowError("FORBIDDEN", {
        message: `${row.provider}/${row.name}: a policy lets you see this credential, and not change it.`,
      });
    }
  }

  async function setMany(items: readonly ToSet[], { workspace, signal }: PlaceOptions, dryRun: boolean) {
    const credentials = items.map(({ credential, expiresAt, ...rest }) => ({
      ...named(parseWhich(credential)),
      ...rest,
      ...(workspace !== undefined && { scope: "WORKSPACE" as const, workspaceId: workspace }),
      ...(expiresAt !== undefined && { expiresAt: timeOf(expiresAt) }),
    }));
    const { setUserCredentials } = whole(await send("SetMany", { input: { credentials, dryRun } }, { signal }));
    return present(present(setUserCredentials).results);
  }

  async function setAll(items: readonly ToSet[], place: PlaceOptions = {}): Promise<SetOutcome[]> {
    const results = await setMany(items, place, false);
    return results.map(({ created, userCredential }) => ({ created, credential: present(userCredential) }));
  }

  return {
    /** The user or machine whose token this is. */
    async whoami(call: CallOptions = {}): Promise<Who> {
      const { currentUser, currentMachine } = whole(await send("WhoAmI", {}, call), ["currentUser", "currentMachine"]);
      if (currentMachine == null) return { ...present(currentUser), machine: null };
      const { id, name, ...machine } = currentMachine;
      return { id, name, machine };
    },

    /** The ids of the workspaces of a name, two at most. */
    async workspacesNamed(name: string, call: CallOptions = {}): Promise<string[]> {
      return nodesOf(whole(await send("Workspaces", { name }, call)).workspaces).map(({ id }) => id);
    },

    /** Every credential that may be seen, or those of one workspace, newest first; page by page. */
    async *list({ workspace, signal }: PlaceOptions = {}): AsyncGenerator<Credential> {
      const filter = workspace !== undefined && { filter: { workspaceId: { equalTo: workspace } } };
      for (let after: string | undefined; ; ) {
        const variables = { ...filter, ...(after !== undefined && { after }) };
        const page = asPage(present(whole(await send("List", variables, { signal })).userCredentials));
        const rows = nodesOf(page);
        yield* rows;
        const { hasNextPage, endCursor } = page.pageInfo;
        if (!hasNextPage || endCursor === null) return;
        if (rows.length === 0 || endCursor === after) {
          throw new KeyrowError("NO_KEYROW", { message: "The server's list has no end." });
        }
        after = endCursor;
      }
    },

    /** The credential of a name (`provider/name`) or an id. */
    describe,

    /** Its value, on the record. What is asked for in the same tick shares a request. */
    get(credential: string, { workspace, signal }: PlaceOptions = {}): Promise<string> {
      return reveal(credential, workspace, signal);
    },

    /**
     * The values of the active credentials that any of the patterns names, on the record and in one request. `*` is any
     * text within provider or name. `workspaceName` means the only workspace of that name. Throws the error of the first
     * that can't be revealed, and USAGE, with nothing revealed, where two workspaces have the name.
     */
    async getAll(patterns: readonly string[], { signal, ...place }: Place & CallOptions = {}): Promise<Revealed[]> {
      if (patterns.length === 0) return [];
      return revealAll(send, patterns, place, { signal });
    },

    /** Creates a credential, or gives it a new value and makes it active again. */
    async set(item: ToSet, place: PlaceOptions = {}): Promise<SetOutcome> {
      return present((await setAll([item], place))[0] ?? null);
    },

    /** Sets several credentials: all of them, or none. */
    setAll,

    /** Which of them `setAll` would create; throws what it would throw. Nothing is stored, nor on the record. */
    async foresee(items: readonly ToSet[], place: PlaceOptions = {}): Promise<boolean[]> {
      return (await setMany(items, place, true)).map(({ created }) => created);
    },

    /** Gives a credential that is there a new value. */
    async rotate(
      credential: string,
      { value, expiresAt }: { value: string; expiresAt?: string | Date | null | undefined },
      place: PlaceOptions = {},
    ): Promise<Credential> {
      const id = await idOf(credential, place);
      const input = { id, value, ...(expiresAt !== undefined && { expiresAt: timeOf(expiresAt) }) };
      return changing(id, place, async () =>
        present(present(whole(await send("Rotate", { input }, place)).rotateUserCredential).userCredential),
      );
    },

    /** Revokes a credential: it is not revealed again until it has a new value. */
    async revoke(credential: string, place: PlaceOptions = {}): Promise<Credential> {
      const id = await idOf(credential, place);
      return changing(id, place, async () =>
        present(present(whole(await send("Revoke", { input: { id } }, place)).revokeUserCredential).userCredential),
      );
    },

    /** Deletes a credential; gives its id. */
    async remove(credential: string, place: PlaceOptions = {}): Promise<string> {
      const id = await idOf(credential, place);
      const { id: gone } = await changing(id, place, async () =>
        present(present(whole(await send("Remove", { input: { id } }, place)).deleteUserCredential).userCredential),
      );
      return gone;
    },

    /** Makes a token that may do less than the client's own; the answer alone has it. */
    async createToken(
      { workspace, expiresIn, ...asked }: TokenToMake = {},
      call: CallOptions = {},
    ): Promise<{ readonly jwt: string; readonly token: Token }> {
      const { name, ...limit } = { ...asked, workspaceId: workspace };
      const input = { ...limit, ...(name !== undefined && { name }), ...(expiresIn !== undefined && { expiresIn }) };
      const made = present(whole(await send("CreateToken", { input }, call)).createToken);
      return { jwt: present(made.jwt), token: present(made.token) };
    },

    /** The tokens that were made and have not ended, newest first. */
    async tokens(call: CallOptions = {}): Promise<readonly Token[]> {
      return present(whole(await send("Tokens", {}, call)).tokens);
    },

    /** Revokes a token, and with it all that were made with it. */
    async revokeToken(id: string, call: CallOptions = {}): Promise<Token> {
      return present(present(whole(await send("RevokeToken", { input: { id } }, call)).revokeToken).token);
    },
  };
}

/** The data of an answer that has no errors; throws the first one. Of `either`, what the asking one is not is missing. */
function whole<N extends keyof Operations>(
  { data, errors }: Answered<N>,
  either: readonly string[] = [],
): Operations[N]["data"] {
  const first = errors.find(
    ({ path, extensions }) => !(extensions?.code === "NOT_FOUND" && either.includes(String(path?.[0]))),
  );
  if (first !== undefined) throw answeredError(first);
  return data;
}

function named(which: Which): { provider: string; name: string } {
  if (!("id" in which)) return which;
  throw new KeyrowError("VALIDATION", { message: "A credential is set by provider and name, not by its id." });
}

function timeOf(time: string | Date | null): string | null {
  if (!(time instanceof Date)) return time;
  if (!Number.isNaN(time.getTime())) return time.toISOString();
  throw new KeyrowError("VALIDATION", { message: "The value of expiresAt is no date." });
}

function nodesOf<T>(connection: { readonly nodes: ReadonlyArray<T | null> } | null): T[] {
  if (connection === null) return [];
  // A server can answer anything.
  if (!Array.isArray(connection?.nodes)) throw new KeyrowError("NO_KEYROW");
  return connection.nodes.filter((node) => node !== null);
}

function present<T>(value: T | null): T {
  if (value === undefined) throw new KeyrowError("NO_KEYROW");
  if (value === null) throw new KeyrowError("NOT_FOUND");
  return value;
}
