import { randomUUID } from "node:crypto";
import type pg from "pg";
import { KEYROW_CLAIM } from "../settings/database.ts";
import { attempt } from "./attempt.ts";
import type { Facts, Routine } from "./facts.ts";
import { BY_OWNER, type Finding, shown, USUAL_PATH } from "./finding.ts";

/** What `current_user_id()` gives: an id, null for nobody, or undefined where it raises. */
type Answer = string | null | undefined;

// In Keyrow's functions, which call the application's.
const NARROW_PATH = "pg_catalog, pg_temp";

/** What is asked of the application's functions: those of exactly these types. */
const questions = {
  current_user_id: { types: "", returns: "uuid", call: "select public.current_user_id()::text as id" },
  is_workspace_admin: {
    types: "uuid, uuid",
    returns: "boolean",
    call: "select public.is_workspace_admin(gen_random_uuid(), gen_random_uuid())::text as id",
  },
} as const;
type Asked = keyof typeof questions;

// Each costs a call, and may take its time.
const MOST_NAMES = 20;

/** Asks the application's functions. `client`: in a transaction in which nothing has set a claim yet. Throws NoAnswer. */
export async function* identityFindings(
  client: pg.ClientBase,
  facts: Facts,
  userSetting: string,
): AsyncGenerator<Finding> {
  const asked = routineOf(facts, "current_user_id");
  if (asked === undefined) return;
  const never = await answer(client, {});
  if (typeof never === "string") {
    yield everybody;
    return;
  }
  const names = [...asked.source.matchAll(/'([a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)+)'/gi)];
  // Capitals are one with small letters in the name of a setting.
  const read = await whatItReads(client, [userSetting, ...names.map(([, name = ""]) => name.toLowerCase())]);
  if (read === undefined) {
    yield unread(userSetting);
    return;
  }
  if (read !== userSetting) yield another(userSetting, read);
  if (never === undefined) yield raises(read);
  else if ((await answer(client, { [read]: "" })) === undefined) yield raisesEmpty(read);
  if ((await answer(client, { [read]: "no-uuid" })) === null) yield softened;
  yield* pathFindings(client, facts, read);
}

/** What finds nothing, or anything, by the search path of whoever calls it. */
async function* pathFindings(client: pg.ClientBase, facts: Facts, read: string): AsyncGenerator<Finding> {
  const claims = { [KEYROW_CLAIM]: randomUUID(), [read]: randomUUID() };
  for (const name of Object.keys(questions) as Asked[]) {
    const routine = routineOf(facts, name);
    if (routine === undefined) continue;
    if ((await answer(client, claims, name)) === undefined) yield broken(routine);
    else if (!routine.searchPath && (await answer(client, claims, name, NARROW_PATH)) === undefined)
      yield lost(routine);
    else if (!routine.searchPath && routine.definer) yield open(routine);
  }
}

function routineOf({ routines }: Facts, name: Asked): Routine | undefined {
  const { types, returns } = questions[name];
  return routines.find(
    (one) => one.schema === "public" && one.name === name && one.types === types && one.returns === returns,
  );
}

/** The first setting that it follows, with Keyrow's own set as each request sets it. */
async function whatItReads(client: pg.ClientBase, names: readonly string[]): Promise<string | undefined> {
  for (const name of [...new Set(names)].slice(0, MOST_NAMES)) {
    const id = randomUUID();
    if ((await answer(client, { [KEYROW_CLAIM]: id, [name]: id })) === id) return name;
  }
  return undefined;
}

/** Asks with these settings alone; what it does or raises leaves the transaction as it was. Throws NoAnswer. */
function answer(
  client: pg.ClientBase,
  settings: Readonly<Record<string, string>>,
  name: Asked = "current_user_id",
  searchPath: string = USUAL_PATH,
): Promise<Answer> {
  return attempt(client, late(name), async () => {
    for (const entry of Object.entries({ ...settings, search_path: searchPath })) {
      await client.query("select pg_catalog.set_config($1, $2, true)", entry);
    }
    const { rows } = await client.query<{ id: string | null }>(questions[name].call);
    return rows[0]?.id ?? null;
  });
}

const late = (name: Asked) => ({
  name: `function.${name}`,
  what: `public.${name}(${questions[name].types}) gives no answer in a minute; what comes after it was not checked.`,
  remedy: "let it answer at once, for any user and for none: it is asked in every statement",
});

const everybody: Finding = {
  name: "identity.everybody",
  severity: "in the way",
  what: "current_user_id() gives a user although no claims are set: everybody would be that user.",
  remedy: "let it give null where its setting is unset",
};

const unread = (userSetting: string): Finding => ({
  name: "identity.setting",
  severity: "in the way",
  what: `current_user_id() does not give the id that ${userSetting} holds, and nothing in it says what it reads.`,
  remedy: `name the setting that it reads in KEYROW_USER_SETTING, or let it read ${KEYROW_CLAIM} where that is unset`,
});

const another = (userSetting: string, read: string): Finding => ({
  name: "identity.setting",
  severity: "in the way",
  what: `current_user_id() reads ${shown(read)}, not ${userSetting}.`,
  remedy: `set KEYROW_USER_SETTING=${shown(read)}, here and for \`keyrow serve\``,
});

const raises = (read: string): Finding => ({
  name: "identity.unset",
  severity: "in the way",
  what: "current_user_id() raises where no claims are set: the owner's and the DB admins' bypass can't work, and no row loads.",
  remedy: `let it read nullif(current_setting('${shown(read)}', true), '')::uuid`,
});

const raisesEmpty = (read: string): Finding => ({
  name: "identity.empty",
  severity: "note",
  what: "current_user_id() raises where its setting is empty, as it is in a session that had claims before.",
  remedy: `let it read nullif(current_setting('${shown(read)}', true), '')::uuid, or maintain in sessions of their own`,
});

const softened: Finding = {
  name: "identity.malformed",
  severity: "note",
  what: "current_user_id() takes malformed claims for none, for which the bypass of the owner and the DB admins is open.",
  remedy: "let the cast to uuid raise",
};

const signature = ({ name, types }: Routine) => `public.${name}(${types})`;
const setPath = (routine: Routine) => `alter function ${signature(routine)} set search_path = ${USUAL_PATH};`;

const broken = (routine: Routine): Finding => ({
  name: `function.${routine.name}`,
  severity: "in the way",
  what: `${signature(routine)} raises when a user asks.`,
  remedy: "let it answer for any user and workspace, known or not",
});

const lost = (routine: Routine): Finding => ({
  name: `function.${routine.name}`,
  severity: "to run",
  what: `${signature(routine)} finds its tables by its caller's search path only, and Keyrow's functions have a narrow one.`,
  remedy: BY_OWNER,
  sql: [setPath(routine)],
});

const open = (routine: Routine): Finding => ({
  name: `function.${routine.name}`,
  severity: "note",
  what: `${signature(routine)} runs with its owner's rights and its caller's search path.`,
  remedy: `its owner runs: ${setPath(routine)}`,
});
