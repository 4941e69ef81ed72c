/**
 * Parts items in order: each part has at most so many of them, and so much of them together, but that what is larger is a
 * part of its own.
 */
export function inParts<T>(
  items: readonly T[],
  sizeOf: (item: T) => number,
  most: { readonly size: number; readonly count?: number },
): T[][] {
  const { count = Number.POSITIVE_INFINITY } = most;
  const parts: T[][] = [];
  let size = 0;
  for (const item of items) {
    size += sizeOf(item);
    const last = parts.at(-1);
    if (last !== undefined && last.length < count && size <= most.size) {
      last.push(item);
    } else {
      parts.push([item]);
      size = sizeOf(item);
    }
  }
  return parts;
}
