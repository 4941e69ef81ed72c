import type pg from "pg";
import { createWithPgClient } from "../database.ts";
import { KeyrowError } from "../errors.ts";
import { type Bearer, type Claims, claimsFor } from "../token.ts";
import type { Issuer } from "./issuer.ts";

/**
 * Makes what tells which user a bearer is. Where a subject is no user's id the database is asked, at each request: who is
 * taken away is a stranger at the next one. Throws UNAUTHENTICATED for a stranger, and what the database throws.
 */
export function createIdentifier(pool: pg.Pool, requestMs?: number): (bearer: Bearer) => Promise<Claims> {
  const withPgClient = createWithPgClient(pool, requestMs);
  const ask = async (text: string, values: unknown[]) => {
    const { rows } = await withPgClient(null, (client) => client.query<{ id: string | null }>({ text, values }));
    return rows[0]?.id ?? undefined;
  };
  return async (bearer) => {
    const { issuer, subject } = bearer;
    if (issuer.subjects === "uuid") return claimsFor(bearer, subject);
    const known = await ask("select keyrow.identified_user($1, $2) as id", [issuer.issuer, subject]);
    if (known !== undefined) return claimsFor(bearer, known);
    // A limited token writes nothing but credentials: a user comes with one that may do all.
    if (issuer.subjects === "identities" || bearer.claims.limits !== undefined)
      throw new KeyrowError("UNAUTHENTICATED");
    const made = await ask("select keyrow.provision_identity($1, $2, $3) as id", [
      issuer.issuer,
      subject,
      JSON.stringify(personalClaims(bearer)),
    ]);
    if (made === undefined) throw new KeyrowError("INTERNAL");
    return claimsFor(bearer, made);
  };
}

/** What a user is made of: all that the token says, but an e-mail address and a name only where they are ones. */
function personalClaims({ said, claims: { email, name } }: Bearer): Record<string, string> {
  const { email: _email, name: _name, ...rest } = said;
  return { ...rest, ...(email !== undefined && { email }), ...(name !== undefined && { name }) };
}

/** Refuses issuers that make users where nobody has said how: throws CONFIG_INVALID with the remedy. */
export async function checkProvisioning(
  pool: pg.Pool,
  issuers: ReadonlyArray<Pick<Issuer, "name" | "subjects">> = [],
): Promise<void> {
  const [making] = issuers.filter(({ subjects }) => subjects === "provision");
  if (making === undefined) return;
  const { rows } = await pool.query<{ there: boolean }>(
    "select to_regprocedure('keyrow.provision_user(text, text, jsonb)') is not null as there",
  );
  if (rows[0]?.there) return;
  throw new KeyrowError("CONFIG_INVALID", {
    message: `JWT_ISSUERS: ${making.name}: subjects is provision, and the database does not know how users are made.`,
    hint: "Make keyrow.provision_user(text, text, jsonb), as docs/issuers.md shows, or let an admin name identities.",
  });
}
