import { chmod, link, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ava, { type TestFn } from "ava";
import { execa } from "execa";
import { KeyrowError } from "../src/errors.ts";
import { embeddedSecrets, readSecrets } from "../src/secrets.ts";

const test = ava as TestFn<{ parent: string; directory: string; file: string }>;

test.beforeEach(async (t) => {
  const parent = await mkdtemp(join(tmpdir(), "keyrow-secrets-"));
  const directory = join(parent, "data");
  t.context = { parent, directory, file: join(directory, "secrets.json") };
});
test.afterEach.always((t) => rm(t.context.parent, { recursive: true, force: true }));

async function refusal(directory: string): Promise<KeyrowError> {
  const error = await embeddedSecrets(directory).then(
    () => undefined,
    (error: unknown) => error,
  );
  if (error instanceof KeyrowError && error.code === "DATA_DIRECTORY") return error;
  throw error ?? new Error("it was accepted");
}

test("makes every secret once, and gives the same ones ever after", async (t) => {
  const { directory, file } = t.context;
  const made = await embeddedSecrets(directory);
  t.is(Buffer.from(made.jwtSecret, "base64url").length, 48);
  t.deepEqual(Object.keys(made.postgres), ["superuser", "keyrow_authenticator", "keyrow_worker", "keyrow_migrate"]);
  t.is(new Set([made.jwtSecret, ...Object.values(made.postgres)]).size, 5);
  t.deepEqual(await embeddedSecrets(directory), made);
  t.deepEqual(await readSecrets(directory), made);
  t.is((await stat(file)).mode & 0o777, 0o600);
  t.is((await stat(directory)).mode & 0o066, 0);
  t.deepEqual(await readdir(directory), ["secrets.json"]);
});

test("two directories have nothing in common", async (t) => {
  const { directory } = t.context;
  const [one, other] = [await embeddedSecrets(join(directory, "a")), await embeddedSecrets(join(directory, "b"))];
  t.not(one.jwtSecret, other.jwtSecret);
  t.not(one.postgres.superuser, other.postgres.superuser);
});

test("many starts at once agree on one set of secrets", async (t) => {
  const { directory } = t.context;
  const all = await Promise.all(Array.from({ length: 20 }, () => embeddedSecrets(directory)));
  t.is(new Set(all.map((one) => JSON.stringify(one))).size, 1);
  t.deepEqual(await readdir(directory), ["secrets.json"]);
});

test("the file is for its owner alone whatever the umask", async (t) => {
  const { directory, file } = t.context;
  const script = `const { embeddedSecrets } = await import(process.argv[1]);
    process.umask(0o000);
    await embeddedSecrets(process.argv[2]);`;
  const module = new URL("../src/secrets.ts", import.meta.url).href;
  await execa(process.execPath, ["--input-type=module", "--eval", script, module, directory]);
  t.is((await stat(file)).mode & 0o777, 0o600);
  t.is((await stat(directory)).mode & 0o777, 0o711);
});

test("reading makes nothing", async (t) => {
  t.is(await readSecrets(t.context.directory), undefined);
  await t.throwsAsync(stat(t.context.directory), { code: "ENOENT" });
});

for (const mode of [0o640, 0o604, 0o660, 0o644]) {
  test(`refuses a file of mode ${mode.toString(8)} and names the remedy`, async (t) => {
    const { directory, file } = t.context;
    await embeddedSecrets(directory);
    await chmod(file, mode);
    const error = await refusal(directory);
    t.regex(error.message, /others may open/);
    t.is(error.hint, `Run: chmod 600 ${file}`);
  });
}

const mark = "hunter2";
const damages: Array<[title: string, damage: (text: string) => string, expected: RegExp]> = [
  ["an empty file", () => "", /not JSON/],
  ["half a file", (text) => text.slice(0, text.length / 2), /not JSON/],
  ["rubbish", () => mark, /not JSON/],
  ["a list", () => "[]", /damaged/],
  ["a short secret", (text) => text.replace(/("jwtSecret": ").*"/, `$1${mark}"`), /jwtSecret/],
  ["no secret", (text) => text.replace(/"jwtSecret".*,/, ""), /jwtSecret/],
  ["a password that is a number", (text) => text.replace(/("superuser": )".*"/, "$1 5"), /postgres\.superuser/],
  ["a password with a quote", (text) => text.replace(/("keyrow_worker": "..)../, `$1';`), /postgres\.keyrow_worker/],
  ["another version", (text) => text.replace('"version": 1', '"version": 2'), /version/],
  ["an unknown field", (text) => text.replace("{", `{ "${mark}": 1,`), /damaged/],
  ["a field twice", (text) => text.replace("{", '{ "version": 1,'), /not JSON/],
  ["a megabyte", () => " ".repeat(1024 * 1024), /too large/],
];
for (const [title, damage, expected] of damages) {
  test(`refuses ${title}, says no secret, and leaves it as it is`, async (t) => {
    const { directory, file } = t.context;
    const made = await embeddedSecrets(directory);
    const damaged = damage(await readFile(file, "utf8"));
    await writeFile(file, damaged);
    const error = await refusal(directory);
    t.regex(error.message, expected);
    t.regex(error.hint ?? "", /backup/);
    for (const value of [mark, made.jwtSecret, made.postgres.keyrow_migrate]) {
      t.false(`${error.message} ${error.hint} ${error.cause}`.includes(value));
    }
    t.is(await readFile(file, "utf8"), damaged);
  });
}

test("refuses a link, even to a good file", async (t) => {
  const { directory } = t.context;
  await embeddedSecrets(join(directory, "other"));
  await symlink(join(directory, "other", "secrets.json"), join(directory, "secrets.json"));
  t.regex((await refusal(directory)).message, /is a link/);
});

test("refuses a FIFO without waiting for a writer", async (t) => {
  const { directory, file } = t.context;
  await mkdir(directory);
  await execa("mkfifo", ["-m", "600", file]);
  t.regex((await refusal(directory)).message, /not a file/);
});

test("refuses a directory that everybody may write to", async (t) => {
  const { directory } = t.context;
  await embeddedSecrets(directory);
  await chmod(directory, 0o777);
  t.is((await refusal(directory)).hint, `Run: chmod o-w ${directory}`);
});

test("refuses a data directory that is a file", async (t) => {
  const { directory } = t.context;
  await writeFile(directory, "");
  t.regex((await refusal(directory)).message, /is not a directory/);
});

test("an attempt that was cut short is no obstacle", async (t) => {
  const { directory, file } = t.context;
  await mkdir(directory);
  await writeFile(`${file}.0123456789ab.tmp`, '{ "version": 1, ');
  t.truthy((await embeddedSecrets(directory)).jwtSecret);
});

test("a file that is there is never replaced", async (t) => {
  const { directory, file } = t.context;
  await embeddedSecrets(directory);
  await link(file, `${file}.same`);
  await embeddedSecrets(directory);
  t.is((await stat(file)).ino, (await stat(`${file}.same`)).ino);
});

const root = process.getuid?.() === 0;
(root ? test : test.skip)("refuses secrets that another user put there", async (t) => {
  const { directory, file } = t.context;
  await embeddedSecrets(directory);
  await execa("chown", ["12345", file]);
  t.regex((await refusal(directory)).message, /another user/);
});

(root ? test.skip : test)("refuses a directory that can't be written, with the remedy", async (t) => {
  const { directory } = t.context;
  await mkdir(directory, { mode: 0o500 });
  const error = await refusal(directory);
  t.regex(error.message, /can't be used by this user \(EACCES\)/);
  t.regex(error.hint ?? "", /KEYROW_DATA_DIR/);
});
