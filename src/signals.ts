/** Resolves at the first signal that asks to end. Later ones change nothing: npm and a terminal both send one. */
export function interruption(): Promise<void> {
  return new Promise((resolve) => {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => resolve());
  });
}
