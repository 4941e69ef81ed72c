import { z } from "zod";

/** `embedded`: `keyrow start` with a PostgreSQL and secrets of its own; `server`: everything is given from outside. */
export type Mode = "embedded" | "server";

/** One environment variable: what it is, how it is read, and what to do when it can't be. */
export interface Setting<T> {
  /** As one would write it; one for each mode where they differ. None: the setting may be absent. */
  readonly default?: string | Readonly<Record<Mode, string>>;
  readonly description: string;
  /** Its messages are printed, so they must never repeat the text. */
  readonly parser: z.ZodType<T, string>;
  readonly remedy: string;
}

type WithDefault<T> = Setting<T> & Required<Pick<Setting<T>, "default">>;

/** A setting that has a default. */
export const setting = <T>(it: WithDefault<T>): Setting<T> => it;
/** A setting that may be absent. */
export const optional = <T>(it: Omit<Setting<T>, "default">): Setting<T | undefined> => it;

/** A whole number of a range. */
export const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, "it is not a whole number")
    .transform(Number)
    .refine((value) => value >= min && value <= max, "it is out of range");

const units = { ms: 1, s: 1_000, m: 60_000 } as const;
/** A time as `500ms`, `10s` or `2m`, in ms. */
export const duration = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,6}(ms|s|m)$/, "it is not a time such as 500ms, 10s or 2m")
    .transform((given) => Number.parseInt(given, 10) * units[given.replace(/^\d+/, "") as keyof typeof units])
    .refine((ms) => ms >= min && ms <= max, "it is out of range");

const words = { on: true, true: true, "1": true, yes: true, off: false, false: false, "0": false, no: false } as const;
/** `on` or `off`, in some words. */
export const yesOrNo = z
  .string()
  .toLowerCase()
  .pipe(z.enum(Object.keys(words) as Array<keyof typeof words>, "it is neither on nor off"))
  .transform((word): boolean => words[word]);

/** What an audience, an issuer or a claim may be. */
export const text = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, "it is not plain text of at most 255 characters without spaces");

/** The path of a file or directory. */
export const path = z.string().regex(/^\P{Cc}{1,1024}$/u, "it is not a path");

/** Reads a key from its text; what the reader throws is what is wrong. */
export const key = <T>(read: (text: string) => T) =>
  z.string().transform((given, context): T => {
    try {
      return read(given);
    } catch (error) {
      context.addIssue({ code: "custom", message: (error as Error).message });
      return z.NEVER;
    }
  });
