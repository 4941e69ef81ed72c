import { randomUUID } from "node:crypto";
import test from "ava";
import { isMatched, isNamed, parseWhich } from "../../src/client/names.ts";

const mine = { id: randomUUID(), provider: "github", name: "deploy", scope: "USER", workspaceId: null };
const workspace = randomUUID();
const theirs = { ...mine, id: randomUUID(), scope: "WORKSPACE", workspaceId: workspace };

test("a pattern matches as the server's filter does: `*` is any text within provider or name", (t) => {
  const cases: Array<[pattern: string, credential: string, expected: boolean]> = [
    ["github/*", "github/deploy", true],
    ["github/*", "github/a/b", true],
    ["github/*", "githubx/a", false],
    ["*/deploy", "github/deploy", true],
    ["*/deploy", "github/x/deploy", false],
    ["g*b/d*p*y", "github/deploy", true],
    ["g*b/d*p*y", "github/dey", false],
    ["*a*a*/x", "aa/x", true],
    ["aa*aa/x", "aaa/x", false],
    ["a.c/x", "abc/x", false],
  ];
  for (const [pattern, credential, expected] of cases) {
    const at = credential.indexOf("/");
    const row = { ...mine, provider: credential.slice(0, at), name: credential.slice(at + 1) };
    t.is(isMatched(row, pattern, undefined), expected, `${pattern} ${credential}`);
  }
});

test("a row is what was asked for in its place alone, and by its id in any", (t) => {
  const which = parseWhich("github/deploy");
  const cases: Array<[row: typeof mine | typeof theirs, workspace: string | undefined, expected: boolean]> = [
    [mine, undefined, true],
    [theirs, undefined, false],
    [{ ...theirs, scope: "USER" }, undefined, false],
    [theirs, workspace.toUpperCase(), true],
    [theirs, randomUUID(), false],
    [mine, workspace, false],
    [{ ...mine, name: "other" }, undefined, false],
  ];
  for (const [row, place, expected] of cases) {
    t.is(isNamed(row, which, place), expected);
    t.is(isMatched(row, "github/dep*", place), expected);
  }
  for (const place of [undefined, workspace]) t.true(isNamed(theirs, { id: theirs.id }, place));
  t.false(isMatched(mine, theirs.id, undefined));
});

test("what is no text names no credential", (t) => {
  for (const value of [undefined, null, 1, {}, ["github/deploy"]]) {
    t.is(t.throws(() => parseWhich(value as unknown as string), { code: "VALIDATION" }).message.includes("name"), true);
  }
});
