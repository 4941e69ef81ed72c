import { once } from "node:events";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import type { OpenBaoAccess } from "../../src/cipher/openbao/access.ts";

/** What a call is, and what the answer has. */
export interface RawCall {
  readonly method?: "GET" | "POST" | "DELETE" | "LIST";
  /** Below `/v1/`. */
  readonly path: string;
  readonly token?: string | undefined;
  readonly body?: object;
}

/** An answer as it came. */
export interface RawAnswer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: an answer has the form that OpenBao gives it.
  readonly json: any;
}

/** Calls the OpenBao behind a socket, and takes any answer. */
export async function callOpenBao(socket: string, { method, path, token, body }: RawCall): Promise<RawAnswer> {
  const sent = request({
    socketPath: socket,
    method: method ?? (body === undefined ? "GET" : "POST"),
    path: `/v1/${path}`,
    headers: { ...(token !== undefined && { "x-vault-token": token }) },
    agent: false,
  });
  sent.end(body === undefined ? undefined : JSON.stringify(body));
  const [response] = await once(sent, "response");
  const answered = await text(response);
  return { status: response.statusCode, json: answered === "" ? undefined : JSON.parse(answered) };
}

/** Logs in with an AppRole; gives the token. */
export async function logIn(socket: string, { login }: OpenBaoAccess): Promise<string> {
  if ("token" in login) return login.token;
  const body = { role_id: login.roleId, secret_id: login.secretId };
  const { status, json } = await callOpenBao(socket, { path: "auth/approle/login", body });
  if (status !== 200) throw new Error(`the login was answered with ${status}`);
  return json.auth.client_token;
}
