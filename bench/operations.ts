import { randomUUID } from "node:crypto";

/** The name of a measured operation. */
export type OperationName = "reveal-one" | "reveal-50" | "list-50" | "create";

/** Somebody whose requests are measured: a valid token, and credentials of their own, oldest first. */
export interface Person {
  readonly userId: string;
  readonly token: string;
  readonly credentials: readonly string[];
}

/** What the hand-written server and the plain loop are asked for. */
export interface Task {
  readonly operation: OperationName;
  /** Of reveal one. */
  readonly id?: string;
  /** Of create. */
  readonly name?: string;
  readonly value?: string;
}

/** One measured operation, as a request of Keyrow's API and as a task of those that stand beside it. */
export interface Operation {
  readonly title: string;
  /** What a person does in their nth turn. */
  task(person: Person, turn: number): Task;
  readonly query: string;
  variables(task: Task): Record<string, unknown>;
  /** What each leaves in the log. */
  readonly entries: number;
  /** The share of the hand-written server's speed that is to be reached. */
  readonly goal?: number;
}

/** How many rows the operations on many have. */
export const MANY = 50;

/** What every created credential is, its name and value aside. */
export const made = { provider: "github", type: "API_KEY" } as const;

const columns = "id provider name";

/** The measured operations; those that add rows come last. */
export const operations: Readonly<Record<OperationName, Operation>> = {
  "reveal-one": {
    title: "reveal one",
    task: ({ credentials }, turn) => ({
      operation: "reveal-one",
      id: credentials[turn % credentials.length] as string,
    }),
    query: `query ($id: UUID!) { userCredential(id: $id) { ${columns} value } }`,
    variables: ({ id }) => ({ id }),
    entries: 1,
    goal: 0.6,
  },
  "reveal-50": {
    title: `reveal ${MANY}`,
    task: () => ({ operation: "reveal-50" }),
    query: `query { userCredentials(first: ${MANY}) { nodes { ${columns} value } } }`,
    variables: () => ({}),
    entries: MANY,
    goal: 0.6,
  },
  "list-50": {
    title: `list ${MANY}`,
    task: () => ({ operation: "list-50" }),
    query: `query { userCredentials(first: ${MANY}) {
      nodes { ${columns} type scope maskedValue isActive expiresAt createdAt }
    } }`,
    variables: () => ({}),
    entries: 0,
  },
  create: {
    title: "create",
    task: () => ({ operation: "create", name: randomUUID(), value: tokenOf(randomUUID()) }),
    query: `mutation ($input: CreateUserCredentialInput!) {
      createUserCredential(input: $input) { userCredential { ${columns} maskedValue createdAt } }
    }`,
    variables: ({ name, value }) => ({ input: { userCredential: { ...made, name, value } } }),
    entries: 1,
  },
};

/** The names of the measured operations, in their order. */
export const operationNames = Object.keys(operations) as OperationName[];

/** A value of the length that access tokens have, another one for each seed. */
export function tokenOf(seed: string): string {
  return `ghp_${seed.replaceAll("-", "")}`;
}
