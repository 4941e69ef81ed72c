import { coloured } from "../colour.ts";
import { columnsOf } from "./command.ts";

const MOST_WIDTH = 30;
const LEAST_WIDTH = 5;
const EVERY_MS = 5_000;

/** Shows how far something long is, on standard error. */
export interface ProgressBar {
  update(done: number, total: number): void;
  /** Takes the bar away. */
  end(): void;
}

/** A bar on a terminal, redrawn in place; elsewhere a line every few seconds. */
export function createProgressBar(title: string, stream: NodeJS.WriteStream = process.stderr): ProgressBar {
  const started = performance.now();
  let told = started;
  return {
    update(done, total) {
      const seconds = (performance.now() - started) / 1_000;
      const rate = done / Math.max(seconds, 0.001);
      const rest = rate > 0 ? Math.max(0, total - done) / rate : 0;
      const numbers = `${count(done)} of ${count(total)} rows, ${count(Math.round(rate))} rows/s, ${clock(rest)} left`;
      if (stream.isTTY) {
        stream.write(`\r\u001b[K${fitted(stream, title, done / Math.max(total, 1), numbers)}`);
      } else if (performance.now() - told >= EVERY_MS) {
        told = performance.now();
        stream.write(`${title}: ${numbers}\n`);
      }
    },
    end() {
      if (stream.isTTY) stream.write("\r\u001b[K");
    },
  };
}

/** One line of the terminal and no more: one that wraps can't be redrawn. */
function fitted(stream: NodeJS.WriteStream, title: string, share: number, numbers: string): string {
  // The last column stays free, for some terminals wrap there.
  const columns = columnsOf(stream) - 1;
  const width = Math.min(MOST_WIDTH, columns - `${title}    ${numbers}`.length);
  if (width < LEAST_WIDTH) return `${title}  ${numbers}`.slice(0, columns);
  const filled = Math.min(width, Math.round(width * share));
  const bar = coloured("green", "█".repeat(filled), stream) + "░".repeat(width - filled);
  return `${title}  ${bar}  ${numbers}`;
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
