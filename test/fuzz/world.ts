import { generateKeyPairSync, randomBytes } from "node:crypto";
import type { ExecutionContext } from "ava";
import { makeUser, makeWorkspace, startTestServer, type TestServer } from "../helpers/server.ts";
import type { Known } from "./values.ts";

/** What the values of a world's credentials look like, or a part of one. */
export const CANARIES = /canary-[0-9a-f]*/g;

/** A server, somebody who asks it, and values that tell when they turn up where they may not. */
export interface World {
  readonly server: TestServer;
  readonly ana: string;
  readonly token: string;
  /** The values of credentials that Ana could ever reveal. */
  readonly own: ReadonlySet<string>;
  /** The values that she may not. */
  readonly others: ReadonlySet<string>;
  readonly known: Known;
  /** Makes new credentials of hers, for what is asked deletes them. */
  replenish(): Promise<void>;
}

const EACH = 6;
const create = `mutation ($credential: UserCredentialInput!) {
  createUserCredential(input: { userCredential: $credential }) { userCredential { id } } }`;

/** Makes a world with two people, a team of each, and credentials of all of them. */
export async function makeWorld(t: ExecutionContext): Promise<World> {
  const server = await startTestServer({
    signingKey: { kid: "fuzz", ...generateKeyPairSync("ec", { namedCurve: "P-256" }) },
  });
  t.teardown(() => server.stop());
  const [ana, bob] = [await makeUser(server.database, "Ana"), await makeUser(server.database, "Bob")];
  const anas = await makeWorkspace(server.database, { [ana]: "OWNER", [bob]: "MEMBER" });
  const bobs = await makeWorkspace(server.database, { [ana]: "MEMBER", [bob]: "OWNER" });
  const own = new Set<string>();
  const others = new Set<string>();
  const uuids = [ana, bob, anas, bobs];
  const cursors: string[] = [];
  let made = 0;

  async function make(user: string, values: Set<string>, more: Record<string, unknown> = {}): Promise<void> {
    for (let n = 0; n < EACH; n++) {
      const value = `canary-${randomBytes(12).toString("hex")}`;
      made += 1;
      const credential = { provider: "github", name: `own-${made}`, value, type: "SECRET", description: "d", ...more };
      const { data, text, codes } = await server.query(user, create, { credential });
      if (codes.length > 0) throw new Error(text);
      values.add(value);
      uuids.push(data.createUserCredential.userCredential.id);
    }
  }

  await make(bob, others);
  await make(bob, others, { scope: "WORKSPACE", workspaceId: bobs });
  const lasting = uuids.length;
  const world: World = {
    server,
    ana,
    token: server.token(ana, { expiresIn: 24 * 60 * 60 }),
    own,
    others,
    known: { uuids, cursors },
    async replenish() {
      uuids.length = lasting;
      await make(ana, own);
      await make(ana, own, { scope: "WORKSPACE", workspaceId: anas, metadata: { made } });
      const { data } = await server.query(ana, "{ userCredentials(first: 10) { edges { cursor } } }");
      cursors.splice(0, cursors.length, ...data.userCredentials.edges.map((one: { cursor: string }) => one.cursor));
    },
  };
  await world.replenish();
  return world;
}
