import test from "ava";
import pg from "pg";
import { createPool } from "../src/database.ts";
import { KeyrowError } from "../src/errors.ts";
import { checkLoginDefaults, loginDefaults } from "../src/login-defaults.ts";
import { withConnection } from "../src/setup.ts";
import { createTestDatabase } from "./helpers/database.ts";
import { hasPostgres15, startPostgres15 } from "./helpers/system-postgres.ts";
import { ids, inWorld, personas, type Sandbox } from "./policies/world.ts";

// Whoever has a login's password can change its defaults, which act at its next connection.

const database = await createTestDatabase();
test.after.always(() => database.drop());

/** Settings that a login may change and that leave every answer as it is, by what they are for. */
const harmless: Readonly<Record<string, RegExp>> = {
  "pg and the pool set it at each connection": /^(application_name|client_encoding)$/,
  "how a plan is made, and how fast and wide it runs":
    /^(enable_|geqo|jit_|cpu_|(seq|random)_page_cost|parallel_|(min|max)_parallel_|(force|debug)_parallel_|cursor_tuple_fraction|constraint_exclusion|(from|join)_collapse_limit|plan_cache_mode|recursive_worktable_factor|effective_|work_mem|hash_mem_multiplier|temp_buffers|synchronize_seqscans|stats_fetch_consistency|default_statistics_target)/,
  "input, output and upkeep, which a request has none of":
    /^(vacuum_|maintenance_|backend_flush_after|io_combine_limit|file_copy_method|gin_pending_list_limit|commit_siblings|wal_|logical_decoding_|debug_logical_)/,
  "what is made anew, and a server's login makes nothing":
    /^(check_function_bodies|createrole_self_grant|default_table(space|_access_method)|default_toast_compression|temp_tablespaces|icu_validation_level|password_encryption|scram_iterations)$/,
  "warnings and their form": /^(escape_string_warning|md5_password_warnings|debug_pretty_print|trace_(notify|sort))$/,
  "of each transaction, which begins with its default": /^transaction_(deferrable|isolation|read_only)$/,
  "it can only break connections off, or refuse: older versions don't know it, and would refuse it":
    /^(transaction_timeout|restrict_nonsystem_relation_kind)$/,
  "how a silent connection is noticed": /^(tcp_|client_connection_check_interval)/,
  "an application's own, set for its database": /^default_text_search_config$/,
};

const changeable = "select name from pg_settings where context = 'user' order by name";

function unknownOf(rows: ReadonlyArray<{ name: string }>): string[] {
  return rows.map(({ name }) => name).filter((name) => !Object.hasOwn(loginDefaults, name) && !reasonOf(name));
}

const reasonOf = (name: string) => Object.values(harmless).some((pattern) => pattern.test(name));

test("every setting that a login may change is set by Keyrow, or leaves answers as they are", async (t) => {
  const { rows } = await database.pool("postgres").query<{ name: string }>(changeable);
  t.true(rows.length > 100);
  t.deepEqual(unknownOf(rows), []);
  t.deepEqual(Object.keys(loginDefaults).filter(reasonOf), ["jit"].filter(reasonOf), "one or the other");
});

(hasPostgres15 ? test : test.skip)("on PostgreSQL 15 as well, which takes all that Keyrow sets", async (t) => {
  const server = await startPostgres15();
  t.teardown(() => server.stop());
  const { rows } = await withConnection(server.url("postgres", "postgres"), (client) =>
    client.query<{ name: string }>(changeable),
  );
  t.deepEqual(unknownOf(rows), []);
  const pool = createPool(server.url("postgres", "postgres"), { max: 1 });
  t.teardown(() => pool.end());
  await t.notThrowsAsync(pool.query("select"));
});

/** Another value for each of them that a login may give itself. */
const hostile: Readonly<Record<string, string>> = {
  role: "keyrow_user",
  row_security: "off",
  search_path: "''",
  standard_conforming_strings: "off",
  backslash_quote: "on",
  transform_null_equals: "on",
  quote_all_identifiers: "on",
  "plpgsql.check_asserts": "off",
  "plpgsql.extra_errors": "'all'",
  "plpgsql.extra_warnings": "'all'",
  array_nulls: "off",
  bytea_output: "'escape'",
  DateStyle: "'German, DMY'",
  extra_float_digits: "-15",
  IntervalStyle: "'iso_8601'",
  lc_monetary: "'C.utf8'",
  lc_numeric: "'C.utf8'",
  lc_time: "'C.utf8'",
  TimeZone: "'Pacific/Kiritimati'",
  timezone_abbreviations: "'India'",
  xmlbinary: "'hex'",
  xmloption: "'document'",
  gin_fuzzy_search_limit: "1",
  default_transaction_deferrable: "on",
  default_transaction_isolation: "'serializable'",
  default_transaction_read_only: "on",
  synchronous_commit: "off",
  exit_on_error: "on",
  idle_in_transaction_session_timeout: "1",
  idle_session_timeout: "1",
  local_preload_libraries: "'nowhere'",
  lock_timeout: "1",
  statement_timeout: "1",
  client_min_messages: "'debug5'",
  debug_print_parse: "on",
  debug_print_plan: "on",
  debug_print_rewritten: "on",
  log_parameter_max_length_on_error: "-1",
  jit: "on",
};

// Its own settings are there once it is loaded.
const loadsPlpgsql = "do $$ begin null; end $$";

const shown = "select current_setting($1) as value";

async function values(pool: pg.Pool): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  await pool.query(loadsPlpgsql);
  for (const name of Object.keys(loginDefaults)) {
    const { rows } = await pool.query<{ value: string }>(shown, [name]);
    found[name] = rows[0]?.value.replaceAll(", ", ",") ?? "";
  }
  return found;
}

test.serial("no default of a login's own reaches a session of Keyrow's", async (t) => {
  t.deepEqual(Object.keys(hostile).sort(), Object.keys(loginDefaults).sort());
  const alter = `alter role keyrow_authenticator in database ${database.name}`;
  const login = database.pool("keyrow_authenticator");
  const client = await login.connect();
  // By the login itself, which is what makes it possible.
  await client.query(loadsPlpgsql);
  for (const [name, value] of Object.entries(hostile)) await client.query(`${alter} set ${name} = ${value}`);
  client.release();

  const bare = withConnection(database.url("keyrow_authenticator"), (one) => one.query("select"));
  await t.throwsAsync(bare, { message: /nowhere/ }, "they act on who does not set them");

  const pool = createPool(database.url("keyrow_authenticator"), { max: 1 });
  t.teardown(() => pool.end());
  const expected = { ...loginDefaults };
  t.deepEqual(await values(pool), expected);
  await withConnection(database.url("postgres"), (admin) => admin.query(`${alter} reset all`));
});

test("a server does not start where something between leaves the options out", async (t) => {
  const url = database.url("keyrow_authenticator");
  const [direct, pooled] = [createPool(url, { max: 1 }), new pg.Pool({ connectionString: url, max: 1 })];
  t.teardown(() => Promise.all([direct.end(), pooled.end()]));
  await t.notThrowsAsync(checkLoginDefaults(direct));
  const error = await t.throwsAsync(checkLoginDefaults(pooled), { instanceOf: KeyrowError });
  t.is(error.code, "CONFIG_INVALID");
  t.regex(error.message, /leaves out the startup parameter `options`/);
});

test("what an address says for itself goes on, and comes before Keyrow's own", async (t) => {
  const address = new URL(database.url("keyrow_authenticator"));
  address.searchParams.set("options", "-c geqo=off -c row_security=off");
  const pool = createPool(address.href.replaceAll("+", "%20"), { max: 1 });
  t.teardown(() => pool.end());
  const { rows } = await pool.query("select current_setting('geqo') as geqo, current_setting('row_security') as rls");
  t.deepEqual(rows, [{ geqo: "off", rls: "on" }]);
});

/** Whether a token for `api.acme/*` would reach these, by the functions that every policy asks. */
const reached = (s: Sandbox) =>
  s.rows(
    { ...personas.owner, limits: { credentials: ["api.acme/*", "c|d/x", "e\\f/*"] } },
    `select provider from unnest($1::text[]) provider
     where keyrow.is_within(keyrow.limit_patterns('read'), provider, 'x', '${ids.team}')`,
    [["api.acme", "apixacme", "c", "c|d", "e\\f", "ef"]],
  );

test("limits mean the same where a session reads backslashes in its own way, as under PostgREST or in psql", async (t) => {
  for (const conforming of ["on", "off"]) {
    // A session of its own: functions are read once in each.
    await withConnection(database.url("postgres"), async (client) => {
      const pool = { connect: async () => Object.assign(client, { release: () => undefined }) } as unknown as pg.Pool;
      await client.query("set escape_string_warning = off");
      const found = await inWorld(pool, async (s) => {
        await s.run(`set local standard_conforming_strings = ${conforming}`);
        return reached(s);
      });
      t.deepEqual(found, [{ provider: "api.acme" }, { provider: "c|d" }, { provider: "e\\f" }], conforming);
    });
  }
});
