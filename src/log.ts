import { pino } from "pino";
import { describeError } from "./errors.ts";

/** The server's log: one JSON object a line on stderr. Only named fields go in; never a value, token, key or SQL text. */
export type Log = pino.Logger;

/** Makes the log of a level of pino's, or `silent`. */
export function createLog(
  level: string,
  destination: pino.DestinationStream = pino.destination({ dest: 2, sync: true }),
): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: describeError },
    },
    destination,
  );
}

/** Sends what libraries print to the log instead, without its text: they print errors whole, with what was given. */
export function redirectConsole(log: Log): void {
  for (const method of ["log", "info", "warn", "error", "dir", "debug"] as const) {
    console[method] = (...printed: unknown[]) => {
      const error = printed.find((one) => one instanceof Error);
      log.debug({ ...(error !== undefined && { error }) }, "a library printed something");
    };
  }
}
