import type { Credentials } from "./home.ts";
import { RAFT, SEAL_KEY } from "./home.ts";
import { OPERATOR, operatorPolicy, type Policy, SERVER, serverPolicy } from "./policies.ts";

/** The names of OpenBao's files in its directory. */
export const SOCKET = "bao.sock";
export const PID_FILE = "bao.pid";
export const CONFIGURATION = "config.hcl";
const AUDIT = "audit.log";

const quote = (value: string | number | boolean | string[]): string => JSON.stringify(value);

/**
 * OpenBao's configuration. Paths are from its directory, where it is started, but for a socket that has to be elsewhere;
 * with credentials it sets itself up, at the first start of its storage alone.
 */
export function configuration(socket: string, setUpFor?: Credentials): string {
  // A socket's mode is set only where its owner is as well.
  const [user, group] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0].map(String);
  return `# Written by Keyrow at each start; changes made here are lost.
api_addr = "http://127.0.0.1"
cluster_addr = "https://127.0.0.1:0"
pid_file = ${quote(PID_FILE)}

storage "raft" {
  path = ${quote(RAFT)}
  node_id = "keyrow"
  performance_multiplier = 1
}

seal "static" {
  current_key_id = "keyrow"
  current_key = ${quote(`file://${SEAL_KEY}`)}
}

listener "unix" {
  address = ${quote(socket)}
  socket_mode = "0600"
  socket_user = ${quote(user ?? "0")}
  socket_group = ${quote(group ?? "0")}
}

# Raft does not start without one. Its ports are any free ones, and it takes no connection: nobody comes from there.
listener "tcp" {
  address = "127.0.0.1:0"
  cluster_address = "127.0.0.1:0"
  tls_disable = true
  proxy_protocol_behavior = "deny_unauthorized"
  proxy_protocol_authorized_addrs = "192.0.2.1"
}

audit "file" "file" {
  options {
    file_path = ${quote(AUDIT)}
    mode = "0600"
  }
}
${setUpFor === undefined ? "" : setUp(setUpFor)}`;
}

type Data = Readonly<Record<string, string | boolean | string[]>>;

/** Requests that OpenBao makes of itself with a root token, which it revokes after the last. */
function setUp({ transitKey, server, operator }: Credentials): string {
  const { mount, key } = transitKey;
  const requests: Array<[path: string, data: Data]> = [
    [`sys/mounts/${mount}`, { type: "transit" }],
    [`${mount}/keys/${key}`, { type: "aes256-gcm96", derived: true }],
    ["sys/auth/approle", { type: "approle" }],
    ...login(SERVER, serverPolicy(transitKey), server),
    ...login(OPERATOR, operatorPolicy(transitKey), operator),
  ];
  return `\ninitialize "keyrow" {\n${requests.map(([path, data], index) => request(index, path, data)).join("")}}\n`;
}

function login(name: string, policy: Policy, { roleId, secretId }: Credentials["server"]): Array<[string, Data]> {
  const role = `auth/approle/role/${name}`;
  return [
    [`sys/policies/acl/${name}`, { policy: JSON.stringify({ path: policy }) }],
    // Tokens live for as long as they are renewed.
    [role, { token_policies: [name], token_no_default_policy: true, token_period: "1h" }],
    [`${role}/role-id`, { role_id: roleId }],
    [`${role}/custom-secret-id`, { secret_id: secretId }],
  ];
}

function request(index: number, path: string, data: Data): string {
  const fields = Object.entries(data).map(([name, value]) => `      ${name} = ${quote(value)}\n`);
  const head = `    operation = "update"\n    path = ${quote(path)}\n`;
  return `  request "step-${index}" {\n${head}    data = {\n${fields.join("")}    }\n  }\n`;
}
