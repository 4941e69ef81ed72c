import type { Client, Credential } from "../client.ts";
import { KeyrowError } from "../errors.ts";

const MOST = 100_000;

/** Every credential that may be seen, or a workspace's. Throws LIMIT_EXCEEDED beyond 100,000: a list may have no end. */
export async function listAll(client: Client, workspace: string | undefined): Promise<Credential[]> {
  const found: Credential[] = [];
  for await (const one of client.list({ workspace })) {
    if (found.length === MOST) {
      throw new KeyrowError("LIMIT_EXCEEDED", {
        message: "There are more than 100,000 credentials.",
        hint: "List those of one workspace: --workspace.",
      });
    }
    found.push(one);
  }
  return found;
}
