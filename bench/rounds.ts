import type { Sample } from "./load.ts";

/** How long to measure: so many rounds of so many ms each, after a warm-up. */
export interface Pace {
  readonly rounds: number;
  readonly ms: number;
  readonly warmUpMs: number;
}

/** One of those that are measured side by side. */
export interface Entrant {
  readonly name: string;
  /** How many values each of its requests has; then values are what its speed is measured by. */
  readonly values?: number;
  round(ms: number): Promise<Sample>;
  /** In MiB. */
  memory?(): number;
  /** In ms, since it began. */
  cpu?(): number | undefined;
}

/**
 * What the rounds came to: medians of requests per second, of the latencies in ms and of the process's own processor
 * time in ms a request, which other work on the machine changes least; and the most memory in MiB.
 */
export interface Figures {
  readonly requestsPerSecond?: number;
  readonly valuesPerSecond?: number;
  /** Of what is no request, and has no latency. */
  readonly rowsPerSecond?: number;
  readonly p50?: number;
  readonly p99?: number;
  readonly cpu?: number;
  readonly memory?: number;
}

/** How many times as fast one was as another in the same round. */
export interface Ratio {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What was measured side by side. */
export interface SideBySide {
  readonly figures: Readonly<Record<string, Figures>>;
  /** The requests, or values, per second of one entrant over those of another. */
  ratio(name: string, over: string): Ratio;
}

/** Measures in turns, A B C, B C A and so on: what the machine does besides hits all of them alike. */
export async function sideBySide(entrants: readonly Entrant[], pace: Pace): Promise<SideBySide> {
  for (const entrant of entrants) await entrant.round(pace.warmUpMs);
  const samples = new Map(entrants.map(({ name }) => [name, [] as Sample[]]));
  const cpu = new Map(entrants.map(({ name }) => [name, [] as number[]]));
  const memory = new Map<string, number>();
  for (let round = 0; round < pace.rounds; round++) {
    const first = round % entrants.length;
    for (const entrant of [...entrants.slice(first), ...entrants.slice(0, first)]) {
      const before = entrant.cpu?.();
      const sample = await entrant.round(pace.ms);
      samples.get(entrant.name)?.push(sample);
      if (before !== undefined) cpu.get(entrant.name)?.push(((entrant.cpu?.() ?? before) - before) / sample.requests);
      if (entrant.memory) memory.set(entrant.name, Math.max(memory.get(entrant.name) ?? 0, entrant.memory()));
    }
  }
  const values = new Map(entrants.map((entrant) => [entrant.name, entrant.values]));
  const of = (name: string, figure: keyof Sample) => (samples.get(name) ?? []).map((sample) => sample[figure]);
  return {
    figures: Object.fromEntries(
      entrants.map(({ name }) => {
        const most = memory.get(name);
        const middle = (figure: keyof Sample) => median(of(name, figure));
        const requestsPerSecond = middle("requestsPerSecond");
        const many = values.get(name);
        const each = cpu.get(name) ?? [];
        return [
          name,
          {
            requestsPerSecond,
            ...(many !== undefined && { valuesPerSecond: requestsPerSecond * many }),
            p50: middle("p50"),
            p99: middle("p99"),
            ...(each.length > 0 && { cpu: median(each) }),
            ...(most !== undefined && { memory: most }),
          },
        ];
      }),
    ),
    ratio(name, over) {
      const speeds = (who: string) => of(who, "requestsPerSecond").map((speed) => speed * (values.get(who) ?? 1));
      const others = speeds(over);
      const ratios = speeds(name).map((own, round) => own / (others[round] ?? Number.NaN));
      return { median: median(ratios), min: Math.min(...ratios), max: Math.max(...ratios) };
    },
  };
}

function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}
