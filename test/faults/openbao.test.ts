import type { ExecutionContext } from "ava";
import type { OpenBaoAccess, TransitKey } from "../../src/cipher/openbao/access.ts";
import { startHealing } from "../../src/reseal/heal.ts";
import { createRing, type Ring } from "../../src/ring.ts";
import { openWorkerDatabase } from "../../src/worker-database.ts";
import { localKey } from "../cipher/contract.ts";
import { makeFaulty } from "../cipher/faulty.ts";
import { collectLog } from "../helpers/log.ts";
import { hasty, startOpenBao, type TestOpenBao, openBaoTest as test } from "../helpers/openbao.ts";
import { asAdmin, makeUser, startTestServer, type TestServer } from "../helpers/server.ts";
import { until } from "../helpers/until.ts";

/** A server on an OpenBao, and a user. */
interface Stage {
  readonly server: TestServer;
  readonly ring: Ring;
  readonly user: string;
  /** Gives a credential a value, and reads it in the same request. */
  set(name: string, value: string): Promise<Outcome>;
  /** The values of all credentials by name; null where one could not be opened. */
  list(): Promise<Outcome & { readonly values: Record<string, string | null> }>;
  ready(): Promise<[status: number, body: Record<string, string>]>;
  /** How many rows the keys of Transit, and how many local ones, have sealed. */
  census(): Promise<{ transit: number; local: number }>;
}

interface Outcome {
  readonly codes: readonly string[];
  readonly ms: number;
}

async function stage(
  t: ExecutionContext,
  access: OpenBaoAccess,
  place: TransitKey,
  fallback: "local" | "refuse" = "local",
): Promise<Stage> {
  const { log } = collectLog();
  const ring = createRing({
    localKeys: [localKey("local:20260101-00000001")],
    openBao: { access, place },
    fallback,
    log,
  });
  const { cipher, transit, check } = ring;
  const server = await startTestServer({ cipher, check, ...(transit && { transit }) });
  t.teardown(async () => {
    await server.stop();
    await ring.close();
  });
  const user = await makeUser(server.database);
  const timed = async (query: string, variables = {}) => {
    const started = performance.now();
    const answer = await server.query(user, query, variables);
    t.is(answer.status, 200);
    return { ...answer, ms: performance.now() - started };
  };
  return {
    server,
    ring,
    user,
    set: (name, value) =>
      timed(
        `mutation ($name: String!, $value: String!) {
          setUserCredential(input: { provider: "p", name: $name, value: $value }) { userCredential { value } }
        }`,
        { name, value },
      ),
    async list() {
      const answer = await timed("{ userCredentials { nodes { name value } } }");
      const nodes: Array<{ name: string; value: string | null }> = answer.data.userCredentials.nodes;
      return { ...answer, values: Object.fromEntries(nodes.map(({ name, value }) => [name, value])) };
    },
    async ready() {
      const response = await fetch(`${server.url}/readyz`);
      return [response.status, (await response.json()) as Record<string, string>];
    },
    async census() {
      const { rows } = await asAdmin(
        server.database,
        `select count(*) filter (where key_id like 'transit:%')::int as transit,
           count(*) filter (where key_id like 'local:%')::int as local from public.user_credentials`,
      );
      return rows[0];
    },
  };
}

const MOST_MS = 2_000;

/** What OpenBao does, and how it is made to stop doing it. */
type Trouble = (t: ExecutionContext, bao: TestOpenBao) => Promise<() => Promise<void>>;

const troubles: Readonly<Record<string, Trouble>> = {
  stopped: async (_t, bao) => {
    await bao.stop();
    return () => bao.start();
  },
  killed: async (_t, bao) => {
    await bao.kill();
    return () => bao.start();
  },
  sealed: async (_t, bao) => {
    await bao.seal();
    return () => bao.unseal();
  },
  "standing still, as one that answers after 30 s": async (_t, bao) => {
    const goOn = bao.halt();
    return async () => goOn();
  },
  "without a policy for its token": async (_t, bao) => {
    const { data } = await bao.root({ path: "sys/policies/acl/keyrow-server" });
    await bao.root({
      method: "POST",
      path: "sys/policies/acl/keyrow-server",
      body: { policy: 'path "none" { capabilities = ["deny"] }' },
    });
    return async () => {
      await bao.root({ method: "POST", path: "sys/policies/acl/keyrow-server", body: { policy: data.policy } });
    };
  },
  "without its key": async (_t, bao) => {
    await bao.copyData();
    await bao.root({ method: "POST", path: "transit/keys/keyrow/config", body: { deletion_allowed: true } });
    await bao.root({ method: "DELETE", path: "transit/keys/keyrow" });
    return () => bao.restoreData();
  },
  "without its mount": async (_t, bao) => {
    const move = (from: string, to: string) => bao.root({ method: "POST", path: "sys/remount", body: { from, to } });
    // It goes on in the background.
    const moved = (to: string) => until(async () => (await bao.root({ path: `${to}/keys/keyrow` })).data !== undefined);
    await move("transit", "elsewhere");
    await moved("elsewhere");
    return async () => {
      await move("elsewhere", "transit");
      await moved("transit");
    };
  },
};

for (const [what, trouble] of Object.entries(troubles)) {
  test.serial(`OpenBao ${what}: nobody waits, what is written is sealed, and all is back with it`, async (t) => {
    const bao = await startOpenBao(t);
    const it = await stage(t, hasty(bao.access), bao.transitKey);
    t.deepEqual((await it.set("before", "old")).codes, []);
    const end = await trouble(t, bao);
    await during(t, it);
    await end();
    await after(t, it);
  });
}

for (const fault of ["silence", "garbage", "no answer's form", "cut", "huge"] as const) {
  test.serial(
    `${fault} instead of OpenBao's answers: nobody waits, what is written is sealed, and all is back with it`,
    async (t) => {
      const bao = await startOpenBao(t);
      const door = await makeFaulty(t, hasty(bao.access));
      const it = await stage(t, door.access, bao.transitKey);
      t.deepEqual((await it.set("before", "old")).codes, []);
      door.set(fault);
      await during(t, it);
      door.set("none");
      await after(t, it);
    },
  );
}

test.serial("an OpenBao restored from an older backup: what is newer waits, and says so of itself alone", async (t) => {
  const bao = await startOpenBao(t);
  const it = await stage(t, bao.access, bao.transitKey);
  t.deepEqual((await it.set("before", "old")).codes, []);
  await bao.copyData();
  await bao.root({ method: "POST", path: "transit/keys/keyrow/rotate" });
  await until(async () => (await it.set("newer", "new")).codes.length === 0 && (await it.census()).transit === 2);
  await bao.restoreData();
  await until(async () => (await it.ready())[1].transit === "closed");
  const { values, codes, ms } = await it.list();
  t.deepEqual(values, { before: "old", newer: null });
  t.deepEqual(codes, ["CIPHER_UNAVAILABLE"], "for that field alone");
  t.true(ms < MOST_MS, `${ms} ms`);
  t.deepEqual((await it.set("after", "last")).codes, []);
  t.deepEqual(await it.census(), { transit: 3, local: 0 });
  t.is((await it.ready())[1].transit, "closed");
});

test.serial("a request with many values does not wait for each of them on an OpenBao that is slow", async (t) => {
  const bao = await startOpenBao(t);
  const door = await makeFaulty(t, hasty(bao.access));
  const it = await stage(t, door.access, bao.transitKey);
  t.deepEqual((await it.set("before", "old")).codes, []);
  door.set("slow");
  const fields = Array.from(
    { length: 15 },
    (_, index) => `m${index}: setUserCredential(input: { provider: "p", name: "n${index}", value: "v" }) {
      userCredential { name }
    }`,
  );
  const started = performance.now();
  const { data, codes } = await it.server.query(it.user, `mutation { ${fields.join("\n")} }`);
  const ms = performance.now() - started;
  t.deepEqual(codes, []);
  t.is(Object.keys(data).length, 15);
  const { transit, local } = await it.census();
  t.is(transit + local, 16, "each is sealed");
  t.true(transit <= 2, "one besides that of before: the second was too slow with it");
  // The same beside an OpenBao that is not slow is what the machine takes.
  door.set("none");
  const again = performance.now();
  await it.server.query(it.user, `mutation { ${fields.join("\n")} }`);
  const machine = performance.now() - again;
  t.true(ms - machine < MOST_MS, `${ms} ms, ${machine} ms`);
});

async function during(t: ExecutionContext, it: Stage): Promise<void> {
  const first = await it.set("meanwhile", "new");
  t.deepEqual(first.codes, []);
  const { values, codes, ms } = await it.list();
  t.deepEqual(values, { before: null, meanwhile: "new" });
  t.deepEqual(codes, ["CIPHER_UNAVAILABLE"], "for that field alone");
  const again = await it.set("before", "newer");
  t.deepEqual(again.codes, []);
  t.deepEqual((await it.list()).values, { before: "newer", meanwhile: "new" });
  for (const waited of [first.ms, ms, again.ms]) t.true(waited < MOST_MS, `${waited} ms`);
  t.deepEqual(await it.census(), { transit: 0, local: 2 });
  const [status, body] = await it.ready();
  t.is(status, 200);
  t.like(body, { status: "degraded", database: "ok" });
  t.not(body.transit, "closed");
}

async function after(t: ExecutionContext, it: Stage): Promise<void> {
  await until(async () => (await it.ready())[1].transit === "closed");
  t.like((await it.ready())[1], { status: "ok" });
  t.deepEqual((await it.set("after", "last")).codes, []);
  t.like(await it.census(), { transit: 1 });
  // Two healers side by side.
  const { log } = collectLog();
  const databases = await Promise.all([1, 2].map(() => openWorkerDatabase(it.server.database.url("keyrow_worker"))));
  const healers = databases.map((database) => startHealing({ ...database, ring: it.ring, log }));
  try {
    await until(async () => (await it.census()).local === 0);
  } finally {
    await Promise.all(healers.map((healer) => healer.stop()));
    await Promise.all(databases.map(({ pool }) => pool.end()));
  }
  t.deepEqual(await it.census(), { transit: 3, local: 0 });
  const { values, codes } = await it.list();
  t.deepEqual(codes, []);
  t.deepEqual(values, { before: "newer", meanwhile: "new", after: "last" });
}

test.serial("a server that is to refuse without OpenBao refuses new values, and nothing else", async (t) => {
  const bao = await startOpenBao(t);
  const it = await stage(t, bao.access, bao.transitKey, "refuse");
  t.deepEqual((await it.set("before", "old")).codes, []);
  await bao.stop();
  const { codes, ms } = await it.set("meanwhile", "new");
  t.deepEqual(codes, ["CIPHER_UNAVAILABLE"]);
  t.true(ms < MOST_MS);
  t.deepEqual(await it.census(), { transit: 1, local: 0 }, "nothing was stored");
  const { data } = await it.server.query(it.user, "{ userCredentials { nodes { id name } } }");
  t.deepEqual(
    data.userCredentials.nodes.map(({ name }: { name: string }) => name),
    ["before"],
  );
  const revoked = await it.server.query(
    it.user,
    "mutation ($id: UUID!) { revokeUserCredential(input: { id: $id }) { userCredential { isActive } } }",
    { id: data.userCredentials.nodes[0].id },
  );
  t.false(revoked.data.revokeUserCredential.userCredential.isActive);
  await bao.start();
  await until(async () => (await it.ready())[1].transit === "closed");
  t.deepEqual((await it.set("after", "last")).codes, []);
});

test.serial(
  "a server that starts while OpenBao is away serves what it can, and finds it when it is there",
  async (t) => {
    const bao = await startOpenBao(t);
    await bao.stop();
    const it = await stage(t, bao.access, bao.transitKey);
    t.like((await it.ready())[1], { status: "degraded", transit: "open" });
    t.deepEqual((await it.set("meanwhile", "new")).codes, []);
    await bao.start();
    await until(async () => (await it.ready())[1].transit === "closed");
    t.deepEqual((await it.set("after", "last")).codes, []);
    t.deepEqual(await it.census(), { transit: 1, local: 1 });
  },
);
