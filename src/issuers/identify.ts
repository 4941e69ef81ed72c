import type pg from "pg";
import { KeyrowError } from "../errors.ts";
import type { Log } from "../log.ts";
import { OWN_ISSUER } from "../own-issuer.ts";
import { MACHINE_CLAIM } from "../own-tokens.ts";
import { type Bearer, type Claims, claimsFor } from "../token.ts";
import { createWithPgClient } from "../with-pg-client.ts";
import type { Issuer } from "./issuer.ts";

const PERSON_OR_MACHINES = `
  select keyrow.identified_user($1, $2) as "user", array(select keyrow.identified_machines($1, $3)) as machines`;

/**
 * Makes what tells which user or machine a bearer is. The database is asked at each request, in one round trip, but for
 * the settings' issuer, whose subjects are users' ids: who is taken away is a stranger at the next request. Throws
 * UNAUTHENTICATED for a stranger, and what the database throws.
 */
export function createIdentifier(pool: pg.Pool, requestMs?: number): (bearer: Bearer, log: Log) => Promise<Claims> {
  const withPgClient = createWithPgClient(pool, requestMs);
  const ask = async <T>(text: string, values: unknown[]): Promise<T | undefined> => {
    const { rows } = await withPgClient(null, (client) => client.query<T>({ text, values }));
    return rows[0];
  };

  async function machineByOwnToken(bearer: Bearer): Promise<Claims> {
    const found = await ask<{ there: boolean }>("select keyrow.is_machine($1) as there", [bearer.subject]);
    if (!found?.there) throw new KeyrowError("UNAUTHENTICATED");
    return claimsFor(bearer, bearer.subject, "machine");
  }

  async function userOf(bearer: Bearer, known: string | null | undefined): Promise<Claims> {
    const { issuer, subject, said } = bearer;
    if (issuer.subjects === "uuid") return claimsFor(bearer, subject, "person");
    if (known != null) return claimsFor(bearer, known, "person");
    // A limited token writes nothing but credentials: a user comes with one that may do all.
    if (issuer.subjects !== "provision" || bearer.claims.limits !== undefined) throw new KeyrowError("UNAUTHENTICATED");
    const values = [issuer.issuer, subject, JSON.stringify({ ...said, ...personal(bearer) })];
    const made = await ask<{ id: string }>("select keyrow.provision_identity($1, $2, $3) as id", values);
    if (made === undefined) throw new KeyrowError("INTERNAL");
    return claimsFor(bearer, made.id, "person");
  }

  return async (bearer, log) => {
    const { issuer, subject, said } = bearer;
    if (issuer.issuer === OWN_ISSUER && MACHINE_CLAIM in said) return machineByOwnToken(bearer);
    // What a token was made with, a person's or a machine's, is in its record: its subject is who asked for it.
    if (issuer.issuer === OWN_ISSUER) return claimsFor(bearer, subject);
    // Of the settings' issuer subjects are users' ids and nothing else.
    if (issuer.listed !== true) return claimsFor(bearer, subject, "person");
    const found = await ask<{ user: string | null; machines: string[] }>(PERSON_OR_MACHINES, [
      issuer.issuer,
      issuer.subjects === "uuid" ? null : subject,
      JSON.stringify(said),
    ]);
    const [machine, another] = found?.machines ?? [];
    if (machine === undefined) return userOf(bearer, found?.user);
    if (another !== undefined) {
      log.warn({ issuer: issuer.name }, "a token could be several machines, and is none: make their claims differ");
      throw new KeyrowError("UNAUTHENTICATED");
    }
    return claimsFor(bearer, machine, "machine");
  };
}

/** An e-mail address and a name only where they are ones, whatever the token says; null takes them away. */
function personal({ claims: { email, name } }: Bearer) {
  return { email: email ?? null, name: name ?? null };
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
