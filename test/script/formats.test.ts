import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { parse } from "dotenv";
import { execa } from "execa";
import fc from "fast-check";
import { KeyrowError } from "../../src/errors.ts";
import { readVariablesFrom, writeVariables } from "../../src/script/formats.ts";
import { variableOf } from "../../src/script/variables.ts";

const nasty = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({
    unit: fc.constantFrom("'", '"', "`", "\\", "$", "\n", "\r", "#", "=", " ", "\t", "n", "é", "🔑", "{", "!"),
  }),
);
const name = fc.stringMatching(/^[A-Z][A-Z0-9_]{0,8}$/);
const variables = fc.uniqueArray(
  fc.tuple(
    name,
    nasty.filter((text) => text.isWellFormed()),
  ),
  {
    selector: ([key]) => key,
    maxLength: 8,
  },
);

const directory = mkdtempSync(join(tmpdir(), "keyrow-formats-"));
test.after.always(() => rmSync(directory, { recursive: true, force: true }));

async function written(entries: ReadonlyArray<readonly [string, string]>, format: "dotenv" | "json" | "shell") {
  try {
    return await writeVariables(new Map(entries), format);
  } catch (error) {
    if (error instanceof KeyrowError && error.code === "VALIDATION") return error;
    throw error;
  }
}

test("what is written for dotenv reads back as it was, or is refused by the variable's name", async (t) => {
  await fc.assert(
    fc.asyncProperty(variables, async (entries) => {
      const text = await written(entries, "dotenv");
      if (typeof text === "string") t.deepEqual(parse(text), Object.fromEntries(entries));
      // Every value is held that one kind of quotes is enough for.
      else t.true(entries.some(([, value]) => /['"`\\\r\0]/.test(value)));
    }),
    { numRuns: 500 },
  );
});

test("what is written as JSON and for dotenv reads back through import", async (t) => {
  await fc.assert(
    fc.asyncProperty(variables, async (entries) => {
      if (entries.length === 0) return;
      for (const format of ["json", "dotenv"] as const) {
        const text = await written(entries, format);
        if (typeof text === "string")
          t.deepEqual([...(await readVariablesFrom(text, format))].toSorted(), [...entries].toSorted());
        else t.is(format, "dotenv");
      }
    }),
  );
});

test("a shell reads the same bytes back, of every value that holds no NUL", async (t) => {
  const file = join(directory, "variables.sh");
  await fc.assert(
    fc.asyncProperty(variables, async (drawn) => {
      const entries = drawn.map(([key, value]) => [`T_${key}`, value.replaceAll("\0", "")] as const);
      writeFileSync(file, await writeVariables(new Map(entries), "shell"));
      const shown = entries.map(([key]) => `printf '%s\\0' "$${key}"`).join("; ");
      const { stdout } = await execa("sh", ["-c", `. "$0"; ${shown}`, file], { encoding: "buffer" });
      t.deepEqual(Buffer.from(stdout).toString("utf8"), entries.map(([, value]) => `${value}\0`).join(""));
    }),
    { numRuns: 60 },
  );
  const refused = await written([["A", "a\0b"]], "shell");
  t.like(refused, { message: "The value of A can't be written for the shell: it has no way to write NUL." });
});

test("a credential's variable is its name in capitals, other characters underscores", (t) => {
  for (const [provider, named, variable] of [
    ["github", "deploy", "GITHUB_DEPLOY"],
    ["google-cloud", "a/b.c", "GOOGLE_CLOUD_A_B_C"],
    ["1password", "x", "_1PASSWORD_X"],
  ] as const) {
    t.is(variableOf({ provider, name: named }), variable);
  }
});
