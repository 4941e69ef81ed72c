import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

/** The client as one module for browsers: what `keyrow/client` is in a page, and which modules it is made of. */
export async function bundleClient(): Promise<{ code: string; modules: readonly string[] }> {
  const bundle = await rolldown({
    input: fileURLToPath(new URL("../../src/client.ts", import.meta.url)),
    platform: "browser",
    // What a browser does not have must not be left out in silence.
    onLog: (_level, { message }) => {
      throw new Error(message);
    },
  });
  try {
    const [chunk, ...more] = (await bundle.generate({ format: "esm" })).output;
    if (more.length > 0 || chunk.imports.length > 0) throw new Error("the client is not one module");
    return { code: chunk.code, modules: chunk.moduleIds };
  } finally {
    await bundle.close();
  }
}
