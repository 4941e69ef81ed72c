import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** A Node of the system's that is older than what tests run on, and not too old for clients; undefined without one. */
export const oldNode: string | undefined = (process.env.PATH ?? "")
  .split(delimiter)
  .filter((directory) => !directory.includes("node_modules"))
  .map((directory) => join(directory, "node"))
  .filter((file) => existsSync(file))
  .find((file) => {
    const major = Number.parseInt(execFileSync(file, ["--version"], { encoding: "utf8" }).slice(1), 10);
    return major >= 20 && major < 24;
  });
