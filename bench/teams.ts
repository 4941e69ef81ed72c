import type pg from "pg";
import { withConnection } from "../src/setup.ts";
import type { BenchDatabase } from "./database.ts";
import type { Person } from "./operations.ts";
import { type Secrets, sealedRows } from "./people.ts";

// A team has so many people, of whom the first few are admins of its workspace, and so many credentials. However many
// teams there are, a person has as many credentials, and so has a workspace: the database grows, not the person.
const team = { people: 10, admins: 3, own: 20, shared: 50 } as const;
const PER_TEAM = team.people * team.own + team.shared;
// As many as the smallest database has, spread over the whole of each.
const MEASURED_TEAMS = 40;

const user = "md5(format('user %s %s', t, p))::uuid";
const workspace = "md5(format('workspace %s', t))::uuid";
// In the form that the table checks, as long as a real one; nobody reveals it.
const filler = `${"A".repeat(16)}:${"A".repeat(22)}==:${"A".repeat(48)}`;

/** Loads teams with so many credentials in all, sealed values aside, as a dump does: no trigger, indexes at the end. */
export async function loadTeams(database: BenchDatabase, credentials: number, keyId: string): Promise<void> {
  const teams = `generate_series(1, ${credentials / PER_TEAM}) t`;
  await withConnection(database.url("postgres"), async (client) => {
    await client.query(
      "set session_replication_role = replica; set maintenance_work_mem = '512MB'; select setseed(0.5)",
    );
    await client.query(
      `insert into public.users (id) select ${user} from ${teams}, generate_series(1, ${team.people}) p`,
    );
    await client.query(
      `insert into public.workspaces (id, name) select ${workspace}, format('team %s', t) from ${teams}`,
    );
    await client.query(
      `insert into public.workspace_members (workspace_id, user_id, role)
       select ${workspace}, ${user},
         (case when p = 1 then 'OWNER' when p <= ${team.admins} then 'ADMIN' else 'MEMBER' end)::public."WorkspaceMemberRole"
       from ${teams}, generate_series(1, ${team.people}) p`,
    );
    await withoutIndexes(client, "public.user_credentials", () =>
      // By id, which is random: a person's rows lie all over the table, as they do where people come and go.
      client.query(
        `insert into public.user_credentials
           (id, user_id, workspace_id, scope, name, provider, type, encrypted_value, key_id, masked_value, created_at)
         select id, user_id, workspace_id, scope::public."CredentialScope", name, 'github', 'API_KEY', '${filler}', $1,
           'ghp_*****abcd', now() - random() * interval '300 days'
         from (
           select md5(format('own %s %s %s', t, p, n))::uuid as id, ${user} as user_id, null::uuid as workspace_id,
             'USER' as scope, format('own %s', n) as name
           from ${teams}, generate_series(1, ${team.people}) p, generate_series(1, ${team.own}) n
           union all
           select md5(format('shared %s %s', t, n))::uuid, ${user}, ${workspace}, 'WORKSPACE', format('shared %s', n)
           from ${teams}, (select 1 as p) as owner, generate_series(1, ${team.shared}) n
         ) as rows order by id`,
        [keyId],
      ),
    );
    await client.query("vacuum analyze");
    await client.query("checkpoint");
  });
}

/** Does work on a table whose indexes, those of constraints aside, are made anew after it. */
async function withoutIndexes(client: pg.Client, table: string, work: () => Promise<unknown>): Promise<void> {
  const { rows } = await client.query<{ name: string; definition: string }>(
    `select indexrelid::regclass::text as name, pg_get_indexdef(indexrelid) as definition
     from pg_index where indrelid = $1::regclass
       and not exists (select from pg_constraint where conindid = indexrelid)`,
    [table],
  );
  for (const { name } of rows) await client.query(`drop index ${name}`);
  await work();
  for (const { definition } of rows) await client.query(definition);
}

/** Admins of teams all over the database, as many in each size, whose own credentials have real values. */
export async function measuredAdmins(
  database: BenchDatabase,
  { cipher, token }: Secrets,
): Promise<Array<Person & { readonly workspaceId: string }>> {
  return withConnection(database.url("postgres"), async (client) => {
    await client.query("set session_replication_role = replica");
    const { rows: admins } = await client.query<{ userId: string; workspaceId: string; credentials: string[] }>(
      `select m.user_id as "userId", m.workspace_id as "workspaceId", array_agg(c.id::text) as credentials
       from (select id, row_number() over (order by id) - 1 as place, count(*) over () as teams from public.workspaces) w
       join public.workspace_members m on m.workspace_id = w.id and m.role <> 'MEMBER'
       join public.user_credentials c on c.user_id = m.user_id and c.scope = 'USER'
       where w.place % (w.teams / ${MEASURED_TEAMS}) = 0
       group by m.user_id, m.workspace_id order by m.user_id`,
    );
    const own = admins.flatMap(({ userId, credentials }) => credentials.map((id) => ({ id, userId })));
    await client.query(
      `update public.user_credentials c set encrypted_value = sealed.encrypted_value
       from jsonb_to_recordset($1) as sealed (id uuid, encrypted_value text) where c.id = sealed.id`,
      [JSON.stringify(await sealedRows(cipher, own))],
    );
    await client.query("vacuum analyze public.user_credentials");
    return admins.map((admin) => ({ ...admin, token: token(admin.userId) }));
  });
}
