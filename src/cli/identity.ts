import type { Identity } from "../identities.ts";
import { printableJson } from "../printable.ts";
import { ADMIN_DATABASE, command, configuration, examples, print, warnOfUnknown } from "./command.ts";

const ISSUER = "--issuer <name or iss>";
const OF_ISSUER = "whose subject it is: by its name in the file of JWT_ISSUERS, or its `iss` itself";
const SUBJECT = "--subject <subject>";

const add = command("add", "Says which user an issuer's subject is.")
  .requiredOption(ISSUER, OF_ISSUER)
  .requiredOption(SUBJECT, "exactly what its tokens have in the claim that names the user")
  .requiredOption("--user <email or id>", "who that is here")
  .option("--json", "say what was done as JSON", false)
  .addHelpText(
    "after",
    examples([
      "keyrow identity add --issuer app --subject 'auth0|5f7c8ec7c33c6c004bbafe82' --user ana@example.com",
      "from the next request on",
    ]),
  )
  .addHelpText(
    "after",
    `\nWhoever has a token of that subject is the user, and does what the user may.${ADMIN_DATABASE}`,
  )
  .action(async ({ json, ...options }: { issuer: string; subject: string; user: string; json: boolean }) => {
    const { addIdentity } = await import("../identities.ts");
    const { issuer, ...done } = await addIdentity(await configuration(), options);
    await warnOfUnknown(issuer);
    print(
      json ? printableJson({ issuer: issuer.iss, ...done, added: true }) : `added  ${done.subject}  is  ${done.userId}`,
    );
  });

const list = command("list", "Lists who is who.")
  .option(ISSUER, "of this issuer alone")
  .option("--user <email or id>", "of this user alone")
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(
      ["keyrow identity list", "a table; times are UTC"],
      ["keyrow identity list --user ana@example.com --json", "who may come as Ana, for a script"],
    ),
  )
  .addHelpText("after", ADMIN_DATABASE)
  .action(async ({ json, ...options }: { issuer?: string; user?: string; json: boolean }) => {
    const { listIdentities } = await import("../identities.ts");
    const identities = await listIdentities(await configuration(), options);
    if (json) print(printableJson(identities));
    else if (identities.length > 0) print((await table(identities)).join("\n"));
    else process.stderr.write("there are no identities\n");
  });

const rm = command("rm", "Takes an identity away.")
  .requiredOption(ISSUER, OF_ISSUER)
  .requiredOption(SUBJECT, "which one")
  .option("--json", "say what was done as JSON", false)
  .addHelpText(
    "after",
    examples(["keyrow identity rm --issuer app --subject 'auth0|5f7c8ec7c33c6c004bbafe82'", "a stranger again"]),
  )
  .addHelpText(
    "after",
    `\nIts tokens are a stranger's from the next request on. Where the issuer's subjects are provisioned, a stranger gets a new user; nothing of the old one is theirs.${ADMIN_DATABASE}`,
  )
  .action(async ({ json, ...options }: { issuer: string; subject: string; json: boolean }) => {
    const { removeIdentity } = await import("../identities.ts");
    const done = await removeIdentity(await configuration(), options);
    print(json ? printableJson({ ...done, removed: true }) : `removed  ${done.subject}`);
  });

/** `keyrow identity`: which user the subject of an issuer's tokens is. */
export const identity = command("identity", "Who is who: which user the subject of an issuer's tokens is.")
  .helpCommand(false)
  .addHelpText(
    "after",
    examples(
      ["keyrow identity add --issuer app --subject 'auth0|5f7c8ec7c33c6c004bbafe82' --user ana@example.com", "add one"],
      ["keyrow identity list", "what there is"],
    ),
  )
  .addHelpText("after", `${ADMIN_DATABASE}\nEach has its own help, as in \`keyrow identity add --help\`.`);

for (const one of [add, list, rm]) identity.addCommand(one);

async function table(identities: readonly Identity[]): Promise<string[]> {
  const { minute, renderTable } = await import("../table.ts");
  return renderTable<Identity>(
    [
      ["SUBJECT", ({ subject }) => subject],
      ["ISSUER", ({ issuer }) => issuer],
      ["USER", ({ userEmail, userId }) => userEmail ?? userId],
      ["SINCE", ({ createdAt }) => minute(createdAt)],
      ["BY", ({ createdBy }) => createdBy],
    ],
    identities,
  );
}
