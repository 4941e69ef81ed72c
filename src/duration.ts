import { KeyrowError } from "./errors.ts";

const secondsIn = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const MAX_SECONDS = 365 * secondsIn.d;

/** Seconds in a duration as in `15m`; throws USAGE for anything but 1 to 365 days of it. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d{1,8})([smhd])$/.exec(text) ?? [];
  const seconds = unit === undefined ? 0 : Number(count) * secondsIn[unit as keyof typeof secondsIn];
  if (seconds >= 1 && seconds <= MAX_SECONDS) return seconds;
  throw new KeyrowError("USAGE", {
    message: "The value of --expires is not a duration.",
    hint: "Give a whole number with s, m, h or d, from 1s to 365d, as in 15m.",
  });
}

/** When what begins now (in ms) and lasts so many seconds ends, to the second, as a token says it. */
export function endOf(seconds: number, now = Date.now()): Date {
  return new Date((Math.floor(now / 1000) + seconds) * 1000);
}
