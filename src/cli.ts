import { program } from "./cli/program.ts";
import { exitCodes, report } from "./cli/report.ts";
import { KeyrowError } from "./errors.ts";

async function fail(error: unknown): Promise<never> {
  // A fault in telling must not be told in the same way, or it never ends.
  process.exit(await report(error).catch(() => exitCodes.error));
}

// What no command caught is told like any error: never a stack.
process.on("uncaughtException", fail);

// `keyrow help | head -1` closes the pipe early, and that is no error.
process.stdout.on("error", ({ code }: NodeJS.ErrnoException) =>
  code === "EPIPE" ? process.exit(0) : fail(unwritten(code)),
);

function unwritten(code: string | undefined): KeyrowError {
  return new KeyrowError("INTERNAL", {
    message: `Standard output can't be written (${code}).`,
    hint: "What is there is not whole. Look at the space on the disk where it goes.",
  });
}

await program.parseAsync().catch(fail);
