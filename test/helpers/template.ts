import type { Embedded } from "../../src/embedded/server.ts";
import { asOwner, createDatabase, layFoundation, migrate, setUpDatabase, setUpRoles } from "../../src/setup.ts";

/** The passwords of the logins on the tests' server. */
export const passwords = {
  keyrow_authenticator: "test-authenticator",
  keyrow_worker: "test-worker",
  keyrow_migrate: "test-migrate",
};

/** The database that each test file's own is copied from: migrated and empty. */
export const templateName = "keyrow_template";

/** Makes the roles and the template once, before any test runs. */
export async function prepareTemplate(cluster: Pick<Embedded, "url" | "superuser" | "password">): Promise<void> {
  const superuser = { user: cluster.superuser, password: cluster.password };
  await setUpRoles(cluster.url(superuser, "postgres"), passwords);
  await createDatabase(cluster.url(superuser, "postgres"), templateName);
  await setUpDatabase(cluster.url(superuser, templateName));
  const migrator = { user: "keyrow_migrate", password: passwords.keyrow_migrate };
  const owner = asOwner(cluster.url(migrator, templateName));
  await layFoundation(owner);
  await migrate(owner);
}
