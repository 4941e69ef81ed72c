/**
 * What a request leaves is gone when its answer is: where the young generation begins with room for many of them, in MiB,
 * it is collected less often, and little of what it holds is copied. By itself it grows only with what survives.
 */
export const nodeOptions = ["--min-semi-space-size=16"];
