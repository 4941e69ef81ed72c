// Loaded before each test file. An error that pg reports to nobody waiting has a stack of its message alone, and ava's
// reporter then ends without saying which test failed: so every stack names a place, though it be none.
Error.prepareStackTrace = (error, frames) =>
  [String(error), ...frames.map((frame) => `    at ${frame}`), ...(frames.length === 0 ? ["    at nowhere"] : [])].join(
    "\n",
  );
