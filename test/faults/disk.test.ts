import { spawnSync } from "node:child_process";
import { closeSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { withConnection } from "../../src/setup.ts";
import { makeTemporaryDirectory, removeWithServers } from "../helpers/cluster.ts";
import { isBack, onlyUnavailable, startLoad } from "./load.ts";
import { startPostgres } from "./postgres.ts";
import { serve } from "./serving.ts";

const SIZE = "256m";
const settings = { min_wal_size: "32MB", max_wal_size: "48MB" };
const mounted = new Set<string>();
// An interrupted test has no teardown.
process.on("exit", () => {
  for (const directory of mounted) spawnSync("umount", ["--lazy", directory]);
});

/** Mounts a small disk on a directory; false where this user can't. */
function mount(directory: string): boolean {
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${SIZE},mode=0711`, "tmpfs", directory]);
  if (status === 0) mounted.add(directory);
  return status === 0;
}

function unmount(directory: string): void {
  spawnSync("umount", ["--lazy", directory]);
  mounted.delete(directory);
}

const canMount = (() => {
  const directory = makeTemporaryDirectory();
  const can = mount(directory);
  if (can) unmount(directory);
  rmSync(directory, { recursive: true });
  return can;
})();
// Only root mounts a disk: elsewhere the tests are skipped and counted.
const onSmallDisk = canMount ? test : test.skip;

/** A directory on a small disk of its own. */
function smallDisk(t: ExecutionContext): string {
  const directory = makeTemporaryDirectory("keyrow-disk-");
  t.teardown(() => removeWithServers(directory));
  t.true(mount(directory));
  t.teardown(() => unmount(directory));
  return directory;
}

/** Writes until there is no room; gives the way to free it. */
function fill(directory: string): () => void {
  const path = join(directory, "ballast");
  const file = openSync(path, "w");
  try {
    for (const size of [1024 * 1024, 4096, 1]) while (wrote(file, size));
  } finally {
    closeSync(file);
  }
  return () => rmSync(path);
}

function wrote(file: number, size: number): boolean {
  try {
    return writeSync(file, Buffer.alloc(size)) > 0;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
    throw error;
  }
}

onSmallDisk("a full disk refuses what it can't keep, and only for as long as it is full", async (t) => {
  const disk = smallDisk(t);
  const postgres = await startPostgres(t, { settings, within: disk });
  const served = await serve(t, postgres.url("keyrow_authenticator"));
  const load = await startLoad(t, postgres, served);
  await load.more(60);
  const free = fill(disk);
  await load.refused(40);
  free();
  await isBack(t, load);
  await load.more(20);
  await load.settle();
  onlyUnavailable(t, load.refusals);
  t.is(await served.end(), 0);
});

onSmallDisk(
  "a disk too full for PostgreSQL itself ends it, and it comes back with all that was answered",
  async (t) => {
    const disk = smallDisk(t);
    const postgres = await startPostgres(t, { settings, within: disk });
    const served = await serve(t, postgres.url("keyrow_authenticator"));
    const load = await startLoad(t, postgres, served);
    await load.more(60);
    const free = fill(disk);
    // Until it needs a file for its log that it can't make.
    const full = withConnection(postgres.url("postgres"), async (client) => {
      for (;;) await client.query("select pg_switch_wal(), pg_logical_emit_message(false, 'x', repeat('x', 10000))");
    });
    await t.throwsAsync(full);
    await load.refused(40);
    free();
    await postgres.start();
    await isBack(t, load);
    await load.more(20);
    await load.settle();
    onlyUnavailable(t, load.refusals);
    t.is(await served.end(), 0);
  },
);
