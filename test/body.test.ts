import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import test from "ava";
import { readJsonBody } from "../src/body.ts";
import { LONG_BODY } from "../src/limits.ts";

for (const [bytes, turns] of [
  [LONG_BODY, 0],
  [LONG_BODY + 1, 1],
] as const) {
  test(`a body of ${bytes} bytes is read ${turns === 0 ? "at once" : "in a turn of the event loop"}`, async (t) => {
    const text = "x".repeat(bytes - 2);
    const request = Object.assign(Readable.from([Buffer.from(JSON.stringify(text))]), { headers: {} });
    let taken = 0;
    const loopTurn = async () => {
      taken += 1;
    };
    t.is(await readJsonBody(request as unknown as IncomingMessage, bytes, loopTurn), text);
    t.is(taken, turns);
  });
}
