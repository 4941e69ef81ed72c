import { Writable } from "node:stream";
import { createLog, type Log } from "../../src/log.ts";

/** A log that keeps everything, and its lines, parsed. */
export function collectLog(): { log: Log; text(): string; lines(): Array<Record<string, unknown>> } {
  const chunks: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  const text = () => chunks.join("");
  return {
    log: createLog("trace", destination),
    text,
    lines: () =>
      text()
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line)),
  };
}
