import { coloured } from "../colour.ts";

const WIDTH = 30;
const EVERY_MS = 5_000;

/** Shows how far something long is, on standard error. */
export interface ProgressBar {
  update(done: number, total: number): void;
  /** Takes the bar away. */
  end(): void;
}

/** A bar on a terminal, redrawn in place; elsewhere a line every few seconds. */
export function createProgressBar(title: string): ProgressBar {
  const { stderr } = process;
  const started = performance.now();
  let told = started;
  return {
    update(done, total) {
      const seconds = (performance.now() - started) / 1_000;
      const rate = done / Math.max(seconds, 0.001);
      const rest = rate > 0 ? Math.max(0, total - done) / rate : 0;
      const numbers = `${count(done)} of ${count(total)} rows, ${count(Math.round(rate))} rows/s, ${clock(rest)} left`;
      if (stderr.isTTY) {
        const filled = Math.min(WIDTH, Math.round((WIDTH * done) / Math.max(total, 1)));
        const bar = coloured("green", "█".repeat(filled), stderr) + "░".repeat(WIDTH - filled);
        stderr.write(`\r\u001b[K${title}  ${bar}  ${numbers}`);
      } else if (performance.now() - told >= EVERY_MS) {
        told = performance.now();
        stderr.write(`${title}: ${numbers}\n`);
      }
    },
    end() {
      if (stderr.isTTY) stderr.write("\r\u001b[K");
    },
  };
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

function clock(seconds: number): string {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
