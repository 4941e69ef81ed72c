import { withAdmin } from "./admin-database.ts";
import type { Config } from "./config.ts";
import { KeyrowError } from "./errors.ts";
import { issuerNamed, issuerToAdd, type NamedIssuer } from "./issuers/file.ts";
import { isPrintable } from "./printable.ts";
import { knownUser, readableUserColumns } from "./users.ts";

/** Who an issuer's subject is. */
export interface Identity {
  readonly issuer: string;
  readonly subject: string;
  readonly userId: string;
  /** Where keyrow_admin may read it. */
  readonly userEmail: string | null;
  readonly createdAt: Date;
  /** The login that made it. */
  readonly createdBy: string;
}

/** An issuer as somebody names it, and a subject of it. */
export interface Named {
  readonly issuer: string;
  readonly subject: string;
}

/**
 * Says who a subject is, as a DB admin. Throws NOT_FOUND for an unknown user, CONFLICT where the subject is somebody
 * already, and USAGE for an unknown issuer, one whose subjects are users' ids, or what is no subject.
 */
export function addIdentity(
  config: Config,
  { user, ...named }: Named & { readonly user: string },
): Promise<{ readonly issuer: NamedIssuer; readonly subject: string; readonly userId: string }> {
  const subject = subjectOf(named);
  const issuer = issuerToAdd(config, named.issuer);
  if (issuer.subjects === "uuid") {
    throw new KeyrowError("USAGE", {
      message: "The subjects of this issuer are users' ids: nothing asks who they are.",
      hint: "Where they are not, give it the `subjects` identities or provision in the file of JWT_ISSUERS.",
    });
  }
  return withAdmin(config, async (client) => {
    const userId = await knownUser(client, user);
    const { rowCount } = await client.query(
      "insert into keyrow.identities (issuer, subject, user_id) values ($1, $2, $3) on conflict do nothing",
      [issuer.iss, subject, userId],
    );
    if (rowCount === 1) return { issuer, subject, userId };
    throw new KeyrowError("CONFLICT", {
      message: "This subject is somebody already.",
      hint: "`keyrow identity list` says who, and `keyrow identity rm` takes it away.",
    });
  });
}

/** All identities, or those of one user or issuer, by issuer and subject. */
export function listIdentities(
  config: Config,
  { user, issuer }: { readonly user?: string | undefined; readonly issuer?: string | undefined },
): Promise<Identity[]> {
  const iss = issuer === undefined ? null : issuerNamed(config.jwt, issuer).iss;
  return withAdmin(config, async (client) => {
    const userId = user === undefined ? null : await knownUser(client, user);
    const readable = await readableUserColumns(client);
    const email = readable.has("id") && readable.has("email");
    const { rows } = await client.query<Identity>(
      `select i.issuer, i.subject, i.user_id as "userId", i.created_at as "createdAt", i.created_by as "createdBy",
         ${email ? "u.email::text" : "null"} as "userEmail"
       from keyrow.identities i ${email ? "left join public.users u on u.id = i.user_id" : ""}
       where ($1::uuid is null or i.user_id = $1) and ($2::text is null or i.issuer = $2)
       order by i.issuer, i.subject`,
      [userId, iss],
    );
    return rows;
  });
}

/** Takes an identity away; throws NOT_FOUND where there is none. Its tokens are a stranger's from the next request on. */
export function removeIdentity(config: Config, named: Named): Promise<Named> {
  const subject = subjectOf(named);
  const issuer = issuerNamed(config.jwt, named.issuer).iss;
  return withAdmin(config, async (client) => {
    const { rowCount } = await client.query("delete from keyrow.identities where issuer = $1 and subject = $2", [
      issuer,
      subject,
    ]);
    if (rowCount === 1) return { issuer, subject };
    throw new KeyrowError("NOT_FOUND", {
      message: "This issuer has no such subject here.",
      hint: "`keyrow identity list` names them; both are compared letter by letter.",
    });
  });
}

function subjectOf({ subject }: Named): string {
  // What goes to a terminal with every list.
  if (subject === "" || Array.from(subject).length > 255 || !isPrintable(subject)) {
    throw new KeyrowError("USAGE", {
      message: "That is not a subject.",
      hint: "Give it as the issuer's tokens have it: 1 to 255 characters, as in 'auth0|5f7c8ec7c33c6c004bbafe82'.",
    });
  }
  return subject;
}
