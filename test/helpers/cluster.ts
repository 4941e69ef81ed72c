import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { CONFIGURATION } from "../../src/embedded/openbao/configuration.ts";
import { openBaoServer } from "../../src/embedded/openbao/process.ts";
import { type ServerKind, stopOrphan } from "../../src/embedded/orphan.ts";
import { postgresServer } from "../../src/embedded/postmaster.ts";
import { type Coordinates, type Embedded, socketUrl, startEmbedded } from "../../src/embedded/server.ts";

const VARIABLE = "KEYROW_TEST_CLUSTER";

/** A temporary directory that the user PostgreSQL runs as can pass through, even where this process is root. */
export function makeTemporaryDirectory(prefix = "keyrow-"): string {
  const directory = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(directory, 0o711);
  return directory;
}

/** Starts the one cluster of a test run in `directory`; without fsync, for nothing of it need outlive the machine. */
export function startTestCluster(directory: string): Promise<Embedded> {
  const settings = { fsync: "off", full_page_writes: "off", max_connections: "300" };
  return startEmbedded({ directory: join(directory, "cluster"), password: "test-superuser", settings });
}

/** The environment through which tests find the cluster. */
export function clusterEnvironment({ socket, port, superuser, password }: Coordinates): Record<string, string> {
  return { [VARIABLE]: JSON.stringify({ socket, port, superuser, password }) };
}

/** The cluster of this test run; throws where the runner did not start one. */
export function testCluster(): Pick<Embedded, "socket" | "port" | "superuser" | "password" | "url"> {
  const text = process.env[VARIABLE];
  if (!text) throw new Error("Tests need the cluster that their runner starts: use npm test -- <file>.");
  const coordinates = JSON.parse(text) as Coordinates;
  return { ...coordinates, url: (login, database) => socketUrl(coordinates, login, database) };
}

/** Removes a directory of tests, and stops any server that an interrupted test left running in it. */
export async function removeWithServers(directory: string): Promise<void> {
  // What an interrupted test had begun may go on for a moment, and write where this has already removed.
  for (const deadline = Date.now() + 10_000; existsSync(directory) && Date.now() < deadline; await sleep(20)) {
    try {
      for (const [kind, home] of serversIn(directory)) await stopOrphan(kind, home, () => {});
      rmSync(directory, { recursive: true, force: true });
    } catch (error) {
      if (!["ENOTEMPTY", "ENOENT"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    }
  }
}

function serversIn(directory: string): Array<[kind: ServerKind, home: string]> {
  const openBao = openBaoServer(process.env.BAO_BIN);
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  return entries.flatMap(({ name, parentPath }): Array<[ServerKind, string]> => {
    if (name === postgresServer.pidFile) return [[postgresServer, parentPath]];
    return name === CONFIGURATION ? [[openBao, parentPath]] : [];
  });
}
