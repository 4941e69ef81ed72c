import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import pg from "pg";
import { checkAdoption } from "../src/adopt.ts";
import { createKeyFile } from "../src/cipher/keyfile.ts";
import { KeyrowError } from "../src/errors.ts";
import { withConnection } from "../src/setup.ts";
import { unreachable } from "../src/unreachable.ts";
import { keyrow } from "./helpers/admin.ts";
import { makeTemporaryDirectory, removeWithServers } from "./helpers/cluster.ts";
import { createTestDatabase, type TestDatabase, testUrl } from "./helpers/database.ts";

const user = "00000000-0000-4000-8000-00000000000a";
// Logins belong to the whole server: their names are this file's own, and they are dropped at the end.
const mark = randomBytes(4).toString("hex");
const password = `p${mark}`;
const made: string[] = [];

let database: TestDatabase;
test.before(async () => {
  database = await createTestDatabase();
});
test.after.always(async () => {
  await database?.drop();
  for (const login of made) await asSuperuser(`drop role if exists ${login}`);
});

function asSuperuser(text: string): Promise<pg.QueryResult> {
  return withConnection(testUrl("postgres", "postgres"), (client) => client.query(text));
}

function urlOf(login: string, change: (url: URL) => void = () => undefined): string {
  const url = new URL(testUrl("postgres", database.name));
  Object.assign(url, { username: login, password });
  change(url);
  return url.href;
}

/** A port of this machine that does with a connection what it is told. */
async function listener(t: ExecutionContext, take: (socket: Socket) => void): Promise<string> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on("error", () => undefined).on("close", () => open.delete(socket));
    take(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.close();
    for (const socket of open) socket.destroy();
  });
  return `postgres://keyrow_migrate:secret@127.0.0.1:${(server.address() as AddressInfo).port}/app`;
}

/** Runs every command that connects to a database of one's own; each tells why it can't, in two lines. */
async function tellsWhy(t: ExecutionContext, url: string, reason: RegExp): Promise<void> {
  const directory = makeTemporaryDirectory();
  t.teardown(() => removeWithServers(directory));
  const keys = join(directory, "keys.json");
  await createKeyFile(keys);
  const serving = {
    DATABASE_URL: url,
    KEYROW_KEY_FILE: keys,
    JWT_SECRET: "a-secret-of-forty-eight-bytes-for-this-test",
  };
  const commands: Array<[args: string[], env: Record<string, string>]> = [
    [["serve"], { ...serving, PORT: "0" }],
    [["migrate"], { MIGRATE_DATABASE_URL: url }],
    [["adopt"], { ADOPT_DATABASE_URL: url }],
    [["system", "list"], { ADMIN_DATABASE_URL: url }],
    [["handover", "--from", user, "--to", mark], { ADMIN_DATABASE_URL: url }],
  ];
  const ends = await Promise.all(commands.map(([args, env]) => keyrow(args, env)));
  for (const [i, { exitCode, stderr }] of ends.entries()) {
    const what = commands[i]?.[0].join(" ");
    t.is(exitCode, 5, what);
    t.regex(stderr, reason, what);
    t.regex(stderr, /^error: the database app at 127\.0\.0\.1:\d+ can't be used: .*\nhint: .*\n$/, what);
    t.false(stderr.includes("secret"), what);
  }
}

test("what takes connections and never answers is told by every command", async (t) => {
  await tellsWhy(t, await listener(t, () => undefined), /it does not answer/);
});

test("what closes connections is told by every command", async (t) => {
  await tellsWhy(t, await listener(t, (socket) => socket.end()), /it ends the connection/);
});

test("what resets connections is told by every command", async (t) => {
  const url = await listener(t, (socket) => socket.once("data", () => socket.resetAndDestroy()));
  await tellsWhy(t, url, /it ends the connection/);
});

test("what speaks another protocol is told by every command", async (t) => {
  const url = await listener(t, (socket) => socket.write(Buffer.alloc(64)));
  await tellsWhy(t, url, /what listens there is not PostgreSQL/);
});

for (const mode of ["require", "verify-full"]) {
  test(`a server without TLS is told by every command where sslmode=${mode} wants it`, async (t) => {
    // As PostgreSQL answers whoever asks for TLS.
    const url = await listener(t, (socket) => socket.once("data", () => socket.write("N")));
    await tellsWhy(t, `${url}?sslmode=${mode}`, /it has no TLS/);
  });
}

/** An error as the system or a library throws it. */
const thrown = (code: string | undefined, message = "a message", more = {}): Error =>
  Object.assign(new Error(message), { code, ...more });

/** An error as PostgreSQL reports it. */
function reported(code: string, severity = "FATAL"): Error {
  return Object.assign(new pg.DatabaseError("a message", 0, "error"), { code, severity });
}

const errors: Array<[title: string, error: unknown, reason: RegExp | undefined, hint?: RegExp]> = [
  ["a host without a way to it", thrown("EHOSTUNREACH"), /no network leads there/],
  ["a network without a way to it", thrown("ENETUNREACH"), /no network leads there/],
  ["a certificate that nobody known has signed", thrown("DEPTH_ZERO_SELF_SIGNED_CERT"), /no authority/, /sslrootcert=/],
  ["a certificate of an unknown authority", thrown("UNABLE_TO_VERIFY_LEAF_SIGNATURE"), /no authority/, /sslrootcert=/],
  ["a certificate for another name", thrown("ERR_TLS_CERT_ALTNAME_INVALID"), /for another name/, /by a name/],
  ["a certificate that has expired", thrown("CERT_HAS_EXPIRED"), /not valid today/, /Renew/],
  ["a handshake that fails", thrown("ERR_SSL_WRONG_VERSION_NUMBER"), /TLS with it fails/],
  ["a file of the address that is not there", thrown("ENOENT", "", { syscall: "open" }), /a file.*can't be read/],
  ["a socket that is another's", thrown("EACCES", "", { syscall: "connect" }), /may not connect there/],
  ["a pooler that takes no options", reported("08P01"), /refuses how Keyrow connects/, /`options`/],
  ["a full disk", reported("53100"), /memory or space/],
  ["a start that takes a while", reported("57P03"), /starting up or shutting down/, /Try again/],
  ["a refusal of any other kind", reported("XX000"), /refuses the connection \(XX000\)/, /log/],
  ["a mistake in a statement", reported("42601", "ERROR"), undefined],
  ["an error of ours", thrown("ERR_INVALID_ARG_TYPE"), undefined],
  ["an error of the catalogue", new KeyrowError("SCHEMA_BEHIND"), undefined],
];
for (const [title, error, reason, hint = /./] of errors) {
  test(`the start tells ${reason === undefined ? "nothing of" : "the reason and the remedy of"} ${title}`, (t) => {
    const told = unreachable("postgres://alice:secret@db:5433/app", error);
    if (reason === undefined) return t.is(told, undefined);
    t.is(told?.code, "DATABASE_UNREACHABLE");
    t.regex(told?.message ?? "", /^The database app at db:5433 can't be used: /);
    t.regex(told?.message ?? "", reason);
    t.regex(told?.hint ?? "", hint);
  });
}

const passwordWrong = /the password is wrong, or the login is unknown or has expired/;
const logins: Array<
  [title: string, attributes: string, more: string, change: (url: URL) => void, reason: RegExp, hint: RegExp]
> = [
  [
    "a wrong password",
    "login",
    "",
    (url) => {
      url.password = "secret";
    },
    passwordWrong,
    /Correct login and password/,
  ],
  [
    "no password",
    "login",
    "",
    (url) => {
      url.password = "";
    },
    /the address has no password/,
    /Correct login and password/,
  ],
  [
    "an expired login",
    "login valid until '2001-01-01'",
    "",
    () => undefined,
    passwordWrong,
    /Correct login and password/,
  ],
  ["a login without LOGIN", "nologin", "", () => undefined, /the login may not log in/, /alter role "\w+" login/],
  [
    "a login of no connections",
    "login connection limit 0",
    "",
    () => undefined,
    /no more connections/,
    /connection limit/,
  ],
  [
    "no such database",
    "login",
    "",
    (url) => {
      url.pathname = "/gone";
    },
    /The database gone .* no such database/,
    /^Correct its name in the address\.$/,
  ],
  [
    "a login without a right to connect",
    "login",
    "revoke connect on database :db from public",
    () => undefined,
    /lacks the right CONNECT/,
    /grant connect on database "\w+" to "\w+";$/,
  ],
];
for (const [i, [title, attributes, more, change, reason, hint]] of logins.entries()) {
  // One after another, for one of them changes the database.
  test.serial(`${title} has a hint of its own`, async (t) => {
    const login = `unreachable_${mark}_${i}`;
    made.push(login);
    await asSuperuser(`create role ${login} password '${password}' ${attributes}`);
    if (more !== "") await asSuperuser(more.replace(":db", database.name));
    const error = await t.throwsAsync(checkAdoption(urlOf(login, change), "jwt.claims.user_id"), {
      instanceOf: KeyrowError,
      code: "DATABASE_UNREACHABLE",
    });
    t.regex(error.message, reason);
    t.regex(error.hint ?? "", hint);
    t.false(`${error.message} ${error.hint}`.includes("secret"));
  });
}

test("a login that nobody has made is told as a wrong password is, for PostgreSQL does not tell", async (t) => {
  const error = await t.throwsAsync(checkAdoption(urlOf(`nobody_${mark}`), "jwt.claims.user_id"));
  t.regex(error.message, passwordWrong);
});

test("of a login that the setup makes, the hint says that it makes no password", async (t) => {
  const url = urlOf("keyrow_worker");
  const error = await t.throwsAsync(checkAdoption(url, "jwt.claims.user_id"), { instanceOf: KeyrowError });
  t.regex(error.hint ?? "", /makes the login without a password: set one by `\\password keyrow_worker` in psql/);
});
