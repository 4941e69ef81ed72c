import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { startEmbedded } from "../src/embedded/server.ts";
import { scramVerifier, withConnection } from "../src/setup.ts";
import { keyrow } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { filesIn, find, formsOf, type Needle, type Place, random, search, talkative } from "./helpers/grep.ts";
import { prepareTemplate, templateName } from "./helpers/template.ts";

test("no value, key or password of keyrow system is in a log, the WAL, the data directory, pg_stat_statements or what it says", async (t) => {
  const [directory, keys] = [makeTemporaryDirectory(), makeTemporaryDirectory()];
  t.teardown(async () => {
    await removeWithServers(directory);
    await removeWithServers(keys);
  });
  const superuserPassword = random(32);
  const postgres = await startEmbedded({ directory, password: superuserPassword, settings: talkative });
  t.teardown(() => postgres.stop());
  await prepareTemplate(postgres);
  const superuser = postgres.url({ user: postgres.superuser, password: superuserPassword }, templateName);
  const admin = <T>(text: string) =>
    withConnection(superuser, async (client) => (await client.query(text)).rows as T[]);
  await admin("create extension pg_stat_statements");
  await admin(`insert into public.users (name, email) values ('Ana', 'ana@example.com'), ('Bo', 'bo@example.com')`);

  const keyFile = join(keys, "keys.json");
  await createKeyFile(keyFile);
  const other = join(keys, "other.json");
  await createKeyFile(other);
  const loginPassword = random(32);
  await admin(`create role alice login password '${scramVerifier(loginPassword)}'; grant keyrow_admin to alice`);
  const env = {
    ADMIN_DATABASE_URL: postgres.url({ user: "alice", password: loginPassword }, templateName),
    KEYROW_KEY_FILE: keyFile,
    LOG_LEVEL: "trace",
  };
  const said: Place[] = [];
  const values: string[] = [];
  /** A value with characters that every encoding writes in its own way, around a core that none of them touches. */
  const secret = () => {
    values.push(`ghp_"${random(36)}\\ 'ñ' %+/\nline`);
    return values.at(-1) as string;
  };
  const run = async (expected: number, args: string[], input = "", more: Record<string, string> = {}) => {
    const { stdout, stderr, exitCode } = await keyrow(args, { ...env, ...more }, input);
    t.is(exitCode, expected, `${args.join(" ")}: ${stderr}`);
    said.push({ name: `what ${args.slice(0, 3).join(" ")} says`, bytes: Buffer.from(stderr) });
    if (args[1] !== "get") said.push({ name: `what ${args.join(" ")} gives`, bytes: Buffer.from(stdout) });
    return stdout;
  };

  // What is stored, opened, renewed, handed over and deleted.
  for (const name of ["one", "two"]) {
    const value = secret();
    await run(0, ["system", "set", `p/${name}`, "--user", "ana@example.com"], value);
    t.is(await run(0, ["system", "get", `p/${name}`]), value);
  }
  const renewed = secret();
  await run(0, ["system", "set", "p/one", "--json"], `${renewed}\n`);
  t.is(await run(0, ["system", "get", "p/one"]), renewed);
  await run(0, ["system", "list", "--json"]);
  await run(0, ["system", "list"]);
  await run(0, ["handover", "--from", "ana@example.com", "--to", "bo@example.com"]);

  // What goes wrong with a value at hand.
  await run(2, ["system", "set", "p/three", "--type", "x"], secret());
  await run(2, ["system", "set", "p/three", secret()], secret());
  await run(2, ["system", "set", `p/three`, `--value=${secret()}`], secret());
  await run(2, ["system", "set", `-----${secret()}`], secret());
  await run(3, ["system", "set", "p/three", "--user", "nobody@example.com"], secret());
  await run(1, ["system", "set", "p/three"], secret().repeat(3_000));
  await run(1, ["system", "get", "p/one"], "", { KEYROW_KEY_FILE: other });
  await admin("alter table public.user_credentials add constraint refuses check (name <> 'refused')");
  await run(1, ["system", "set", "p/refused"], secret());
  await admin(`
    create function public.fails() returns trigger language plpgsql as $$ begin raise exception '%', new; end $$;
    create constraint trigger fails after insert or update on public.user_credentials deferrable initially deferred
      for each row execute function public.fails()`);
  await run(1, ["system", "set", "p/one"], secret());
  await run(1, ["system", "set", "p/four"], secret());
  await admin("drop function public.fails() cascade");
  await run(0, ["system", "rm", "p/two"]);

  // What is there to be found is found.
  const canary = `canary ${random(30)}`;
  await admin(`select /* ${canary} */ 1`);
  const places: Place[] = [...said];
  for (const view of ["pg_stat_statements", "pg_stat_activity", "public.activity_logs", "public.user_credentials"]) {
    places.push({ name: view, bytes: Buffer.from(JSON.stringify(await admin(`select * from ${view}`))) });
  }
  await admin("checkpoint");
  await postgres.stop();
  places.push(...filesIn(directory));
  const found = find(places, canary);
  for (const name of ["pg_stat_statements: raw", "pg/postgres.log: raw"]) t.true(found.includes(name), name);
  t.true(find(places, "system_credentials").some((place) => /^pg\/data\/pg_wal\//.test(place)));

  const keyTexts = [keyFile, other].map((path) => JSON.parse(readFileSync(path, "utf8")).keys[0].key as string);
  const secrets: Array<[title: string, secret: string | Buffer]> = [
    ...values.flatMap(
      (value, index): Array<[string, string]> => [
        [`value ${index}`, value],
        [`the beginning of value ${index}`, value.slice(5, 19)],
        [`the end of value ${index}`, value.slice(27, 41)],
      ],
    ),
    ...keyTexts.map((key, index): [string, Buffer] => [`key ${index}`, Buffer.from(key, "base64")]),
    ["the superuser's password", superuserPassword],
    ["the login's password", loginPassword],
  ];
  t.true(values.length >= 12);
  const needles = secrets.flatMap(([title, one]) =>
    formsOf(one).map(([form, needle]): Needle => [`${title}, ${form}`, needle]),
  );
  t.deepEqual(search(places, needles), []);
});
