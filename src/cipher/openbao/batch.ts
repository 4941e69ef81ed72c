import { z } from "zod";
import { inParts } from "../parts.ts";
import { OpenBaoFault } from "./fault.ts";

// OpenBao refuses a body of more than some thousand strings, and items have two; and one of more than 32 MiB.
/** How many items a call has at most. */
export const MOST_ITEMS = 200;
const MOST_BYTES = 8 * 1024 * 1024;

/** An item of a batch as it is sent: texts of base64 or ciphertexts. */
export type BatchItem = Readonly<Partial<Record<"context" | "plaintext" | "ciphertext", string>>>;

/** The answer to one item: `error` where it failed alone. */
export type BatchResult = z.infer<typeof result>;

const result = z.object({
  plaintext: z.string().optional(),
  ciphertext: z.string().optional(),
  // An empty plaintext is one: only this key tells of a failure.
  error: z.string().optional(),
});
const results = z.array(result);

/** Parts items into batches that OpenBao takes, in order. */
export function split(items: readonly BatchItem[]): BatchItem[][] {
  return inParts(items, sizeOf, { size: MOST_BYTES, count: MOST_ITEMS });
}

/** How many characters items have together. */
export function sizeOfAll(items: readonly BatchItem[]): number {
  return items.reduce((sum, item) => sum + sizeOf(item), 0);
}

function sizeOf({ context = "", plaintext = "", ciphertext = "" }: BatchItem): number {
  return context.length + plaintext.length + ciphertext.length;
}

/** Reads the answer to so many items; throws an OpenBaoFault where it is none. */
export function readResults(data: unknown, count: number): BatchResult[] {
  // Counted before it is read: a wrong one may have any number of items, and reading them would hold the process.
  const { batch_results: given } = (data ?? {}) as { batch_results?: unknown };
  if (!Array.isArray(given) || given.length !== count) throw new OpenBaoFault("garbage");
  const { success, data: read } = results.safeParse(given);
  if (success) return read;
  throw new OpenBaoFault("garbage");
}
