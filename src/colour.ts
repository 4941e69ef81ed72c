import { styleText } from "node:util";

/**
 * A text as it is shown in a stream: with its format on a terminal that has colours, and plain anywhere else and where
 * NO_COLOR is set, whatever FORCE_COLOR says (no-color.org). Node's own rule is the other way round.
 */
export function coloured(
  format: "bold" | "dim" | "green" | "red" | "yellow",
  text: string,
  stream: NodeJS.WriteStream,
  { NO_COLOR }: Readonly<Record<string, string | undefined>> = process.env,
): string {
  if (!stream.isTTY || NO_COLOR || !stream.hasColors()) return text;
  return styleText(format, text, { validateStream: false });
}

/** Lets NO_COLOR go before FORCE_COLOR where a package gives colours by Node's own rule. */
export function preferNoColour(env: NodeJS.ProcessEnv = process.env): void {
  if (env.NO_COLOR) delete env.FORCE_COLOR;
}
