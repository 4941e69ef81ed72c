import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A key that signs, and what a set of keys says of it. */
export interface SigningKey {
  readonly algorithm: "RS256" | "ES256";
  readonly privateKey: KeyObject;
  readonly jwk: Readonly<Record<string, unknown>>;
}

/** Makes a signing key; `more` is what its JWK says besides. */
export function makeKey(algorithm: SigningKey["algorithm"], more: Record<string, unknown> = {}): SigningKey {
  const { publicKey, privateKey } =
    algorithm === "RS256"
      ? generateKeyPairSync("rsa", { modulusLength: 2048 })
      : generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { algorithm, privateKey, jwk: { ...publicKey.export({ format: "jwk" }), ...more } };
}

/** Signs claims, or a text as it stands, as an issuer does; `header` is what the header says besides. */
export function issue({ algorithm, privateKey }: SigningKey, claims: object | string, header: object = {}): string {
  const encode = (text: string) => Buffer.from(text).toString("base64url");
  const payload = typeof claims === "string" ? claims : JSON.stringify(claims);
  const input = `${encode(JSON.stringify({ alg: algorithm, ...header }))}.${encode(payload)}`;
  const signature = sign("sha256", Buffer.from(input), { key: privateKey, dsaEncoding: "ieee-p1363" });
  return `${input}.${signature.toString("base64url")}`;
}

/** Writes a file for JWT_ISSUERS: issuers `https://<name>.example/` with the keys at one address, by what their subjects are. */
export function writeIssuers(path: string, jwks: URL, subjects: Readonly<Record<string, string>>): void {
  const issuers = Object.entries(subjects).map(([name, kind]) => ({
    name,
    issuer: `https://${name}.example/`,
    jwks: jwks.href,
    audience: "keyrow",
    subjects: kind,
  }));
  writeFileSync(path, JSON.stringify(issuers));
}

/** An issuer's server of keys, on loopback, which counts who asks. */
export interface KeyServer {
  readonly url: URL;
  /** How often it was asked. */
  readonly asked: () => number;
  /** Serves these keys from now on. */
  serve(...keys: ReadonlyArray<Readonly<Record<string, unknown>>>): void;
  /** Answers like this from now on. */
  answer(respond: (response: ServerResponse) => void): void;
  close(): Promise<void>;
}

/** Starts a server of keys. */
export async function startKeyServer(...keys: ReadonlyArray<Readonly<Record<string, unknown>>>): Promise<KeyServer> {
  let asked = 0;
  let respond: (response: ServerResponse) => void;
  const server = createServer((_request, response) => {
    asked += 1;
    respond(response);
  });
  const it: KeyServer = {
    url: new URL("http://127.0.0.1"),
    asked: () => asked,
    serve: (...given) => it.answer((response) => response.end(JSON.stringify({ keys: given }))),
    answer(given) {
      respond = given;
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  it.serve(...keys);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  it.url.port = String((server.address() as AddressInfo).port);
  it.url.pathname = "/keys";
  return it;
}
