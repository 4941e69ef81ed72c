import test, { type ExecutionContext } from "ava";
import { execaSync } from "execa";

/**
 * A test that runs programs of the system, by their names. On a machine without one of them it is skipped, aloud, and
 * counted; in CI, which installs them, their absence is a failure.
 */
export function withPrograms(
  names: readonly string[],
  title: string,
  run: (t: ExecutionContext) => Promise<void>,
): void {
  const missing = names.filter((name) => execaSync("sh", ["-c", `command -v ${name}`], { reject: false }).failed);
  if (missing.length === 0 || process.env.CI) test(title, run);
  else test.skip(`${title} (there is NO ${missing.join(", NO ").toUpperCase()} here)`, run);
}
