import { isHeld, type KeyState } from "../cipher/cipher.ts";
import { LEGACY_KEY_ID } from "../cipher/keyring.ts";
import { type Column, minute, renderTable } from "../table.ts";
import type { KeyInUse, LostRow } from "./status.ts";

const reasons: Readonly<Record<KeyState, string>> = {
  held: "yes",
  unreachable: "not now: OpenBao is away",
  missing: "no: the key is not here",
  "too-new": "no: newer than OpenBao's, which is of an older backup",
  replaced: "no: OpenBao has another key of this name, made later",
  retired: "no: retired",
};

/** Whether values under a key open, in words. */
export function opens({ keyId, state }: { keyId: string; state: KeyState }): string {
  return keyId === LEGACY_KEY_ID
    ? "no: another application's; `keyrow rewrap --from-legacy` moves them"
    : reasons[state];
}

const keyColumns: ReadonlyArray<Column<KeyInUse & { waits: boolean }>> = [
  ["KEY", ({ keyId }) => keyId],
  ["ROWS", ({ rows }) => String(rows)],
  ["OLDEST", ({ oldest }) => minute(oldest)],
  ["NEWEST", ({ newest }) => minute(newest)],
  ["OPENS", (key) => `${opens(key)}${key.seals ? ", and seals" : key.waits ? ", and waits to be moved" : ""}`],
];

/** The keys in use as lines of text, a head first. */
export function keyTable(keys: readonly KeyInUse[]): string[] {
  const seals = keys.some((key) => key.seals);
  const waits = (key: KeyInUse) => seals && !key.seals && isHeld(key.state);
  return renderTable(
    keyColumns,
    keys.map((key) => ({ ...key, waits: waits(key) })),
  );
}

const rowColumns: ReadonlyArray<Column<LostRow>> = [
  ["ID", ({ id }) => id],
  ["SCOPE", ({ scope }) => scope],
  ["CREDENTIAL", ({ provider, name }) => `${provider}/${name}`],
  ["OF", ({ scope, userId, workspaceId }) => (scope === "WORKSPACE" ? (workspaceId ?? "-") : userId)],
  ["KEY", ({ keyId }) => keyId],
  ["OPENS", opens],
];

/** Rows as lines of text, a head first. */
export function rowTable(rows: readonly LostRow[]): string[] {
  return renderTable(rowColumns, rows);
}
