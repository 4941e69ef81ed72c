import { command, EXIT_CODES, examples, print } from "../command.ts";

/** `keyrow logout`: forgets what `keyrow login` has kept. */
export const logout = command("logout", "Forgets the server and the token that `keyrow login` has kept.")
  .option("--json", "as JSON", false)
  .addHelpText("after", examples(["keyrow logout", "the token itself stays valid until it ends"]))
  .addHelpText("after", EXIT_CODES)
  .action(async ({ json }: { json: boolean }) => {
    const { forgetLogin } = await import("../../script/login.ts");
    const forgotten = await forgetLogin();
    print(json ? JSON.stringify({ forgotten }) : forgotten ? "logged out" : "there was no login");
  });
