import { KeyrowError } from "../errors.ts";
import { parseJson } from "../json.ts";
import { FlawedFile, readSmallFile } from "../private-file.ts";
import { steers } from "./steering.ts";

/** Which credentials become variables: by patterns, and by variables that are named. */
export interface Choice {
  readonly only: readonly string[];
  /** Credentials by variable. */
  readonly map: ReadonlyMap<string, string>;
  readonly workspace: string | undefined;
  /** What of it the project's file says, where it says anything. */
  readonly file: ProjectFile | undefined;
}

/** What a project's file adds to a command line. */
export interface ProjectFile {
  readonly name: string;
  /** Whether it says which credentials. */
  readonly chooses: boolean;
  /** The workspace that it says. */
  readonly workspace: string | undefined;
}

/** What a command line says of it. */
export interface ChoiceOptions {
  readonly only?: readonly string[] | undefined;
  readonly map?: readonly string[] | undefined;
  /** False: one's own. */
  readonly workspace?: string | false | undefined;
}

/** The file that a project keeps beside its code; it holds names, and no secret and no server. */
export const PROJECT_FILE = ".keyrow.json";
const MAX_FILE_BYTES = 256 * 1024;

/**
 * What the command line says, and of the rest what the project's file does: which credentials, by pattern and variable
 * together, and of which workspace. Throws USAGE where nothing is chosen or a part can't be read.
 */
export async function readChoice({ only = [], map = [], workspace }: ChoiceOptions): Promise<Choice> {
  const said = only.length + map.length > 0;
  // Where the command line says everything, the file is no matter.
  const project = said && workspace !== undefined ? undefined : await readProject();
  if (!said && project !== undefined) refuseHarm(project);
  const file = {
    name: PROJECT_FILE,
    chooses: !said && project !== undefined,
    workspace: workspace === undefined ? project?.workspace : undefined,
  };
  const choice: Choice = {
    only: said ? only : (project?.only ?? []),
    map: said ? parseMap(map) : new Map(Object.entries(project?.map ?? {})),
    workspace: workspace === false ? undefined : (workspace ?? file.workspace),
    file: file.chooses || file.workspace !== undefined ? file : undefined,
  };
  if (choice.only.length + choice.map.size > 0) return choice;
  throw new KeyrowError("USAGE", {
    message: "No credentials are chosen.",
    hint: `Choose some: --only 'github/*', --map GITHUB_TOKEN=github/deploy, or a ${PROJECT_FILE}.`,
  });
}

// `_` alone is what each shell keeps its last argument in.
const VARIABLE = /^(?!_$)[A-Za-z_][A-Za-z0-9_]*$/;

/** Reads `VARIABLE=provider/name` words. */
export function parseMap(words: readonly string[]): Map<string, string> {
  const map = new Map<string, string>();
  for (const word of words) {
    const [, variable = "", credential = ""] = /^([^=]+)=([^/]+\/.+)$/s.exec(word) ?? [];
    if (!VARIABLE.test(variable) || credential.includes("*") || map.has(variable)) {
      throw new KeyrowError("USAGE", {
        message: map.has(variable) ? `The variable ${variable} is mapped twice.` : "A --map can't be read.",
        hint: "Write VARIABLE=provider/name, as in GITHUB_TOKEN=github/deploy, each variable once.",
      });
    }
    map.set(variable, credential);
  }
  return map;
}

interface Project {
  readonly only: readonly string[];
  readonly map: Readonly<Record<string, string>>;
  readonly workspace?: string | undefined;
}

async function readProject(): Promise<Project | undefined> {
  const text = await readSmallFile(PROJECT_FILE, MAX_FILE_BYTES).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw invalid(
      error instanceof FlawedFile ? `${PROJECT_FILE} ${error.flaw}.` : `${PROJECT_FILE} can't be read (${error.code}).`,
    );
  });
  if (text === undefined) return undefined;
  const { z } = await import("zod");
  const schema = z.strictObject({
    $schema: z.string().optional(),
    workspace: z.string().min(1).optional(),
    only: z.array(z.string().regex(/^[^/]+\/.+$/s)).default([]),
    map: z.record(z.string().regex(VARIABLE), z.string().regex(/^[^/*]+\/[^*]+$/s)).default({}),
  });
  try {
    const found = schema.safeParse(parseJson(text));
    if (found.success) return found.data;
    const at = found.error.issues.flatMap((issue) =>
      issue.code === "unrecognized_keys" ? issue.keys : [issue.path.join(".") || "the whole"],
    );
    throw invalid(`${PROJECT_FILE} can't be used; look at: ${at.join(", ")}.`);
  } catch (error) {
    throw error instanceof KeyrowError ? error : invalid(`${PROJECT_FILE} can't be used. ${(error as Error).message}`);
  }
}

/** Throws where it would steer programs, or take whatever there is: who wrote the file need not be who runs the command. */
function refuseHarm({ only, map }: Project): void {
  const found = Object.entries(map).find(([variable]) => steers(variable));
  if (found !== undefined) {
    throw new KeyrowError("USAGE", {
      message: `${PROJECT_FILE} would set ${found[0]}, which tells programs what to do.`,
      hint: `The command line alone may: --map ${found.join("=")}, with all else that is chosen.`,
    });
  }
  const wide = only.find((pattern) => /^[^/]*\*/.test(pattern));
  if (wide === undefined) return;
  throw new KeyrowError("USAGE", {
    message: `${PROJECT_FILE} would take credentials of any provider: ${wide}.`,
    hint: `A pattern there names its provider, as in github/*. The command line alone may take more: --only '${wide}'.`,
  });
}

function invalid(message: string): KeyrowError {
  const hint = 'Its form: { "only": ["github/*"], "map": { "GITHUB_TOKEN": "github/deploy" }, "workspace": "acme" }.';
  return new KeyrowError("USAGE", { message, hint });
}
