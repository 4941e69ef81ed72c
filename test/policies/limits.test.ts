import test from "ava";
import { array, assert, asyncProperty, constantFrom, string } from "fast-check";
import { parseLimits } from "../../src/token-limits.ts";
import { createTestDatabase } from "../helpers/database.ts";
import {
  become,
  type Claim,
  holdsBecauseOfIt,
  ids,
  inWorld,
  type Outcome,
  outcome,
  type Persona,
  personas,
  type Sandbox,
  sealed,
  superuser,
} from "./world.ts";

// What a token's limits leave of its user's rights. The cells of each limited persona are in the matrix.

const database = await createTestDatabase();
test.after.always(() => database.drop());
const pool = database.pool("postgres");
const withoutIt = test.macro((t, claim: Claim) => holdsBecauseOfIt(t, pool, claim));

const { owner: ana } = personas;
const admin = personas["workspace admin"];
const limitedTo = (limits: unknown, who: Persona = admin): Persona => ({ ...who, limits });
const all = "select provider, name from public.user_credentials";

// ------------------------------------------------------------------------------------------------------------- patterns

/** A world of one user's credentials; gives what a token with these limits lists of them. */
async function listed(limits: unknown, names: ReadonlyArray<readonly [provider: string, name: string]>) {
  return inWorld(pool, async (s) => {
    await s.run(`delete from public.user_credentials where user_id = '${ids.ana}'`);
    await s.client.query(
      `insert into public.user_credentials (user_id, provider, name, type, encrypted_value, key_id)
       select '${ids.ana}', provider, name, 'SECRET', '${sealed()}', 'local:20260101-0000000a'
       from unnest($1::text[], $2::text[]) made (provider, name)`,
      [names.map(([provider]) => provider), names.map(([, name]) => name)],
    );
    // A request's own.
    await s.run("set local statement_timeout = '10s'");
    const rows = await s.rows<{ provider: string; name: string }>(limitedTo(limits, ana), all);
    return rows.map(({ provider, name }) => [provider, name] as const);
  });
}

const matching: ReadonlyArray<[pattern: string, provider: string, name: string, matches: boolean]> = [
  ["github/deploy", "github", "deploy", true],
  ["github/deploy", "github", "deploys", false],
  ["github/deploy", "xgithub", "deploy", false],
  ["github/deploy", "GitHub", "deploy", false],
  ["github/*", "github", "", true],
  ["github/*", "github", "a/b", true],
  ["github/*", "github", "line\nline", true],
  ["github/*", "githubs", "x", false],
  ["*/*", "anything/at", "all/of it", true],
  ["git*/d*y", "github", "deploy", true],
  ["git*/d*y", "git", "dy", true],
  ["git*/d*y", "git", "dyx", false],
  // The first slash parts them: neither side reaches into the other.
  ["github/a*", "github/a", "x", false],
  ["github/aws/x", "github", "aws/x", true],
  ["github/aws/x", "github/aws", "x", false],
  ["g*/x", "github", "aws/x", false],
  // Nothing else is special.
  ["git_ub/%", "github", "deploy", false],
  ["git_ub/%", "git_ub", "%", true],
  ["g.thub/d.*", "github", "deploy", false],
  ["g.thub/d.*", "g.thub", "d.anything", true],
  ["[g]ithub/(d|x)+", "github", "d", false],
  ["[g]ithub/(d|x)+", "[g]ithub", "(d|x)+", true],
  ["github/d|ploy", "github", "d", false],
  ["^github/deploy$", "github", "deploy", false],
  ["git\\hub/\\d", "git\\hub", "\\d", true],
  ["git\\hub/\\d", "github", "1", false],
  ["github/{1}?", "github", "{1}?", true],
  // Stars beside each other are one.
  ["***:git**b/**", "x:github", "x", true],
  ["***:github/*", "github", "x", false],
  ["é*/ß", "été", "ß", true],
  ["é*/ß", "été", "ss", false],
  ["*/a*", "x\u0001a", "b", false],
  ["*/a*", "x", "a\u0001b\u0002", true],
];
for (const [pattern, provider, name, matches] of matching) {
  const title = JSON.stringify(`${provider} / ${name}`);
  test(`${pattern} ${matches ? "matches" : "does not match"} ${title}`, async (t) => {
    const rows = await listed({ credentials: [pattern] }, [[provider, name]]);
    t.deepEqual(rows, matches ? [[provider, name]] : []);
  });
}

/** What a pattern means, by another way: each star takes as little as it can, from left to right. */
function matchesSide(pattern: string, text: string): boolean {
  const [first = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return pattern === text;
  const last = rest.pop() as string;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}

const letters = constantFrom(
  "a",
  "b",
  "A",
  "*",
  "/",
  ".",
  "%",
  "_",
  "\\",
  "[",
  "(",
  "|",
  "$",
  "^",
  "?",
  "é",
  "\u{1f511}",
);
const side = string({ unit: letters, minLength: 1, maxLength: 6 });

test("any pattern matches what it says and nothing else", async (t) => {
  const asked = asyncProperty(
    array(side, { minLength: 1, maxLength: 4 }),
    array(side, { minLength: 1, maxLength: 8 }),
    async (providers, parts) => {
      const patterns = parts.map(
        (part, index) => `${providers[index % providers.length]?.replaceAll("/", "")}*/${part}`,
      );
      const names = providers.flatMap((provider) => parts.map((name) => [provider, name] as const));
      const unique = [...new Map(names.map((one) => [JSON.stringify(one), one])).values()];
      const expected = unique.filter(([provider, name]) =>
        patterns.some((pattern) => {
          const slash = pattern.indexOf("/");
          return matchesSide(pattern.slice(0, slash), provider) && matchesSide(pattern.slice(slash + 1), name);
        }),
      );
      const rows = await listed({ credentials: patterns }, unique);
      t.deepEqual(rows.map(String).toSorted(), expected.map(String).toSorted());
    },
  );
  await assert(asked, { numRuns: 60 });
});

// As large as patterns may be, in the forms that cost the most: letters of which no two are the same, and names that fit
// nearly everywhere.
const many = (pattern: (index: number) => string) => Array.from({ length: 100 }, (_, index) => pattern(index));
const different = (index: number, length: number) =>
  String.fromCodePoint(...Array.from({ length }, (_, at) => 0x4e00 + index * length + at));
const largest: ReadonlyArray<[what: string, patterns: readonly string[], name: string]> = [
  ["as many stars as there is room for", many((i) => `${"a*".repeat(50)}/${"*b".repeat(125)}${i}`), "b".repeat(253)],
  ["letters that are all different", many((i) => `a*/${different(i, 83)}*${different(i, 83)}*${different(i, 83)}`), ""],
  ["names that fit nearly everywhere", many((i) => `a*/*${"b".repeat(126)}*${"b".repeat(120)}${i}`), "b".repeat(253)],
];
for (const [what, patterns, name] of largest) {
  test(`patterns as large as they may be are compared within the time of a request: ${what}`, async (t) => {
    const [last = ""] = patterns.slice(-1);
    const fitting = `${name}${last.slice(last.indexOf("/") + 1).replaceAll("*", "")}`.slice(-255);
    const rows = await listed({ credentials: patterns }, [
      ["a".repeat(50), fitting],
      ...Array.from({ length: 50 }, (_, index) => ["a".repeat(50), `${"b".repeat(250)}-${index}`] as const),
    ]);
    t.deepEqual(rows, [["a".repeat(50), fitting]]);
  });
}

// ------------------------------------------------------------------------------------- what is not said or not understood

const statements = [
  all,
  `insert into public.user_credentials (user_id, name, provider, type, encrypted_value, key_id)
   values ('${ids.ana}', 'new', 'github', 'SECRET', '${sealed()}', 'local:20260101-0000000a')`,
  `update public.user_credentials set description = 'x' where id = '${ids.USER}'`,
  `delete from public.user_credentials where id = '${ids.USER}'`,
  `select id from keyrow.reveal_user_credentials(array['${ids.USER}']::uuid[])`,
  "select id from public.users",
  "select id from public.workspaces",
  "select workspace_id from public.workspace_members",
  "select id from public.activity_logs",
];

/** What each statement comes to as Ana, with these settings beside the role. */
async function withSettings(settings: Readonly<Record<string, string>>): Promise<Outcome[]> {
  const came: Outcome[] = [];
  for (const statement of statements) {
    came.push(
      await inWorld(pool, async ({ client }) => {
        await client.query("set local role keyrow_user");
        for (const entry of Object.entries(settings)) await client.query("select set_config($1, $2, true)", entry);
        return outcome(client, statement);
      }),
    );
  }
  return came;
}

const refused = statements.map(() => "28000");
// The log has nothing of Ana's.
const done = [1, 1, 1, 1, 1, 5, 1, 5, 0];
const mine = { "jwt.claims.user_id": ids.ana };

test("no limits are said explicitly; unset or empty, every statement is refused", async (t) => {
  t.deepEqual(await withSettings({ ...mine, "keyrow.limits": "none" }), done);
  t.deepEqual(await withSettings(mine), refused);
  t.deepEqual(await withSettings({ ...mine, "keyrow.limits": "" }), refused);
});

test("with the claims set as PostgREST sets them, limits are read from them, and no claim is no limit", async (t) => {
  const claims = (more: object) => ({ "request.jwt.claims": JSON.stringify({ sub: ids.ana, ...more }) });
  t.deepEqual(await withSettings(claims({})), done);
  const readsOnly = [1, "42501", 0, 0, 0, 1, 1, 1, 0];
  t.deepEqual(await withSettings(claims({ keyrow: { actions: ["read"] } })), readsOnly);
  t.deepEqual(await withSettings(claims({ keyrow: [{ actions: ["read"] }] })), readsOnly);
  t.deepEqual(await withSettings({ ...mine, ...claims({ keyrow: { actions: ["read"] } }) }), readsOnly);
  // Where both are set, it is the setting that counts, as the server's own is.
  t.deepEqual(await withSettings({ ...claims({}), "keyrow.limits": '[{"actions":["read"]}]' }), readsOnly);
});

const senseless: ReadonlyArray<[what: string, claim: unknown]> = [
  ["null", null],
  ["a text", "none"],
  ["the word for none", "[]"],
  ["a number", 1],
  ["an empty array", []],
  ["an array in the array", [[{ actions: ["read"] }]]],
  ["null in the array", [{ actions: ["read"] }, null]],
  ["more limits than are read", Array(33).fill({})],
  ["an unknown key", { credentials: ["a/b"], action: ["read"] }],
  ["a key in capitals", { Actions: ["read"] }],
  ["an unknown action", { actions: ["read", "delete"] }],
  ["an action in capitals", { actions: ["READ"] }],
  ["an action that is no text", { actions: [1] }],
  ["actions that are a text", { actions: "read" }],
  ["actions that are null", { actions: null }],
  ["more actions than there are", { actions: ["read", "read", "read", "read"] }],
  ["credentials that are a text", { credentials: "github/*" }],
  ["credentials that are null", { credentials: null }],
  ["a pattern that is no text", { credentials: [["github/*"]] }],
  ["an empty pattern", { credentials: ["github/*", ""] }],
  ["a pattern without a slash", { credentials: ["github"] }],
  ["a lonely star", { credentials: ["*"] }],
  ["a pattern without a provider", { credentials: ["/x"] }],
  ["a pattern without a name", { credentials: ["github/"] }],
  ["a pattern with a control character", { credentials: ["git\u0001*/x"] }],
  ["a pattern with half a character", { credentials: ["git\ud800/x"] }],
  ["a pattern that is too long", { credentials: [`${"x".repeat(101)}/x`] }],
  ["more patterns than are read", { credentials: Array(101).fill("a/b") }],
  ["a workspace that is no UUID", { workspace: "team" }],
  ["a workspace in braces", { workspace: `{${ids.team}}` }],
  ["workspaces in an array", { workspace: [ids.team] }],
  ["a workspace that is null", { workspace: null }],
];
for (const [what, claim] of senseless) {
  test(`a limit that can't be understood denies everything, and a token with it is none: ${what}`, async (t) => {
    const claims = JSON.stringify({ sub: ids.ana, keyrow: claim });
    for (const came of [
      ...(await withSettings({ "request.jwt.claims": claims })),
      ...(await withSettings({ ...mine, "keyrow.limits": JSON.stringify(claim) })),
    ]) {
      t.true(came === "28000" || came === "22P02", `${came}`);
    }
    t.throws(() => parseLimits(claim));
  });
}

const sensible: readonly unknown[] = [
  {},
  [{}],
  { credentials: [] },
  { actions: [] },
  { credentials: ["*/*"], actions: ["read", "reveal", "write"], workspace: ids.team.toUpperCase() },
  { credentials: ["\u{1f511}".repeat(100).concat("/", "é".repeat(255))] },
  Array(32).fill({ actions: ["read"] }),
];
test("what a token may say, the database understands, and the other way round", async (t) => {
  for (const claim of sensible) {
    t.notThrows(() => parseLimits(claim));
    const { rows } = await pool.query(
      "select bool_and(keyrow.is_limit(one)) as understood from jsonb_array_elements($1::jsonb) one",
      [JSON.stringify(Array.isArray(claim) ? claim : [claim])],
    );
    t.deepEqual(rows, [{ understood: true }], JSON.stringify(claim));
  }
});

test("a workspace is the same in capitals", async (t) => {
  const outcomes = await inWorld(pool, (s) => s.try(limitedTo({ workspace: ids.team.toUpperCase() }), all));
  t.is(outcomes, 1);
});

// ------------------------------------------------------------------------------------------------- beside the credentials

const members = "select user_id from public.workspace_members";
const inBoth = (s: Sandbox) =>
  s.run(`insert into public.workspace_members (workspace_id, user_id, role)
    values ('${ids.otherTeam}', '${ids.workspaceAdmin}', 'ADMIN')`);

// with these limits, does what: rows touched
const beside: Array<[title: string, limits: unknown, sql: string, expected: Outcome]> = [
  ["a token without limits sees those it shares workspaces with", undefined, "select id from public.users", 6],
  ["a limited token sees its own user alone", {}, "select id from public.users", 1],
  ["a token without limits sees its workspaces", undefined, "select id from public.workspaces", 2],
  ["a token that is limited to no workspace sees its own", {}, "select id from public.workspaces", 2],
  [
    "a token that is limited to a workspace sees that one",
    { workspace: ids.team },
    "select id from public.workspaces",
    1,
  ],
  [
    "two workspaces at once are none",
    [{ workspace: ids.team }, { workspace: ids.otherTeam }],
    "select id from public.workspaces",
    0,
  ],
  ["a token that may do nothing sees no workspace", { actions: [] }, "select id from public.workspaces", 0],
  ["a token without limits sees who belongs where", undefined, members, 7],
  ["a limited token sees where its own user belongs", {}, members, 2],
  ["a token that is limited to a workspace sees its own user there", { workspace: ids.team }, members, 1],
  ["a token without limits reads the log", undefined, "select id from public.activity_logs", 1],
  ["a limited token reads nothing of the log", {}, "select id from public.activity_logs", 0],
];
for (const [title, limits, sql, expected] of beside) {
  test(title, async (t) => {
    const came = await inWorld(pool, async (s) => {
      await inBoth(s);
      return s.try(limits === undefined ? admin : limitedTo(limits), sql);
    });
    t.is(came, expected);
  });
}

for (const table of ["users", "workspaces", "workspace_members", "activity_logs"]) {
  test(`a limited token writes nothing into ${table}, whatever is granted and permitted`, async (t) => {
    await inWorld(pool, async (s) => {
      // The log is append-only for everybody, which is a trigger's work.
      if (table === "activity_logs") await s.run("drop trigger activity_logs_append_only on public.activity_logs");
      await s.run(`
        grant insert, update, delete on public.${table} to keyrow_user;
        create policy open on public.${table} to keyrow_user using (true) with check (true)`);
      const write: Record<string, [insert: string, set: string]> = {
        users: [`(id) values ('${ids.SYSTEM}')`, "name = 'x'"],
        workspaces: ["(name) values ('x')", "name = 'x'"],
        workspace_members: [
          `(workspace_id, user_id) values ('${ids.otherTeam}', '${ids.workspaceAdmin}')`,
          "role = 'OWNER'",
        ],
        activity_logs: [`(action, entity_type, entity_id) values ('CREATED', 'USER', '${ids.ana}')`, "details = '{}'"],
      };
      const [insert, set] = write[table] as [string, string];
      const three = [
        `insert into public.${table} ${insert}`,
        `update public.${table} set ${set}`,
        `delete from public.${table}`,
      ];
      const limited = [];
      for (const statement of three) limited.push(await s.try(limitedTo({}), statement));
      t.deepEqual(limited, ["42501", 0, 0]);
      t.is(await s.try(admin, three[0] as string), 1);
      t.not(await s.try(admin, three[1] as string), 0);
    });
  });
}

test("a limited token makes no user, not even its own at a first token", withoutIt, {
  scenario: (s) =>
    s.try({ ...ana, user: ids.SYSTEM, limits: {} }, "select keyrow.provision_user('new@example.org', 'New')"),
  holds: "42501",
  withoutIt: "drop policy users_insert_limited on public.users",
  broken: 1,
});

// -------------------------------------------------------------------------------------------------------- the credentials

test("a credential is renamed neither out of a limit nor into it", async (t) => {
  const rename = (name: string) => `update public.user_credentials set name = '${name}' where id = '${ids.WORKSPACE}'`;
  const only = (pattern: string) => limitedTo({ credentials: [pattern] });
  const came = (who: Persona, sql: string) => inWorld(pool, (s) => s.try(who, sql));
  t.is(await came(only("github/d*"), rename("deliver")), 1);
  t.is(await came(only("github/d*"), rename("release")), "42501");
  t.is(await came(only("github/release"), rename("release")), 0);
  const provider = `update public.user_credentials set provider = 'gitlab' where id = '${ids.WORKSPACE}'`;
  t.is(await came(only("github/*"), provider), "42501");
});

test("what a limited token does is on the record, although it can't read the log", async (t) => {
  await inWorld(pool, async (s) => {
    const who = limitedTo({ credentials: ["github/*"] });
    const added = `insert into public.user_credentials
      (user_id, workspace_id, name, provider, type, scope, encrypted_value, key_id)
      values ('${ids.workspaceAdmin}', '${ids.team}', 'new', 'github', 'SECRET', 'WORKSPACE', '${sealed()}', 'local:20260101-0000000a')`;
    t.is(await s.try(who, added), 1);
    t.is(await s.try(who, `select * from keyrow.reveal_user_credentials(array['${ids.WORKSPACE}']::uuid[])`), 1);
    t.is(await s.try(who, `update public.user_credentials set is_active = false where id = '${ids.WORKSPACE}'`), 1);
    t.is(await s.try(who, `delete from public.user_credentials where name = 'new'`), 1);
    const log = await s.rows<{ action: string }>(
      superuser,
      `select action from public.activity_logs where user_id = '${ids.workspaceAdmin}' order by id`,
    );
    t.deepEqual(
      log.map(({ action }) => action),
      ["CREDENTIAL_CREATED", "CREDENTIAL_ACCESSED", "CREDENTIAL_REVOKED", "CREDENTIAL_REVOKED"],
    );
  });
});

test("the functions that tell who belongs where answer for the user, whatever the limits", async (t) => {
  await inWorld(pool, async (s) => {
    for (const limits of [undefined, {}, { workspace: ids.otherTeam }, { credentials: [] }]) {
      const who = limits === undefined ? admin : limitedTo(limits);
      t.deepEqual(await s.rows(who, "select keyrow.admin_workspace_ids() as id"), [{ id: ids.team }]);
      t.deepEqual(await s.rows(who, "select keyrow.member_workspace_ids() as id"), [{ id: ids.team }]);
    }
  });
});

test("maintenance has no limits, and needs none said", async (t) => {
  for (const name of ["DB admin", "table owner", "worker"] as const) {
    const came = await inWorld(pool, async ({ client }) => {
      await client.query(`set local role ${personas[name].role ?? "keyrow_worker"}`);
      return outcome(client, "select id from public.user_credentials");
    });
    t.is(came, 3, name);
  }
});

const insert = (name: string) => `insert into public.user_credentials
  (user_id, workspace_id, name, provider, type, scope, encrypted_value, key_id)
  values ('${ids.workspaceAdmin}', '${ids.team}', '${name}', 'github', 'SECRET', 'WORKSPACE', '${sealed()}', 'local:20260101-0000000a')`;
const other = { credentials: ["github/other"] };
const policies: Array<[command: string, sql: string, limits: unknown, holds: Outcome]> = [
  ["select", all, other, 0],
  [
    "reveal",
    `select * from keyrow.reveal_user_credentials(array['${ids.WORKSPACE}']::uuid[])`,
    { actions: ["write"] },
    0,
  ],
  ["insert", insert("new"), other, "42501"],
  // The list's policy lets them read, so that only the other can refuse.
  [
    "update",
    `update public.user_credentials set description = 'x' where id = '${ids.WORKSPACE}'`,
    { actions: ["read"] },
    0,
  ],
  ["delete", `delete from public.user_credentials where id = '${ids.WORKSPACE}'`, { actions: ["read"] }, 0],
];
for (const [command, sql, limits, holds] of policies) {
  test(`the policy for ${command} holds by itself`, withoutIt, {
    scenario: (s) => s.try(limitedTo(limits), sql),
    holds,
    withoutIt: `drop policy user_credentials_${command}_limited on public.user_credentials`,
    broken: 1,
  });
}

test("PostgREST's claims and the server's setting come to the same, for any order of the array", async (t) => {
  const two = [{ credentials: ["github/*"] }, { actions: ["write"], workspace: ids.team }];
  for (const limits of [two, two.toReversed()]) {
    for (const convention of ["keyrow", "postgrest"] as const) {
      const came = await inWorld(pool, async ({ client }) => {
        await become(client, limitedTo(limits), convention);
        return outcome(client, all);
      });
      t.is(came, 1);
    }
  }
});
