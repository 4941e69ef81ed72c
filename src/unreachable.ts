import pg from "pg";
import { KeyrowError } from "./errors.ts";
import { keyrowLogins } from "./logins.ts";

/** Where somebody wanted to connect, and as whom. */
interface Place {
  readonly login: string;
  /** Whether the setup makes this login. */
  readonly ours: boolean;
  readonly database: string;
  readonly server: string;
}

/** What is in the way of a connection, and what to do about it. */
type Obstacle = readonly [reason: string, hint: string | ((at: Place) => string)];

const address = "Correct host and port in the address";
const nobody: Obstacle = [
  "nothing listens there",
  `Start PostgreSQL there, or c${address.slice(1)}; \`listen_addresses\` says where it listens.`,
];
const unknown: Obstacle = ["its host name is not known", "Correct the host in the address."];
const silent: Obstacle = [
  "it does not answer",
  `${address}. Else what is sent is dropped on its way, or the server hangs.`,
];
const unrouted: Obstacle = ["no network leads there", "Correct the host in the address, or see to the network."];
const cut: Obstacle = [
  "it ends the connection",
  `${address} where something else listens there; PostgreSQL's log says why it ends connections.`,
];
const stranger: Obstacle = ["what listens there is not PostgreSQL", `${address}.`];
const full: Obstacle = [
  "this machine or process has too many connections or files open",
  "End some, or raise the limit.",
];
const noTls: Obstacle = [
  "it has no TLS",
  "Turn TLS on there (`ssl = on`), or take `sslmode` out of the address where the network is trusted.",
];
const distrusted: Obstacle = [
  "no authority that is known here has signed its certificate",
  "Name the authority's certificate in the address: `sslrootcert=/path/of/ca.pem`.",
];
const misnamed: Obstacle = ["its certificate is for another name", "Address it by a name that its certificate has."];
const outdated: Obstacle = ["its certificate is not valid today", "Renew the certificate, or set the clock here."];
const noHandshake: Obstacle = ["TLS with it fails", "Its log says more; `sslmode` and its like are in the address."];

/** What the system, Node and TLS say, by code (errno(3), getaddrinfo(3), OpenSSL's X509_V_ERR). */
const bySystem: Readonly<Record<string, Obstacle>> = {
  ...all(nobody, "ECONNREFUSED", "ENOENT"),
  ...all(unknown, "ENOTFOUND", "EAI_AGAIN", "EAI_FAIL", "EAI_NODATA"),
  ...all(silent, "ETIMEDOUT"),
  ...all(unrouted, "EHOSTUNREACH", "EHOSTDOWN", "ENETUNREACH", "ENETDOWN", "ENETRESET"),
  ...all(cut, "ECONNRESET", "ECONNABORTED", "EPIPE", "ENOTCONN", "ERR_STREAM_DESTROYED", "ERR_SOCKET_CLOSED"),
  ...all(full, "EADDRNOTAVAIL", "EAGAIN", "EMFILE", "ENFILE", "ENOBUFS"),
  ...all(distrusted, "DEPTH_ZERO_SELF_SIGNED_CERT", "SELF_SIGNED_CERT_IN_CHAIN", "CERT_UNTRUSTED", "INVALID_CA"),
  ...all(distrusted, "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "UNABLE_TO_GET_ISSUER_CERT", "CERT_SIGNATURE_FAILURE"),
  ...all(distrusted, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "CERT_REJECTED", "CERT_REVOKED", "INVALID_PURPOSE"),
  ...all(misnamed, "ERR_TLS_CERT_ALTNAME_INVALID", "HOSTNAME_MISMATCH"),
  ...all(outdated, "CERT_HAS_EXPIRED", "CERT_NOT_YET_VALID"),
  ...all(noHandshake, "EPROTO", "ERR_TLS_HANDSHAKE_TIMEOUT"),
};

/** Whether a connection came to nothing for the other side's certificate. */
export function isAboutCertificate(error: unknown): boolean {
  const obstacle = bySystem[(error as NodeJS.ErrnoException).code ?? ""];
  return obstacle === distrusted || obstacle === misnamed || obstacle === outdated;
}

// What pg and its pool say in words alone.
const byDriver: ReadonlyArray<readonly [pattern: RegExp, Obstacle]> = [
  [/^(timeout e|Connection terminated due to connection timeout|Query read timeout)/, silent],
  [/^(Connection terminated|Client (has encountered a connection error|was closed)|Cannot use a pool after)/, cut],
  [/^The server does not support SSL connections/, noTls],
  [/^(There was an error establishing an SSL connection|received invalid response)/, stranger],
];

/** What keeps a process from PostgreSQL, or cut it off; undefined for an error of any other kind. */
function obstacleOf(error: unknown): Obstacle | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code = "" } = error as NodeJS.ErrnoException;
  if (Object.hasOwn(bySystem, code)) return bySystem[code];
  if (/^ERR_(SSL|OSSL)_/.test(code)) return noHandshake;
  return byDriver.find(([pattern]) => pattern.test(error.message))?.[1];
}

/** Whether a connection to PostgreSQL could not be made, or is no more; not whether PostgreSQL itself has said so. */
export function isConnectionFault(error: unknown): boolean {
  return obstacleOf(error) !== undefined;
}

const passwordOf = ({ login, ours }: Place) =>
  ours
    ? `The setup makes the login without a password: set one by \`\\password ${login}\` in psql, and put it into the address.`
    : "Correct login and password in the address.";

const setUp = (at: Place) => (at.ours ? " What `keyrow setup --print` prints does it." : "");

/** What PostgreSQL says as it refuses a connection, by SQLSTATE or its class (appendix A). */
const byState: ReadonlyArray<readonly [prefix: string, Obstacle]> = [
  ["28P01", ["the password is wrong, or the login is unknown or has expired", passwordOf]],
  [
    "3D000",
    [
      "there is no such database",
      ({ ours }) => `Correct its name in the address.${ours ? " A new one needs `keyrow setup --print` first." : ""}`,
    ],
  ],
  [
    "55000",
    [
      "it takes no connections",
      ({ database }) => `Let its owner run: alter database ${pg.escapeIdentifier(database)} allow_connections true;`,
    ],
  ],
  [
    "53300",
    [
      "it takes no more connections",
      "Raise its `max_connections`, or the `connection limit` of the login or database. A server takes KEYROW_DATABASE_CONNECTIONS.",
    ],
  ],
  ["53", ["it lacks memory or space", "PostgreSQL's log says more."]],
  ["58", ["its disk fails", "PostgreSQL's log says more."]],
  ["57P03", ["it is starting up or shutting down", "Try again in a moment; PostgreSQL's log says what it waits for."]],
  ["57P", ["it is shutting down", "Start it again."]],
  [
    "08P01",
    [
      "it refuses how Keyrow connects",
      "Address PostgreSQL itself, or let the pooler between pass on the startup parameter `options`.",
    ],
  ],
];

/** What a login is refused for before any right of it counts; the server's words are the one thing that tells. */
function refusal({ message, routine = "" }: pg.DatabaseError): Obstacle {
  const grant = ({ login, ours }: Place, sql: string) =>
    ours
      ? "`keyrow setup --print` makes this login."
      : `Let an admin run: ${sql} role ${pg.escapeIdentifier(login)} login;`;
  if (/^role ".*" does not exist$/s.test(message)) return ["there is no such login", (at) => grant(at, "create")];
  if (/is not permitted to log in$/.test(message)) {
    return [
      "the login may not log in",
      ({ login }) => `Let an admin run: alter role ${pg.escapeIdentifier(login)} login;`,
    ];
  }
  if (!/auth/i.test(routine)) return ["the login is not allowed there", "PostgreSQL's log says why."];
  return [
    "its pg_hba.conf does not let the login in",
    "Add a line to pg_hba.conf for the login, database and host; where it asks for TLS, put `sslmode=verify-full` into the address.",
  ];
}

/** What a missing right is of; the name is of an object that was asked for, and never a value. */
function missingRight({ message, severity, routine }: pg.DatabaseError): Obstacle {
  if (routine === "CheckMyDatabase") {
    return [
      "the login lacks the right CONNECT on it",
      (at) =>
        `Let its owner run: grant connect on database ${pg.escapeIdentifier(at.database)} to ${pg.escapeIdentifier(at.login)};${setUp(at)}`,
    ];
  }
  const [, what] = /^permission denied for ([a-z ]+ [\w.]+)$/.exec(message) ?? [];
  const of = severity === "FATAL" || what === undefined ? "" : ` on the ${what}`;
  return [
    `the login lacks a right${of}`,
    ({ ours }) =>
      ours
        ? "What `keyrow setup --print` prints, and `keyrow migrate` after it, give it its rights."
        : "Connect as the login that the setting is meant for: `keyrow help config` names it.",
  ];
}

function obstacleAtStart(error: unknown): Obstacle | undefined {
  const { code = "", syscall } = error as NodeJS.ErrnoException;
  if (error instanceof pg.DatabaseError && code !== "") {
    if (code === "42501") return missingRight(error);
    // What is wrong with a statement is no matter of the connection.
    if (error.severity !== "FATAL") return undefined;
    if (code === "28000") return refusal(error);
    return (
      byState.find(([prefix]) => code.startsWith(prefix))?.[1] ?? [
        `it refuses the connection (${code})`,
        "PostgreSQL's log says why.",
      ]
    );
  }
  if (syscall === "open") {
    return ["a file that the address names can't be read", "Correct `sslrootcert`, `sslcert` or `sslkey` in it."];
  }
  if (syscall === "connect" && (code === "EACCES" || code === "EPERM")) {
    return ["this process may not connect there", "Run it as a user who may open the socket."];
  }
  if (error instanceof Error && /^SASL: .*client password must be/.test(error.message)) {
    return ["the address has no password", passwordOf];
  }
  return obstacleOf(error);
}

/** DATABASE_UNREACHABLE for an error of connecting, with place, reason and remedy and without the password; else undefined. */
export function unreachable(url: string, error: unknown): KeyrowError | undefined {
  const obstacle = obstacleAtStart(error);
  if (obstacle === undefined) return undefined;
  const at = placeOf(url);
  const [reason, hint] = obstacle;
  return new KeyrowError("DATABASE_UNREACHABLE", {
    message: `The database ${at.database} at ${at.server} can't be used: ${reason}.`,
    hint: typeof hint === "string" ? hint : hint(at),
    cause: error,
  });
}

function placeOf(url: string): Place {
  const { hostname, port, pathname, username, searchParams } = new URL(url);
  const login = searchParams.get("user") ?? decoded(username);
  const host = searchParams.get("host") ?? (hostname || "localhost");
  return {
    login,
    ours: keyrowLogins.has(login),
    database: decoded(pathname.slice(1)),
    server: `${host}${port && `:${port}`}`,
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function all(obstacle: Obstacle, ...codes: string[]): Record<string, Obstacle> {
  return Object.fromEntries(codes.map((code) => [code, obstacle]));
}
