import { program } from "./cli/program.ts";
import { exitCodes, report } from "./cli/report.ts";

async function fail(error: unknown): Promise<never> {
  // A fault in telling must not be told in the same way, or it never ends.
  process.exit(await report(error).catch(() => exitCodes.error));
}

// What no command caught is told like any error: never a stack.
process.on("uncaughtException", fail);

// `keyrow help | head -1` closes the pipe early, and that is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => (error.code === "EPIPE" ? process.exit(0) : fail(error)));

await program.parseAsync().catch(fail);
