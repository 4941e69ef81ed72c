import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseEnv } from "node:util";
import test from "ava";
import { parse } from "dotenv";
import { execa, execaSync } from "execa";
import fc from "fast-check";
import { KeyrowError } from "../../src/errors.ts";
import { readVariablesFrom, writeVariables } from "../../src/script/formats.ts";
import { variableOf } from "../../src/script/variables.ts";

const nasty = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({
    unit: fc.constantFrom("'", '"', "`", "\\", "$", "\n", "\r", "#", "=", " ", "\t", "n", "é", "🔑", "{", "!"),
  }),
  fc.string({ unit: fc.constantFrom("=", ":", "l", "s", "/", "-", "%", "+", "@", "~") }),
);
const shells = ["bash", "dash", "zsh"].filter((shell) => !execaSync(shell, ["-c", ":"], { reject: false }).failed);
const name = fc.stringMatching(/^V[A-Z0-9_]{0,8}$/);
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

function written(entries: ReadonlyArray<readonly [string, string]>, format: "dotenv" | "json" | "shell") {
  try {
    return writeVariables(new Map(entries), format);
  } catch (error) {
    if (error instanceof KeyrowError && error.code === "VALIDATION") return error;
    throw error;
  }
}

test("what is written for dotenv reads back as it was, by dotenv and by Node, or is refused by the variable's name", (t) => {
  fc.assert(
    fc.property(variables, (entries) => {
      const text = written(entries, "dotenv");
      if (typeof text === "string") {
        t.deepEqual(parse(text), Object.fromEntries(entries));
        t.deepEqual({ ...parseEnv(text) }, Object.fromEntries(entries));
        return;
      }
      const [, refused = ""] = /^The value of (\w+) can't be written for dotenv/.exec(text.message) ?? [];
      t.regex(new Map(entries).get(refused) ?? "", /[\0\r]|\$\{.*\}|\\|'.*["$`]|["$`].*'/s);
    }),
    { numRuns: 500 },
  );
});

test("a value has the quotes that it does not hold itself, and never backticks, which a shell runs", (t) => {
  const lines: Array<[value: string, line: string | undefined]> = [
    ["plain-1.2/x=", "V=plain-1.2/x="],
    ["=ls", "V='=ls'"],
    ["a:=ls", "V='a:=ls'"],
    ["", "V=''"],
    ["a b", "V='a b'"],
    ['$(id) `id` "x" \\n #', "V='$(id) `id` \"x\" \\n #'"],
    ["pass'word", 'V="pass\'word"'],
    ["don't\nstop", 'V="don\'t\nstop"'],
    ["don't `stop`", undefined],
    ["don't $TOP", undefined],
    ['don\'t "stop"', undefined],
    ["don't\\stop", undefined],
    ["two\\\\of them", undefined],
    ["at the end\\", undefined],
    ["a\rb", undefined],
    ["a\0b", undefined],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: python-dotenv puts a variable there.
    ["a${HOME}b", undefined],
  ];
  for (const [value, line] of lines) {
    const text = written([["V", value]], "dotenv");
    if (line !== undefined) t.is(text, `${line}\n`);
    else t.like(text, { hint: "Use --format json, or leave it out." }, value);
  }
});

/** What somebody may have drawn, as far as it can be written: files, and what is in them. */
function filesOf(prefix: string): Array<{ file: string; entries: ReadonlyArray<readonly [string, string]> }> {
  return fc.sample(variables, { numRuns: 400, seed: 20261124 }).flatMap((drawn, index) => {
    const entries = drawn.map(([key, value]) => [`T_${key}`, value] as const);
    const text = written(entries, "dotenv");
    if (typeof text !== "string") return [];
    const file = join(directory, `${prefix}${index}.env`);
    writeFileSync(file, text);
    return [{ file, entries }];
  });
}

test("a shell that takes a file in reads the same bytes, and runs nothing of it", async (t) => {
  const files = filesOf("shell");
  const script = files.map(({ file, entries }) => {
    const shown = entries.map(([key]) => ` "$${key}"`).join("");
    return `(. ${file}; printf '%s\\0' end${shown})\n`;
  });
  for (const shell of ["sh", ...shells]) {
    const { stdout, stderr } = await execa(shell, ["-s"], { input: script.join(""), encoding: "buffer" });
    t.is(stderr.length, 0, shell);
    t.deepEqual(
      Buffer.from(stdout).toString("utf8"),
      files.map(({ entries }) => ["end", ...entries.map(([, value]) => value), ""].join("\0")).join(""),
      shell,
    );
  }
});

const python = execaSync("python3", ["-c", "import dotenv"], { reject: false }).failed ? test.skip : test;
python("python-dotenv reads the same texts", async (t) => {
  const files = filesOf("python");
  const program = "import dotenv, json, sys; print(json.dumps([dict(dotenv.dotenv_values(f)) for f in sys.argv[1:]]))";
  const { stdout, stderr } = await execa("python3", ["-c", program, ...files.map(({ file }) => file)]);
  t.is(stderr, "");
  t.deepEqual(
    JSON.parse(stdout),
    files.map(({ entries }) => Object.fromEntries(entries)),
  );
});

test("what is written as JSON and for dotenv reads back through import", async (t) => {
  await fc.assert(
    fc.asyncProperty(variables, async (entries) => {
      if (entries.length === 0) return;
      for (const format of ["json", "dotenv"] as const) {
        const text = written(entries, format);
        if (typeof text === "string")
          t.deepEqual([...(await readVariablesFrom(text, format))].toSorted(), [...entries].toSorted());
        else t.is(format, "dotenv");
      }
    }),
  );
});

const read: ReadonlyArray<[title: string, text: string, expected: Record<string, string> | RegExp]> = [
  ["comments and empty lines", "\n# A=1\n\n  # more\n", {}],
  ["a variable, indented, exported, with a note", "  export A = two words  # note\r\nB=\n", { A: "two words", B: "" }],
  ["quotes, over lines", "A='x\n# y'\nB=\"q\\nr\" # z\nC=`a'b\"`", { A: "x\n# y", B: "q\nr", C: "a'b\"" }],
  ["a name that objects have", "__proto__=hunter2\nconstructor=x", { ["__proto__"]: "hunter2", constructor: "x" }],
  ["what is no variable", "A=1\n\nhunter2\n", /^Line 3 of the file is no variable\.$/],
  ["a quote that stays open", "A='1\nB=hunter2\n", /^Line 1 /],
  ["more after a quote", "A=1\nB='x'hunter2", /^Line 2 /],
  ["a # that some take for a comment", "A=pass#hunter2", /^Line 1 /],
  [
    "a name that stands twice",
    "A='x\ny'\nB=1\nA=hunter2",
    /^The variable A stands twice in the file, again on line 4\.$/,
  ],
];
for (const [title, text, expected] of read) {
  test(`import reads all of a dotenv file, or names the line: ${title}`, async (t) => {
    if (!(expected instanceof RegExp)) {
      t.deepEqual([...(await readVariablesFrom(text, "dotenv"))], Object.entries(expected));
      return;
    }
    const error = await t.throwsAsync(readVariablesFrom(text, "dotenv"), {
      instanceOf: KeyrowError,
      message: expected,
    });
    t.notRegex(`${error?.message} ${error?.hint}`, /hunter2/);
  });
}

test("a shell reads the same bytes back, of every value that holds no NUL", async (t) => {
  const file = join(directory, "variables.sh");
  await fc.assert(
    fc.asyncProperty(variables, async (drawn) => {
      const entries = drawn.map(([key, value]) => [`T_${key}`, value.replaceAll("\0", "")] as const);
      writeFileSync(file, writeVariables(new Map(entries), "shell"));
      const shown = entries.map(([key]) => `printf '%s\\0' "$${key}"`).join("; ");
      const { stdout } = await execa("sh", ["-c", `. "$0"; ${shown}`, file], { encoding: "buffer" });
      t.deepEqual(Buffer.from(stdout).toString("utf8"), entries.map(([, value]) => `${value}\0`).join(""));
    }),
    { numRuns: 60 },
  );
  const refused = written([["A", "a\0b"]], "shell");
  t.like(refused, { message: "The value of A can't be written for the shell, which has no way to write NUL." });
});

test("no variable is written for a shell that keeps it for itself, nor one after which others would be lost", async (t) => {
  // zsh lists the names of its own, and those of its module of tables.
  const own =
    "typeset +x 2>/dev/null; compgen -v 2>/dev/null; zmodload zsh/parameter 2>/dev/null && typeset +; echo UID EUID PPID BASHOPTS SHELLOPTS BASH_VERSINFO _";
  for (const shell of shells) {
    const { stdout } = await execa(shell, ["-c", own], { reject: false });
    // Which language a shell speaks can be any text, with a warning; a number that it counts by can not.
    for (const variable of new Set(stdout.match(/\b[A-Za-z_]\w*\b/g))) {
      const text = written(
        [
          [variable, "a b"],
          ["V", "after"],
        ],
        "shell",
      );
      if (typeof text !== "string") continue;
      const { stdout: read } = await execa(shell, ["-c", `eval "$0"; echo "$${variable} $V"`, text], { reject: false });
      t.is(read, "a b after", `${shell} ${variable}`);
    }
  }
  for (const variable of [
    "UID",
    "EUID",
    "PPID",
    "BASHOPTS",
    "SHELLOPTS",
    "BASH_VERSINFO",
    "PIPESTATUS",
    "RANDOM",
    "USERNAME",
    "LINES",
    "history",
    "_",
  ]) {
    for (const [format, where] of [
      ["shell", "the shell"],
      ["dotenv", "dotenv, which shells read"],
    ] as const) {
      t.like(
        written(
          [
            ["A", "1"],
            [variable, "7"],
          ],
          format,
        ),
        {
          message: `${variable} can't be written for ${where}: a shell keeps it for itself.`,
          hint: "Give it another name with --map, or use --format json.",
        },
      );
    }
    t.is(written([[variable, "7"]], "json"), `{"${variable}":"7"}\n`);
  }
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
