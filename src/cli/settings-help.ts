import { defaultOf, type SettingName, settings } from "../settings.ts";
import { wrap } from "./command.ts";

const INTRODUCTION =
  "Settings are environment variables, read once, at the start. A setting that is malformed, empty or unknown (any other KEYROW_... or JWT_...) stops it.";

/** Every setting for a terminal of this width in columns; `bold` marks the names. */
export function renderSettings(width: number, bold: (text: string) => string): string {
  const blocks = (Object.keys(settings) as SettingName[]).map((name) =>
    [
      `${bold(name)}${describeDefault(name)}`,
      ...wrap(settings[name].description, width - 4).map((line) => `    ${line}`),
    ].join("\n"),
  );
  return `${[wrap(INTRODUCTION, width).join("\n"), ...blocks].join("\n\n")}\n`;
}

/** What stands behind a setting's name: its default in embedded mode and, where it differs, elsewhere. */
function describeDefault(name: SettingName): string {
  const embedded = defaultOf(name, "embedded");
  const server = defaultOf(name, "server");
  if (embedded === undefined) return "";
  return embedded === server ? `  (${embedded})` : `  (${embedded}; ${server} where not embedded)`;
}
