/**
 * What a request leaves is gone when its answer is: with room for many of them, in MiB, the young generation is collected
 * less often, and little of what it holds is copied into the old one.
 */
export const nodeOptions = ["--max-semi-space-size=32"];
