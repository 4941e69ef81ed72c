import { readFile } from "node:fs/promises";
import { migrationsFolder } from "./setup.ts";

/**
 * The SQL that an admin without superuser runs once, by psql, in the application's database, which they own: roles,
 * then the database's rights, then, where asked for, what an application brings.
 */
export async function setupScript({ withFoundation }: { readonly withFoundation: boolean }): Promise<string> {
  const read = (name: string) => readFile(`${migrationsFolder}/${name}`, "utf8");
  const parts = [
    `-- Keyrow: run once, in the application's database, by its owner, a login with CREATEROLE:
--   keyrow setup --print${withFoundation ? " --with-foundation" : ""} | psql -v ON_ERROR_STOP=1 "$DATABASE"
-- Then give the three logins passwords: \\password keyrow_authenticator, keyrow_worker and keyrow_migrate.
begin;
`,
    await read("roles.sql"),
    await read("database.sql"),
  ];
  if (withFoundation) {
    parts.push(
      `-- What an application brings, made as its owner. The memberships are for that alone, and end with it.
grant keyrow_owner, keyrow_reveal to current_user;
set local role keyrow_owner;
`,
      await read("foundation.sql"),
      `reset role;
revoke keyrow_owner, keyrow_reveal from current_user;
`,
    );
  }
  return `${parts.join("\n")}\ncommit;\n`;
}
