/** The first so many of a list's names, and how many more there are, as a part of a sentence. */
export function firstOf(names: readonly string[], most: number): string {
  const first = names.slice(0, most).join(", ");
  return names.length > most ? `${first} and ${names.length - most} more` : first;
}
