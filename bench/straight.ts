// Transit without Keyrow: batches sent as they are, and answers read no further than has to be.
import type { Connection } from "./load.ts";
import { type BenchOpenBao, serverToken } from "./openbao.ts";

/** An item of a batch, as OpenBao takes it. */
export interface Item {
  readonly ciphertext?: string | undefined;
  readonly plaintext?: string | undefined;
  readonly context: string;
}

/** The answer to an item. */
export type Result = Readonly<Partial<Record<"plaintext" | "ciphertext", string>>>;

type Operation = "encrypt" | "decrypt" | "rewrap";

/** The body of a batch. */
export function bodyOf(items: readonly Item[]): string {
  return JSON.stringify({ batch_input: items, partial_failure_response_code: 200 });
}

/** Sends bodies with the token of Keyrow's server, and gives the answers as they came; throws where an item failed. */
export async function createRawSender(openBao: BenchOpenBao) {
  const { mount, key } = openBao.transitKey;
  const token = await serverToken(openBao);
  return async (connection: Connection, operation: Operation, body: string): Promise<Buffer> => {
    const answer = await connection.post(`/v1/${mount}/${operation}/${key}`, token, body);
    if (answer.includes('"error"')) throw new Error(`an error in an answer: ${answer.toString("utf8", 0, 500)}`);
    return answer;
  };
}

/** As `createRawSender`, for items and their results. */
export async function createSender(openBao: BenchOpenBao) {
  const send = await createRawSender(openBao);
  return async (connection: Connection, operation: Operation, items: readonly Item[]): Promise<Result[]> =>
    readResults(await send(connection, operation, bodyOf(items)));
}

/** The results in an answer. */
export function readResults(answer: Buffer): Result[] {
  return JSON.parse(answer.toString()).data.batch_results;
}
