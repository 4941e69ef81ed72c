import { Writable } from "node:stream";
import test from "ava";
import { createLog, redirectConsole } from "../src/log.ts";

function logInto(level: string): { log: ReturnType<typeof createLog>; lines: () => Array<Record<string, unknown>> } {
  const chunks: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  const lines = () => chunks.map((chunk) => JSON.parse(chunk));
  return { log: createLog(level, destination), lines };
}

test("an error is logged by class, code and place, never by its message", (t) => {
  const { log, lines } = logInto("info");
  const error = Object.assign(new TypeError("holds s3cret\n    at s3cret:1:1"), { code: "E_CODE", detail: "s3cret" });
  log.error({ error }, "unexpected error");
  const [line] = lines();
  t.like(line, { level: "error", msg: "unexpected error", error: { name: "TypeError", code: "E_CODE" } });
  t.regex(JSON.stringify(line), /log\.test\.ts/);
  t.notRegex(JSON.stringify(line), /s3cret/);
});

test("a code that could hold anything is left out", (t) => {
  const { log, lines } = logInto("info");
  log.error({ error: Object.assign(new Error("x"), { code: "not a code: s3cret" }) }, "unexpected error");
  t.notRegex(JSON.stringify(lines()), /s3cret/);
});

test.serial("what a library prints is logged without its text", (t) => {
  const { log, lines } = logInto("debug");
  const { error, warn, log: plain, info, dir, debug } = console;
  try {
    redirectConsole(log);
    // biome-ignore lint/suspicious/noConsole: what is tested is what happens to it.
    console.error("Invalid cursor: s3cret", new Error("s3cret"));
    // biome-ignore lint/suspicious/noConsole: what is tested is what happens to it.
    console.warn("s3cret");
  } finally {
    Object.assign(console, { error, warn, log: plain, info, dir, debug });
  }
  t.is(lines().length, 2);
  t.like(lines()[0], { level: "debug", error: { name: "Error" } });
  t.notRegex(JSON.stringify(lines()), /s3cret/);
});
