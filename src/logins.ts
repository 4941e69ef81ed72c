/** The logins that `keyrow setup --print` makes, each for one task; an admin's own is none of them. */
export const keyrowLogins: ReadonlySet<string> = new Set(["keyrow_authenticator", "keyrow_worker", "keyrow_migrate"]);
