import type pg from "pg";
import { KeyrowError } from "./errors.ts";

/**
 * What a session of Keyrow's begins with, whatever defaults its login has: whoever has the login's password can change
 * them, and most of these change what a statement or a function means, or what its answer says. `test/login-defaults.test.ts`
 * asks PostgreSQL for every setting that a login may change, and says why the others are not here.
 */
export const loginDefaults: Readonly<Record<string, string>> = {
  // Who asks, and what names mean.
  role: "none",
  row_security: "on",
  search_path: "pg_catalog,public,pg_temp",
  // How the texts of statements and functions read.
  standard_conforming_strings: "on",
  backslash_quote: "safe_encoding",
  transform_null_equals: "off",
  quote_all_identifiers: "off",
  "plpgsql.check_asserts": "on",
  "plpgsql.extra_errors": "none",
  "plpgsql.extra_warnings": "none",
  // How values read and are written. A date without a zone is one of UTC.
  array_nulls: "on",
  bytea_output: "hex",
  DateStyle: "ISO,MDY",
  extra_float_digits: "1",
  IntervalStyle: "postgres",
  lc_monetary: "C",
  lc_numeric: "C",
  lc_time: "C",
  TimeZone: "UTC",
  timezone_abbreviations: "Default",
  xmlbinary: "base64",
  xmloption: "content",
  // What an index leaves out of an answer.
  gin_fuzzy_search_limit: "0",
  // What a transaction sees, may write and has on disk.
  default_transaction_deferrable: "off",
  default_transaction_isolation: "read committed",
  default_transaction_read_only: "off",
  synchronous_commit: "on",
  // What ends sessions and statements. Requests set their own.
  exit_on_error: "off",
  idle_in_transaction_session_timeout: "0",
  idle_session_timeout: "0",
  local_preload_libraries: "",
  lock_timeout: "0",
  statement_timeout: "0",
  // What comes into the server's log, or to the client beside the answer.
  client_min_messages: "warning",
  debug_print_parse: "off",
  debug_print_plan: "off",
  debug_print_rewritten: "off",
  log_parameter_max_length_on_error: "0",
  // Short queries all: planning for JIT costs more than it saves.
  jit: "off",
};

// Goes with them, and is nobody else's.
const MARK = "keyrow.defaults";

const options = Object.entries({ ...loginDefaults, [MARK]: "set" }).map(
  ([name, value]) => `-c ${name}=${value.replaceAll(" ", "\\ ")}`,
);

/**
 * Splits an address of a database into what pg takes beside each other: the address, and the startup options that it may
 * bring, followed by Keyrow's own. They go with the first message of a connection, and weigh more than a login's defaults.
 */
export function withLoginDefaults(url: string): { readonly connectionString: string; readonly options: string } {
  const address = new URL(url);
  const own = address.searchParams.get("options");
  address.searchParams.delete("options");
  return {
    // A connection string reads `+` as it stands, not as a space.
    connectionString: own === null ? url : address.href.replaceAll("+", "%20"),
    options: [...(own === null ? [] : [own]), ...options].join(" "),
  };
}

/** Refuses a database whose sessions don't begin with them: a pooler between can be told to leave startup options out. */
export async function checkLoginDefaults(pool: pg.Pool): Promise<void> {
  const { rows } = await pool.query<{ mark: string | null }>("select current_setting($1, true) as mark", [MARK]);
  if (rows[0]?.mark === "set") return;
  throw new KeyrowError("CONFIG_INVALID", {
    message:
      "DATABASE_URL: what is between there leaves out the startup parameter `options`, which Keyrow's sessions need.",
    hint: "Address PostgreSQL itself, or let the pooler pass it on: a setting such as PgBouncer's `ignore_startup_parameters` drops it.",
  });
}
