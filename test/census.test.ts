import test from "ava";
import { keyMissing, missingKeys } from "../src/census.ts";
import { createKeyring } from "../src/cipher/keyring.ts";
import { createLocalCipher } from "../src/cipher/local.ts";
import { localKey } from "./cipher/contract.ts";
import { createTestDatabase } from "./helpers/database.ts";
import { makeUser } from "./helpers/server.ts";

test("of thousands of keys that rows name, those of the most rows are told, and the others counted", async (t) => {
  const database = await createTestDatabase();
  t.teardown(() => database.drop());
  const user = await makeUser(database);
  await database.pool("postgres").query(
    `insert into public.user_credentials (user_id, name, provider, type, scope, encrypted_value, key_id)
     select $1, 'n' || i, 'p', 'API_KEY', 'USER', 'AAAAAAAAAAAAAAAA:AAAAAAAAAAAAAAAAAAAAAA==:AAAA',
       'local:20261128-' || lpad(to_hex(least(i, 4999)), 8, '0')
     from generate_series(1, 5000) i`,
    [user],
  );
  const cipher = createKeyring([createLocalCipher(localKey("local:20261128-00000001"))]);
  const missing = await missingKeys(database.pool("keyrow_authenticator"), cipher);
  t.deepEqual([missing.keys.length, missing.more], [20, 4_978]);
  t.like(missing.keys[0], { keyId: "local:20261128-00001387", credentials: 2, state: "missing" });
  t.regex(keyMissing(missing).message, /; and 4978 more keys\.$/);
});
