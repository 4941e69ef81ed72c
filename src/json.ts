import { isUtf8 } from "node:buffer";

type Scope = { readonly keys: Set<string>; atKey: boolean } | undefined;

// Strings as a whole, so that a brace inside one is never taken for structure. It runs on valid JSON only.
const token = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\],:]/g;

/**
 * Reads JSON and refuses an object that names a key twice: two readers may then disagree on which one counts.
 * Throws a SyntaxError that never repeats the text, as the one of `JSON.parse` does.
 */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new SyntaxError("This is not JSON.");
  }
  if (repeatsKey(text)) throw new SyntaxError("A key stands twice in one object.");
  return value;
}

/** Reads bytes as UTF-8 and JSON; throws like `parseJson`, and where the bytes are not UTF-8. */
export function parseJsonBytes(bytes: Uint8Array): unknown {
  if (!isUtf8(bytes)) throw new SyntaxError("This is not UTF-8.");
  return parseJson(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8"));
}

function repeatsKey(text: string): boolean {
  const scopes: Scope[] = [];
  for (const [part] of text.matchAll(token)) {
    const scope = scopes.at(-1);
    if (part === "{") scopes.push({ keys: new Set(), atKey: true });
    else if (part === "[") scopes.push(undefined);
    else if (part === "}" || part === "]") scopes.pop();
    else if (scope === undefined) continue;
    else if (part === ",") scope.atKey = true;
    else if (part === ":") scope.atKey = false;
    else if (scope.atKey) {
      // Compared as read, not as written: "\u0061" and "a" are one key.
      const key = JSON.parse(part) as string;
      if (scope.keys.has(key)) return true;
      scope.keys.add(key);
    }
  }
  return false;
}
