// What steers a terminal or deceives who reads it: controls (C1 among them), formats such as U+202E, which turns around
// what follows it, line and paragraph separators, and halves of surrogate pairs.
const steering = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

/** Whether a text neither steers a terminal nor is another than it looks. */
export function isPrintable(text: string): boolean {
  return printable(text) === text;
}

/** A text from outside as one line for a terminal: whatever could steer it is a `?`. */
export function printable(text: string): string {
  return text.replaceAll(steering, "?");
}

/** A text whose characters of that kind are written as `how` says of each code point. */
export function rewritten(text: string, how: (codePoint: number) => string): string {
  return text.replaceAll(steering, (found) => how(found.codePointAt(0) ?? 0));
}

/** A value as JSON in one line that steers no terminal: what could is written as in `\u202e`, and reads as before. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(steering, (found) =>
    // By UTF-16 code units, as JSON escapes (RFC 8259, section 7).
    found
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}
