// Plain JavaScript: the launcher needs it before there is a Node that strips types. Its types are in lockfile.d.mts.
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** How long a claim waits for later ones to withdraw before it takes them for the holder, in milliseconds. */
const PATIENCE = 1000;

/** The files to remove when this process ends. */
const held = new Set();
process.on("exit", () => {
  for (const file of held) rmSync(file, { force: true });
});

/**
 * When a process began, as a word that differs for every process that ever has this pid on this machine;
 * undefined when there is none, or only a zombie that nobody has collected.
 */
export function processStart(pid) {
  try {
    return process.platform === "linux" ? startFromProc(pid) : startFromPs(pid);
  } catch (error) {
    if (error.code !== "EACCES" && error.code !== "EPERM") return undefined;
    return "hidden";
  }
}

function startFromProc(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  // The second field is the command in brackets, and may itself hold blanks and brackets.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  // Ticks count from boot, so the boot is part of the word.
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "latin1").slice(0, 8);
  return `${fields[19]}.${boot}`;
}

function startFromPs(pid) {
  const options = {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
    stdio: ["ignore", "pipe", "ignore"],
  };
  const [state, ...started] = execFileSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], options)
    .trim()
    .split(/\s+/);
  return !state || state.startsWith("Z") ? undefined : started.join(".").replaceAll(":", "_");
}

/**
 * Claims what `prefix` in `directory` stands for: `{ release }` when it is ours, `{ holder }` when another process has
 * it. Throws the file system's error when the directory can't be written.
 *
 * Each claim is a file of its own whose name says whose it is. It is written first and the others are read after, so
 * of two at once at least one sees the other; a dead process's file is never used again, so anybody may remove it.
 */
export async function claim(directory, prefix, command) {
  const owner = `${process.pid}-${processStart(process.pid)}`;
  const name = `${prefix}${Date.now()}-${owner}-${randomBytes(4).toString("hex")}`;
  const file = join(directory, name);
  writeFileSync(file, `${command}\n`, { flag: "wx", mode: 0o600 });
  held.add(file);
  const release = () => {
    held.delete(file);
    rmSync(file, { force: true });
  };
  for (const deadline = Date.now() + PATIENCE; ; await sleep(10)) {
    const others = holders(directory, prefix).filter((other) => other.name !== name);
    if (others.length === 0) return { release };
    // The earlier of two withdraws never, the later at once. One that does not withdraw came to hold it before.
    if (others[0].name < name || Date.now() > deadline) {
      release();
      return { holder: others[0] };
    }
  }
}

/** Claims for a child as well, so that the claim outlives this process while the child goes on. */
export function claimFor(pid, directory, prefix, command) {
  writeFileSync(join(directory, `${prefix}${Date.now()}-${pid}-${processStart(pid)}-child`), `${command}\n`, {
    mode: 0o600,
  });
}

/** The living processes that claim `prefix` in `directory`, the earliest first; removes what dead ones left. */
export function holders(directory, prefix) {
  const names = readdirSync(directory).filter((name) => name.startsWith(prefix));
  return names.sort().flatMap((name) => {
    const [since, pid, started] = name.slice(prefix.length).split("-");
    const running = processStart(pid);
    if (running !== undefined && (running === started || running === "hidden")) {
      return [{ name, pid: Number(pid), since: new Date(Number(since)), command: contents(join(directory, name)) }];
    }
    rmSync(join(directory, name), { force: true });
    return [];
  });
}

function contents(file) {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "";
  }
}
