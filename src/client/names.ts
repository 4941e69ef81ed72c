import { KeyrowError } from "../errors.ts";
import type { UserCredentialFilter } from "./generated.ts";

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** Which credential is meant: by id, or by provider and name. */
export type Which = { readonly id: string } | { readonly provider: string; readonly name: string };

/** Reads `provider/name`, parted by the first slash, or an id. Throws VALIDATION, which never repeats what was given. */
export function parseWhich(text: string): Which {
  // Who calls from JavaScript may give anything.
  if (typeof text !== "string") throw noName();
  if (uuid.test(text)) return { id: text.toLowerCase() };
  const at = text.indexOf("/");
  const [provider, name] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)];
  if (provider !== "" && name !== "" && text.isWellFormed()) return { provider, name };
  throw noName();
}

function noName(): KeyrowError {
  return new KeyrowError("VALIDATION", {
    message: "That is not the name of a credential.",
    hint: "Write <provider>/<name>, as in github/deploy, or the credential's id.",
  });
}

/** The filter for one credential: by its id, or in a place. */
export function filterOf(which: Which, place: UserCredentialFilter): UserCredentialFilter {
  if ("id" in which) return { id: { equalTo: which.id } };
  return { provider: { equalTo: which.provider }, name: { equalTo: which.name }, ...place };
}

/**
 * The filter for the credentials that a pattern names in a place: the one of a whole name, or the active ones that fit
 * where it has `*`, any text within provider or name, which the first slash parts. Throws VALIDATION for what is no pattern.
 */
export function filterOfPattern(pattern: string, place: UserCredentialFilter): UserCredentialFilter {
  const which = parseWhich(pattern);
  if ("id" in which || !pattern.includes("*")) return filterOf(which, place);
  return { provider: matching(which.provider), name: matching(which.name), isActive: { equalTo: true }, ...place };
}

function matching(part: string) {
  if (!part.includes("*")) return { equalTo: part };
  return { like: part.replace(/[\\%_]/g, "\\$&").replace(/\*+/g, "%") };
}

/** The filter for a place: what is one's own, whatever a policy shows of others', or a workspace. */
export function placeOf(workspace: string | undefined): UserCredentialFilter {
  return workspace === undefined
    ? { scope: { equalTo: "USER" }, workspaceId: { isNull: true }, own: true }
    : { scope: { equalTo: "WORKSPACE" }, workspaceId: { equalTo: workspace } };
}

/** The id of the only workspace of a name, of those that were found. Throws NOT_FOUND, or USAGE where two have the name. */
export function onlyWorkspace([id, another]: readonly string[]): string {
  if (id === undefined) {
    throw new KeyrowError("NOT_FOUND", { message: "There is no workspace of that name, or it is not visible to you." });
  }
  if (another === undefined) return id;
  throw new KeyrowError("USAGE", { message: "Two workspaces have that name.", hint: "Give its id." });
}

/** What a row says of which credential it is. */
interface Row {
  readonly id: string;
  readonly provider: string;
  readonly name: string;
  readonly scope: string;
  readonly workspaceId: string | null;
}

/** Whether a row is the credential that is meant. */
export function isNamed(row: Row, which: Which, workspace: string | undefined): boolean {
  if ("id" in which) return row.id === which.id;
  return isThere(row, workspace) && row.provider === which.provider && row.name === which.name;
}

/** Whether a row is one that a pattern names, as `filterOfPattern` asks for it. */
export function isMatched(row: Row, pattern: string, workspace: string | undefined): boolean {
  const which = parseWhich(pattern);
  if ("id" in which) return row.id === which.id;
  return isThere(row, workspace) && fits(which.provider, row.provider) && fits(which.name, row.name);
}

function isThere({ scope, workspaceId }: Row, workspace: string | undefined): boolean {
  if (workspace === undefined) return scope === "USER" && workspaceId === null;
  return scope === "WORKSPACE" && workspaceId === workspace.toLowerCase();
}

/** Whether a text fits a part of a pattern; as a regular expression it could be made to take for ever. */
function fits(part: string, text: unknown): boolean {
  // A server can answer anything.
  if (typeof text !== "string") return false;
  const [first = "", ...rest] = part.split("*");
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let from = first.length;
  for (const piece of rest) {
    const at = text.indexOf(piece, from);
    if (at < 0) return false;
    from = at + piece.length;
  }
  return from <= text.length - last.length;
}
