// Loaded into a server before anything else: its clock is moved by as many milliseconds as it is told. Only the clock
// that people set moves; the one that timers run by does not, on no system.
const RealDate = Date;
const realNow = Date.now;
let offset = 0;

class MovedDate extends RealDate {
  constructor(...given: unknown[]) {
    if (given.length === 0) super(realNow() + offset);
    else super(...(given as [number]));
  }
  static override now(): number {
    return realNow() + offset;
  }
}
globalThis.Date = MovedDate as DateConstructor;

process.on("message", (moved) => {
  offset = Number(moved);
  process.send?.(offset);
});
// Listening must not keep the process alive.
process.channel?.unref();
