import test from "ava";
import jwt from "jsonwebtoken";
import { asAdmin, post, startTestServer, type TestServer } from "../helpers/server.ts";
import { apiPersonas, type Cell, type Command, cells, type Expected, type Scope, scopes } from "../policies/matrix.ts";
import { ids, personas, sealed, world } from "../policies/world.ts";

let server: TestServer;
test.before(async () => {
  server = await startTestServer();
  await server.database.pool("postgres").query(world);
});
test.after.always(() => server?.stop());

/** Whose row the cell is about, so that each cell has one of its own. */
const owner: Readonly<Record<Scope, string>> = {
  USER: ids.ana,
  WORKSPACE: ids.workspaceAdmin,
  SYSTEM: ids.ana,
};

let made = 0;

/**
 * A row of the cell's own, like the world's: a change can't be rolled back over HTTP. A USER or WORKSPACE row is made
 * through the API, by somebody who may; a SYSTEM row, which the API can't make, has no value that would open.
 */
async function ownRow(scope: Scope): Promise<string> {
  const name = `cell ${++made}`;
  if (scope === "SYSTEM") {
    const { rows } = await asAdmin(
      server.database,
      `insert into public.user_credentials (user_id, name, provider, type, scope, encrypted_value, key_id)
       values ($1, $2, 'github', 'API_KEY', 'SYSTEM', $3, 'local:20260101-0000000a') returning id`,
      [owner.SYSTEM, name, sealed()],
    );
    return rows[0].id;
  }
  const { data } = await server.query(
    owner[scope],
    `mutation ($input: SetUserCredentialInput!) { setUserCredential(input: $input) { userCredential { id } } }`,
    // A USER credential notes the team, so that the team's admins have a claim on it.
    { input: { scope, workspaceId: ids.team, provider: "github", name, value: "secret" } },
  );
  return data.setUserCredential.userCredential.id;
}

const requests: Readonly<Record<Command, string>> = {
  select: "query ($id: UUID!) { it: userCredential(id: $id) { id } }",
  insert:
    "mutation ($row: UserCredentialInput!) { it: createUserCredential(input: { userCredential: $row }) { userCredential { id } } }",
  update: `mutation ($id: UUID!) { it: updateUserCredential(input: { id: $id, patch: { description: "changed" } }) { userCredential { id } } }`,
  delete: "mutation ($id: UUID!) { it: deleteUserCredential(input: { id: $id }) { userCredential { id } } }",
  reveal: "query ($id: UUID!) { it: userCredential(id: $id) { value } }",
};

/** What a persona gets for a command, and what is left of the row. */
async function tryCell({ who, scope, command }: Pick<Cell, "who" | "scope" | "command">) {
  const id = await ownRow(scope);
  const workspaceId = scope === "WORKSPACE" ? ids.team : null;
  const row = { provider: "github", name: `new ${++made}`, type: "API_KEY", value: "new", scope, workspaceId };
  const { user } = personas[who];
  const variables = command === "insert" ? { row } : { id };
  const answer = await server.query(user, requests[command], variables);
  const { rows } = await asAdmin(
    server.database,
    `select (select count(*)::int from public.user_credentials where id = $1) as there,
       (select count(*)::int from public.user_credentials where name = $2) as made,
       (select description from public.user_credentials where id = $1) as description,
       (select count(*)::int from public.activity_logs where entity_id = $1 and action = 'CREDENTIAL_ACCESSED') as reveals`,
    [id, row.name],
  );
  return { answer, after: rows[0] as { there: number; made: number; description: string | null; reveals: number } };
}

const nothingDone = { there: 1, made: 0, description: null, reveals: 0 };

const done: Readonly<Record<Command, typeof nothingDone>> = {
  select: nothingDone,
  insert: { ...nothingDone, made: 1 },
  update: { ...nothingDone, description: "changed" as never },
  delete: { ...nothingDone, there: 0 },
  reveal: { ...nothingDone, reveals: 1 },
};

/** What the SQL cell comes to over HTTP: done, or the code of the error. */
function overHttp(expected: Expected): "done" | "NOT_FOUND" | "FORBIDDEN" {
  if (expected === 1) return "done";
  if (expected === 0) return "NOT_FOUND";
  if (expected === "42501") return "FORBIDDEN";
  throw new Error(`no outcome over HTTP for ${expected}`);
}

const apiCells = cells.filter(({ who }) => (apiPersonas as readonly string[]).includes(who));

for (const cell of apiCells) {
  const outcome = overHttp(cell.expected);
  test(`${cell.who}, ${cell.command} of a ${cell.scope} credential over HTTP: ${outcome}`, async (t) => {
    const { answer, after } = await tryCell(cell);
    t.is(answer.status, 200);
    if (outcome === "done") {
      t.deepEqual(answer.codes, []);
      t.truthy(answer.data.it);
      if (cell.command === "reveal") t.is(answer.data.it.value, "secret");
      t.deepEqual(after, done[cell.command]);
    } else {
      t.deepEqual(answer.codes, [outcome]);
      t.is(answer.data.it, null);
      t.deepEqual(after, nothingDone);
    }
  });
}

for (const scope of scopes) {
  for (const command of Object.keys(requests) as Command[]) {
    test(`anonymous, ${command} of a ${scope} credential over HTTP: 401, and nothing is done`, async (t) => {
      const { answer, after } = await tryCell({ who: "anonymous", scope, command });
      t.is(answer.status, 401);
      t.deepEqual(answer.codes, ["UNAUTHENTICATED"]);
      t.is(answer.data, undefined);
      t.deepEqual(after, nothingDone);
    });

    test(`malformed claims, ${command} of a ${scope} credential over HTTP: 401, and nothing is done`, async (t) => {
      const claims = { sub: personas["malformed claims"].user, aud: "keyrow" };
      const answer = await post(server.url, jwt.sign(claims, server.secret, { expiresIn: 600 }), {
        query: requests[command],
        variables: { id: ids[scope] },
      });
      t.is(answer.status, 401);
      t.deepEqual([answer.codes, answer.data], [["UNAUTHENTICATED"], undefined]);
    });
  }
}

test("every cell of an API persona is tried over HTTP: 7 personas, 3 scopes and 5 commands", (t) => {
  t.is(apiCells.length, apiPersonas.length * 3 * 5);
  t.is(apiCells.length, 105);
});
