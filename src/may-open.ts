import type { EncryptedColumnsOptions } from "../plugins/encrypted-columns/options.ts";
import { KEYROW_CLAIM } from "./settings/database.ts";

/**
 * Makes the last word before a credential's value is opened, whatever the database says: a USER credential opens for the
 * verified token's user alone and, where the database reveals it to them, for the users of these ids; a SYSTEM one for none.
 */
export function createMayOpen(offlineWorkers: readonly string[]): EncryptedColumnsOptions["mayOpen"] {
  const workers = new Set<string | undefined>(offlineWorkers);
  return ({ scope, user_id: owner }, { [KEYROW_CLAIM]: asking }) =>
    scope === "WORKSPACE" || (scope === "USER" && (owner === asking || workers.has(asking)));
}
