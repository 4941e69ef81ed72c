import test from "ava";
import { createPool } from "../src/database.ts";
import type { KeyrowError } from "../src/errors.ts";
import { checkIdentity } from "../src/identity.ts";
import { createTestDatabase } from "./helpers/database.ts";

const database = await createTestDatabase();
test.after.always(() => database.drop());
const superuser = database.pool("postgres");

/** What the check says of a `current_user_id()` with this body, on connections of its own. */
async function check(body: string, userSetting: string): Promise<KeyrowError | undefined> {
  await superuser.query(`
    create or replace function public.current_user_id() returns uuid language plpgsql stable
    as $$ begin ${body} end $$`);
  const pool = createPool(database.url("keyrow_authenticator"), { max: 1 });
  try {
    await checkIdentity(pool, { userSetting, statementMs: 10_000 });
    return undefined;
  } catch (error) {
    return error as KeyrowError;
  } finally {
    await pool.end();
  }
}

const reads = (expression: string) => `return nullif(${expression}, '')::uuid;`;

const accepted: Array<[what: string, body: string, userSetting: string]> = [
  ["Keyrow's own setting", reads("current_setting('jwt.claims.user_id', true)"), "jwt.claims.user_id"],
  ["an application's own setting", reads("current_setting('app.user_id', true)"), "app.user_id"],
  ["a setting of three words", reads("current_setting('app.session.user_id', true)"), "app.session.user_id"],
  ["one that raises without claims", "return current_setting('app.user_id')::uuid;", "app.user_id"],
];
for (const [what, body, userSetting] of accepted) {
  test.serial(`a server starts where current_user_id() reads ${what}`, async (t) => {
    t.is(await check(body, userSetting), undefined);
  });
}

const refused: Array<[what: string, body: string, userSetting: string, message: RegExp]> = [
  [
    "reads another setting",
    reads("current_setting('app.user_id', true)"),
    "jwt.claims.user_id",
    /gives nobody with jwt\.claims\.user_id set to a user's id\.$/,
  ],
  [
    "raises whatever is set",
    "return current_setting('app.other')::uuid;",
    "app.user_id",
    /raises an error with app\.user_id set/,
  ],
  ["makes its own id", "return gen_random_uuid();", "app.user_id", /gives a user without claims/],
  [
    "always gives the same one once there are claims",
    "if current_setting('app.user_id', true) is null then return null; end if; return '00000000-0000-4000-8000-000000000001';",
    "app.user_id",
    /gives somebody else/,
  ],
  [
    "takes empty claims for somebody",
    "return case current_setting('app.user_id', true) when '' then '00000000-0000-4000-8000-000000000001' else current_setting('app.user_id', true) end;",
    "app.user_id",
    /gives a user with empty claims/,
  ],
];
for (const [what, body, userSetting, message] of refused) {
  test.serial(`no server starts where current_user_id() ${what}`, async (t) => {
    const error = await check(body, userSetting);
    t.is(error?.code, "IDENTITY_MISMATCH");
    t.regex(error?.message ?? "", message);
    t.regex(error?.hint ?? "", /KEYROW_USER_SETTING/);
  });
}

test.serial("a database that is gone is no mismatch", async (t) => {
  const pool = createPool("postgres://keyrow_authenticator@127.0.0.1:1/app", { max: 1 });
  t.teardown(() => pool.end());
  await t.throwsAsync(checkIdentity(pool, { userSetting: "jwt.claims.user_id", statementMs: 10_000 }), {
    code: "ECONNREFUSED",
  });
});
