import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** The package's own folder, with package.json and migrations; what is published is compiled, one folder deeper. */
export const packageRoot: string = fileURLToPath(
  [new URL("../", import.meta.url), new URL("../../", import.meta.url)].find((one) =>
    existsSync(new URL("package.json", one)),
  ) ?? new URL("../", import.meta.url),
);
