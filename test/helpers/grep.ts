import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Settings with which PostgreSQL tells everything that it can be made to tell. */
export const talkative = {
  fsync: "off",
  wal_level: "logical",
  shared_preload_libraries: "pg_stat_statements",
  "pg_stat_statements.track": "all",
  log_statement: "all",
  log_min_duration_statement: "0",
  log_parameter_max_length: "-1",
  log_parameter_max_length_on_error: "-1",
  log_min_error_statement: "debug5",
  log_min_messages: "debug2",
  log_error_verbosity: "verbose",
  log_connections: "all",
  log_disconnections: "on",
  log_lock_waits: "on",
  debug_print_plan: "on",
};

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/** Random letters and digits. */
export const random = (length: number) => Array.from(randomBytes(length), (byte) => alphabet[byte % 62]).join("");

/** The ways that bytes can be written: each what it is called, and what to look for. */
export function formsOf(secret: string | Buffer): Array<[form: string, needle: Buffer]> {
  const bytes = Buffer.from(secret as string);
  const forms: Array<[string, string | Buffer]> = [
    ["raw", bytes],
    ["hex", bytes.toString("hex")],
    ["HEX", bytes.toString("hex").toUpperCase()],
    // As PostgreSQL prints a constant in a plan.
    ["decimal", Array.from(bytes).join(" ")],
  ];
  for (const alignment of [0, 1, 2]) {
    // Without the first and last characters, which belong to the neighbours as well.
    const padded = Buffer.concat([Buffer.alloc(alignment), bytes]);
    const inner = padded
      .toString("base64")
      .replaceAll("=", "")
      .slice(alignment === 0 ? 0 : alignment + 1, -1);
    forms.push(
      [`base64 at ${alignment}`, inner],
      [`base64url at ${alignment}`, inner.replaceAll("+", "-").replaceAll("/", "_")],
    );
  }
  if (typeof secret === "string") {
    const json = JSON.stringify(secret).slice(1, -1);
    forms.push(
      ["URL", encodeURIComponent(secret)],
      ["form", encodeURIComponent(secret).replaceAll("%20", "+")],
      ["JSON", json],
      ["JSON in JSON", JSON.stringify(json).slice(1, -1)],
      ["SQL", secret.replaceAll("'", "''")],
      ["UTF-16", Buffer.from(secret, "utf16le")],
    );
  }
  return forms.map(([form, needle]) => [form, Buffer.from(needle as string)]);
}

/** A place where something could be found. */
export interface Place {
  readonly name: string;
  readonly bytes: Buffer;
}

/** The files below a directory. */
export function filesIn(directory: string): Place[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ name: path.slice(directory.length + 1), bytes: readFileSync(path) }));
}

/** A needle: what it is called, and its bytes, four or more. */
export type Needle = readonly [title: string, bytes: Buffer];

/** Which needles are in which places. In one pass, for there are thousands of them: by their first four bytes. */
export function search(places: readonly Place[], needles: readonly Needle[]): string[] {
  const byStart = new Map<number, Needle[]>();
  const known = new Uint8Array(1 << 24);
  for (const needle of needles) {
    const start = needle[1].readUInt32LE(0);
    byStart.set(start, [...(byStart.get(start) ?? []), needle]);
    known[start & 0xffffff] = 1;
  }
  const found = new Set<string>();
  for (const { name, bytes } of places) {
    let last = 0;
    for (let end = 0; end < bytes.length; end++) {
      // The three bytes before this one and this one; the table of three rules out nearly everything.
      last = ((last >>> 8) | ((bytes[end] as number) << 24)) >>> 0;
      if (known[last & 0xffffff] === 0) continue;
      for (const [title, needle] of byStart.get(last) ?? []) {
        const start = end - 3;
        if (bytes.subarray(start, start + needle.length).equals(needle)) found.add(`${name}: ${title}`);
      }
    }
  }
  return [...found];
}

/** Where a secret is, in which form. */
export function find(places: readonly Place[], secret: string | Buffer): string[] {
  return search(places, formsOf(secret));
}
