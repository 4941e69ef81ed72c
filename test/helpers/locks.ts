import type pg from "pg";

/** The server processes that wait for a lock, or for one of some type, in the client's database and in no other test's. */
export async function waiters(client: pg.ClientBase | pg.Pool, type?: "advisory"): Promise<number[]> {
  const { rows } = await client.query<{ pid: number }>(
    `select pid from pg_locks where not granted and ($1::text is null or locktype = $1)
     and database = (select oid from pg_database where datname = current_database())`,
    [type],
  );
  return rows.map(({ pid }) => pid);
}
