import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

/** What a run came to. */
export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** The counts of a whole run, and whether it was told to its end. */
export interface Told extends Counts {
  whole: boolean;
}

const result = /^(not )?ok \d+ - (.*?)(?: # (SKIP|TODO))?$/;
const separator = / [›>] /;

/**
 * Reads TAP as ava writes it, shows failures in full and skips as they come, and a line per file at the end, and gives the counts.
 * A skipped and a planned test count as skipped; a file that crashed or ran out of time counts as a failed test.
 */
export async function readTap(input: Readable, show: (line: string) => void): Promise<Told> {
  const total = { passed: 0, failed: 0, skipped: 0, whole: false };
  const files = new Map<string, Counts>();
  const progress = setInterval(() => show(`... ${total.passed} passed, ${total.failed} failed so far`), 5000);
  let showing = false;
  for await (const line of createInterface({ input })) {
    const [matched, not, title = "", directive] = result.exec(line) ?? [];
    if (/^1\.\.\d+$/.test(line)) {
      total.whole = true;
    } else if (matched !== undefined) {
      const outcome = directive ? "skipped" : not ? "failed" : "passed";
      total[outcome] += 1;
      fileOf(files, title)[outcome] += 1;
      showing = outcome === "failed";
      if (showing) show(`\nFAILED  ${title}`);
      // What was not tried must not look as if it had been.
      if (outcome === "skipped") show(`\nSKIPPED  ${title}`);
    } else if (showing && /^( {2}|#)/.test(line)) {
      show(line);
    }
  }
  clearInterval(progress);
  for (const [name, { passed, failed, skipped }] of [...files].sort()) {
    const notes = [failed && `${failed} failed`, skipped && `${skipped} skipped`].filter(Boolean);
    show(`${failed ? "FAILED" : "    ok"}  ${name}: ${[`${passed} passed`, ...notes].join(", ")}`);
  }
  return total;
}

/** Why a run is no success, besides tests that failed; undefined where it is one, or tests tell. */
export function faultOf({ passed, failed, skipped, whole }: Told, code: number | null): string | undefined {
  if (!whole) return `ava ended with ${code} before its report was whole.`;
  // Where all were skipped they were found, and told one by one.
  if (passed + failed + skipped === 0) return "No test ran.";
  return code !== 0 && failed === 0 ? `ava ended with ${code}, though no test failed.` : undefined;
}

/** ava puts the file's name before the title, except when there is one file alone. */
function fileOf(files: Map<string, Counts>, title: string): Counts {
  const name = title.split(separator).slice(0, -1).join("/") || "tests";
  const counts = files.get(name) ?? { passed: 0, failed: 0, skipped: 0 };
  files.set(name, counts);
  return counts;
}
