import type { GeneratorValue } from "fast-check";
import { nat } from "fast-check";

/** What every choice is drawn from; fast-check replays and shrinks them. */
export type Draw = GeneratorValue;

/** One of the list. */
export function pick<T>(draw: Draw, list: readonly T[]): T {
  return list[draw(nat, { max: list.length - 1 })] as T;
}

/** True about once in so many times. */
export function once(draw: Draw, times: number): boolean {
  // fast-check draws the ends of a range more often than what is between.
  return draw(nat, { max: times - 1 }) === times >> 1;
}

/** So many things, from `least` to `most`. */
export function several<T>(draw: Draw, least: number, most: number, make: (index: number) => T): T[] {
  return Array.from({ length: least + draw(nat, { max: most - least }) }, (_, index) => make(index));
}
