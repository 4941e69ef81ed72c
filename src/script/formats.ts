import { KeyrowError } from "../errors.ts";
import { printableJson } from "../printable.ts";

/** How variables are written. */
export const formats = ["dotenv", "json", "shell"] as const;
export type Format = (typeof formats)[number];

// What bash, dash or zsh lets nobody set, ends at, takes as a number alone, or gives a value of its own: what follows could
// be lost with it. To zsh, USERNAME is whom the shell runs as; small letters are its own tables.
const shells = new Set(
  [
    "_ UID EUID PPID GROUPS BASHOPTS SHELLOPTS BASHPID BASH_ARGC BASH_ARGV BASH_COMMAND BASH_LINENO BASH_SOURCE BASH_SUBSHELL",
    "BASH_VERSINFO DIRSTACK FUNCNAME EPOCHREALTIME EPOCHSECONDS HISTCMD LINENO OPTIND PIPESTATUS RANDOM SECONDS SRANDOM",
    "BASH_ALIASES BASH_CMDS BASH_COMPAT BASH_XTRACEFD SHLVL",
    "GID EGID ARGC TTYIDLE ZSH_EVAL_CONTEXT ZSH_SUBSHELL argv path cdpath fpath manpath options pipestatus status",
    "COLUMNS ERRNO FUNCNEST HISTCHARS HISTSIZE KEYBOARD_HACK KEYTIMEOUT LINES LISTMAX MAILCHECK SAVEHIST TRY_BLOCK_ERROR",
    "TRY_BLOCK_INTERRUPT USERNAME WATCH aliases builtins commands dirstack dis_aliases dis_builtins dis_functions",
    "dis_functions_source dis_galiases dis_patchars dis_reswords dis_saliases fignore funcfiletrace funcsourcetrace funcstack",
    "functions functions_source functrace galiases histchars history historywords jobdirs jobstates jobtexts keymaps mailpath",
    "module_path modules nameddirs parameters patchars psvar reswords saliases signals termcap terminfo userdirs usergroups",
    "watch widgets zsh_eval_context zsh_scheduled_events",
  ].flatMap((line) => line.split(" ")),
);

/** Variables as a text that reads back as the same. Throws VALIDATION, naming the variable, where a format can't hold one. */
export function writeVariables(variables: ReadonlyMap<string, string>, format: Format): string {
  if (format === "json") return `${printableJson(Object.fromEntries(variables))}\n`;
  const kept = [...variables.keys()].find((name) => shells.has(name));
  if (kept !== undefined) {
    throw new KeyrowError("VALIDATION", {
      message: `${kept} can't be written for ${format === "shell" ? "the shell" : "dotenv, which shells read"}: a shell keeps it for itself.`,
      hint: "Give it another name with --map, or use --format json.",
    });
  }
  const lines = [...variables].map(([name, value]) =>
    format === "shell" ? `export ${name}=${shellQuote(name, value)}\n` : `${name}=${dotenvQuote(name, value)}\n`,
  );
  return lines.join("");
}

// Between single quotes everything is itself but the quote (POSIX, Shell Command Language, 2.2.2).
function shellQuote(name: string, value: string): string {
  if (value.includes("\0")) throw unholdable(name, "the shell, which has no way to write NUL");
  return `'${value.replaceAll("'", "'\\''")}'`;
}

/**
 * A value as every reader of dotenv files takes it for the same: the package `dotenv`, Node itself, python-dotenv, and a
 * shell's `.`, which runs what stands between backticks. So a quote is one that the value has not, and what any of them
 * reads otherwise is refused.
 */
function dotenvQuote(name: string, value: string): string {
  // To zsh, `=ls` at the beginning or after a colon is where `ls` is.
  if (/^[\w./:@%+,=-]+$/.test(value) && !/(?:^|:)=/.test(value)) return value;
  // `dotenv` makes \r a \n, and python-dotenv puts a variable in the place of ${...} between any quotes.
  const carried = !/[\0\r]|\$\{[^}]*\}/.test(value);
  // python-dotenv makes one backslash of two, and one at the end would hold on to the quote.
  if (carried && !/'|\\(?:\\|$)/.test(value)) return `'${value}'`;
  if (carried && !/["\\$`]/.test(value)) return `"${value}"`;
  throw unholdable(name, "dotenv, whose readers disagree on such quotes and characters");
}

function unholdable(name: string, where: string): KeyrowError {
  return new KeyrowError("VALIDATION", {
    message: `The value of ${name} can't be written for ${where}.`,
    hint: "Use --format json, or leave it out.",
  });
}

/** Reads variables from a dotenv file or a JSON object of texts. Throws VALIDATION, which repeats no value of it. */
export async function readVariablesFrom(text: string, format: "dotenv" | "json"): Promise<Map<string, string>> {
  return format === "dotenv" ? await readDotenv(text) : await readJson(text);
}

// A variable, whose value is between quotes, which may span lines, or goes up to the line's end or a comment.
const VARIABLE =
  /[ \t]*(?:export[ \t]+)?(?<name>[\w.-]+)[ \t]*=[ \t]*(?<value>(?:'[^']*'|"(?:\\[\s\S]|[^"\\])*"|`[^`]*`)?[ \t]*|[^'"`#\s][^#\n]*)(?:(?<=[ \t])#.*)?$/my;
const NOTHING = /[ \t]*(?:#.*)?$/my;

/** What dotenv passes over or cuts short is refused by its line: a line that is no variable, or a name that stands twice. */
async function readDotenv(given: string): Promise<Map<string, string>> {
  const { parse } = await import("dotenv");
  const text = given.replaceAll(/\r\n?/g, "\n");
  const variables = new Map<string, string>();
  const line = (at: number) => text.slice(0, at).split("\n").length;
  for (let at = 0; at < text.length; at += 1) {
    const found = matchAt(NOTHING, text, at) ?? matchAt(VARIABLE, text, at);
    if (found === null) {
      throw new KeyrowError("VALIDATION", {
        message: `Line ${line(at)} of the file is no variable.`,
        hint: "Write NAME=value, and quotes around a value that has a #, a quote or a line's end in it.",
      });
    }
    const { name, value = "" } = found.groups ?? {};
    if (name !== undefined) {
      if (variables.has(name)) {
        throw new KeyrowError("VALIDATION", {
          message: `The variable ${name} stands twice in the file, again on line ${line(at)}.`,
        });
      }
      // Under another name, for dotenv drops __proto__.
      variables.set(name, parse(`V=${value}`).V ?? "");
    }
    at += found[0].length;
  }
  return variables;
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

async function readJson(text: string): Promise<Map<string, string>> {
  const { parseJson } = await import("../json.ts");
  const read = (): unknown => {
    try {
      return parseJson(text);
    } catch (error) {
      throw new KeyrowError("VALIDATION", { message: (error as Error).message, hint: "Give a JSON object of texts." });
    }
  };
  const value = read();
  const entries = typeof value === "object" && value !== null && !Array.isArray(value) ? Object.entries(value) : [];
  if (entries.length === 0 || entries.some(([, one]) => typeof one !== "string")) {
    throw new KeyrowError("VALIDATION", {
      message: "The file is not a JSON object whose values are texts.",
      hint: 'Its form: { "github/deploy": "ghp_..." }.',
    });
  }
  return new Map(entries as Array<[string, string]>);
}
