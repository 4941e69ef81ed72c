import type { Readable } from "node:stream";

/** How much of what nobody wants is read all the same, and for how long. */
const MOST_BYTES = 8 * 1024 * 1024;
const MOST_MS = 2_000;

/**
 * Reads on what a sender still sends and throws it away, then calls `done`: at its end, or after so much or so long. To
 * close a connection with something unread on it resets it, and an answer that is on its way there would be lost.
 */
export function readOn(stream: Readable, done: () => void): void {
  let left = MOST_BYTES;
  const stop = () => {
    clearTimeout(deadline);
    stream.off("data", count).off("end", stop).off("close", stop);
    done();
  };
  const count = (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) stop();
  };
  const deadline = setTimeout(stop, MOST_MS);
  stream.on("end", stop).on("close", stop).on("data", count);
}
