// Loaded before ava. Its reporter for TAP expects errors as its workers send them; for tests that were still running when
// the time was up it makes its own, ends over them, and names no test.
interface Reporter {
  writeTest(event: { err?: unknown }, flags: object): void;
}

const { default: TapReporter } = (await import(
  new URL("../../node_modules/ava/lib/reporters/tap.js", import.meta.url).href
)) as { default: { prototype: Reporter } };
const { writeTest } = TapReporter.prototype;
TapReporter.prototype.writeTest = function (event, flags) {
  const { err } = event;
  const sent = err instanceof Error ? { type: "native", name: err.name, stack: err.stack, originalError: err } : err;
  writeTest.call(this, { ...event, err: sent }, flags);
};
