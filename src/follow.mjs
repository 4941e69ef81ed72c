// Loaded into the program by the launcher: when the launcher has gone, even by SIGKILL, the program is told to stop.
import { Socket } from "node:net";

const fd = Number(process.env.KEYROW_LAUNCHER_FD);
delete process.env.KEYROW_LAUNCHER_FD;
if (fd) {
  const launcher = new Socket({ fd, readable: true, writable: false });
  launcher.on("error", () => {});
  launcher.on("close", () => process.kill(process.pid, "SIGTERM"));
  launcher.resume();
  launcher.unref();
}
