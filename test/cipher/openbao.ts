import type { ExecutionContext } from "ava";
import type { OpenBaoAccess, TransitKey } from "../../src/cipher/openbao/access.ts";
import { createOpenBaoClient } from "../../src/cipher/openbao/client.ts";
import { createTokenKeeper } from "../../src/cipher/openbao/token.ts";
import type { TransitCall } from "../../src/cipher/openbao/transit-key.ts";
import { createTransit, type Transit } from "../../src/cipher/transit.ts";
import { collectLog } from "../helpers/log.ts";

/** A Transit cipher, and what became of it. */
export interface Observed {
  readonly transit: Transit;
  readonly calls: TransitCall[];
  /** Each state that it was in, in order. */
  readonly states: string[];
  /** Its log's lines, parsed. */
  log(): Array<Record<string, unknown>>;
}

/** Makes the Transit cipher of an OpenBao; it is closed with the test. */
export function observe(t: Pick<ExecutionContext, "teardown">, access: OpenBaoAccess, place: TransitKey): Observed {
  const client = createOpenBaoClient(access);
  const calls: TransitCall[] = [];
  const states: string[] = [];
  const { log, lines } = collectLog();
  const transit = createTransit({
    client,
    tokens: createTokenKeeper(client, access.login),
    place,
    log,
    onCall: (call) => calls.push(call),
    onState: (state) => states.push(state),
  });
  t.teardown(() => transit.close());
  return { transit, calls, states, log: lines };
}

/** A copy for each character changed or gone, and other spellings of the same bytes. */
export function* damagedTransit(encrypted: string): Iterable<[what: string, encrypted: string]> {
  const prefix = "vault:v1:";
  const body = encrypted.slice(prefix.length);
  for (let index = 0; index < encrypted.length; index++) {
    const other = encrypted[index] === "A" ? "B" : "A";
    yield [`character ${index} changed`, encrypted.slice(0, index) + other + encrypted.slice(index + 1)];
    yield [`character ${index} gone`, encrypted.slice(0, index) + encrypted.slice(index + 1)];
  }
  const bytes = Buffer.from(body, "base64");
  for (const position of bytes.keys()) {
    const flipped = Buffer.from(bytes);
    flipped[position] = (flipped[position] ?? 0) ^ 1;
    yield [`a bit of byte ${position} flipped`, prefix + flipped.toString("base64")];
    yield [`cut to ${position} bytes`, prefix + bytes.subarray(0, position).toString("base64")];
  }
  yield ["another version", `vault:v2:${body}`];
  yield ["version 0", `vault:v0:${body}`];
  yield ["version 01", `vault:v01:${body}`];
  yield ["no prefix", body];
  yield ["another prefix", `keyvault:v1:${body}`];
  yield ["more padding", `${encrypted}=`];
  yield ["a line end within", `${encrypted.slice(0, 20)}\n${encrypted.slice(20)}`];
  yield [
    "the URL alphabet",
    encrypted.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "") + (/[+/=]/.test(body) ? "" : "-"),
  ];
}
