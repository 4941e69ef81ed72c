/**
 * Prints a value as it is; on a terminal a newline follows. Throws VALIDATION where it holds what would steer the
 * terminal: whoever wrote the value need not be who reads it.
 */
export async function printValue(value: string): Promise<void> {
  await printSecret(process.stdout.isTTY ? `${value}\n` : value);
}

/** Prints a text that holds values, as `printValue` does, and nothing after it. */
export async function printSecret(text: string): Promise<void> {
  const { isPrintable } = await import("../printable.ts");
  if (process.stdout.isTTY && !isPrintable(text.replaceAll(/\r?\n|\t/g, ""))) {
    const { KeyrowError } = await import("../errors.ts");
    throw new KeyrowError("VALIDATION", {
      message: "The value holds characters that would steer your terminal.",
      hint: "Pipe it to where it is used, or into `cat -v` to see them.",
    });
  }
  process.stdout.write(text);
}
