import test from "ava";
import { execa } from "execa";
import { coloured } from "../src/colour.ts";
import { cli, surroundings } from "./helpers/command.ts";
import { onTerminal, typeInto } from "./helpers/terminal.ts";

// Node's loader of TypeScript, which the published package has no need of, warns where both variables are set.
const colours = { NO_COLOR: "", TERM: "xterm-256color", NODE_NO_WARNINGS: "1" };
const plain = "error: unknown command 'strat'\nhint: did you mean start?";

onTerminal("on a terminal there is colour, and none where NO_COLOR is set, whatever FORCE_COLOR says", async (t) => {
  const shown = async (env: Record<string, string>) => {
    const { shown } = await typeInto(["strat"], { ...colours, ...env }, "nothing", "");
    return shown.replaceAll("\r", "").trimEnd();
  };
  t.true((await shown({})).startsWith("\u001b[31merror:\u001b[39m unknown command"));
  t.is(await shown({ NO_COLOR: "1" }), plain);
  t.is(await shown({ NO_COLOR: "1", FORCE_COLOR: "1" }), plain);
  t.is(await shown({ TERM: "dumb" }), plain);
});

onTerminal("so has the prompt for a value", async (t) => {
  const env = { ...colours, KEYROW_URL: "http://127.0.0.1:1", KEYROW_TOKEN: "t" };
  const asked = async (more: object) => (await typeInto(["set", "p/n"], { ...env, ...more }, "Value", "\u0003")).shown;
  // Where the cursor goes is no colour.
  t.true((await asked({})).includes("\u001b[1mValue"));
  t.false((await asked({ NO_COLOR: "1", FORCE_COLOR: "1" })).includes("\u001b[1m"));
});

test("elsewhere there is no colour, whatever FORCE_COLOR says", async (t) => {
  const options = {
    env: { ...surroundings, FORCE_COLOR: "1", TERM: "xterm-256color" },
    extendEnv: false,
    reject: false,
  };
  t.is((await execa(process.execPath, [cli, "strat"], options)).stderr, plain);
  t.false((await execa(process.execPath, [cli, "help", "config"], options)).stdout.includes("\u001b"));
});

test("a terminal that has no colours gets none", (t) => {
  const stream = { isTTY: true, hasColors: () => false } as unknown as NodeJS.WriteStream;
  t.is(coloured("red", "error:", stream, {}), "error:");
});
