import type { Machine } from "../machines/machines.ts";
import { printableJson } from "../printable.ts";
import { ADMIN_DATABASE, command, configuration, examples, print, several, warnOfUnknown } from "./command.ts";

const NAME = "<name>";

interface AddOptions {
  readonly issuer?: string;
  readonly claim: readonly string[];
  readonly workspace: string;
  readonly only: readonly string[];
  readonly json: boolean;
}

const add = command("add", "Makes a machine, which has credentials of one workspace and nothing else.")
  .argument(NAME, "what to call it")
  .requiredOption("--workspace <id or name>", "whose credentials it has")
  .requiredOption("--only <pattern>", "which of them, as in 'github/*'; more than once for several", several)
  .option("--issuer <name or iss>", "who makes its tokens: by its name in the file of JWT_ISSUERS, or its `iss` itself")
  .option("--claim <claim=value>", "what its tokens say; more than once where they must say several", several, [])
  .option("--json", "say what was done as JSON", false)
  .addHelpText(
    "after",
    examples(
      [
        "keyrow machine add ci --issuer github --claim repository=acme/app \\\n    --claim ref=refs/heads/main --workspace acme --only 'github/*'",
        "jobs of one branch",
      ],
      ["keyrow machine add backup --workspace acme --only 's3/backup'", "takes its tokens from `keyrow machine token`"],
    ),
  )
  .addHelpText(
    "after",
    `\nIt lists and reveals, on the record, and writes nothing. It is no user and member of nothing. A token is the machine where it says every claim exactly; one that could be several machines is refused. Name the claims that tell whose token it is: at GitHub Actions, whoever may run a job anywhere has a token with some ref and some audience.${ADMIN_DATABASE}`,
  )
  .action(async (given: string, { json, issuer, claim, workspace, only }: AddOptions) => {
    const { parseClaims, parseMachineName } = await import("../machines/input.ts");
    const { parsePatterns } = await import("../patterns.ts");
    const name = parseMachineName(given);
    const request = { name, issuer, claims: parseClaims(claim), workspace, credentials: parsePatterns(only) };
    const { addMachine } = await import("../machines/machines.ts");
    const { issuer: taken, ...done } = await addMachine(await configuration(), request);
    await warnOfUnknown(taken);
    print(json ? printableJson({ name, ...done, added: true }) : `added  ${name}  ${done.id}`);
  });

const list = command("list", "Lists the machines.")
  .option("--json", "as JSON", false)
  .addHelpText(
    "after",
    examples(["keyrow machine list", "a table; times are UTC"], ["keyrow machine list --json", "for a script"]),
  )
  .addHelpText("after", ADMIN_DATABASE)
  .action(async ({ json }: { json: boolean }) => {
    const { listMachines } = await import("../machines/machines.ts");
    const machines = await listMachines(await configuration());
    if (json) print(printableJson(machines));
    else if (machines.length > 0) print((await table(machines)).join("\n"));
    else process.stderr.write("there are no machines\n");
  });

const rm = command("rm", "Removes a machine. Its tokens are a stranger's from the next request on.")
  .argument(NAME, "which one")
  .option("--json", "say what was done as JSON", false)
  .addHelpText("after", examples(["keyrow machine rm ci", "the log keeps what it did"]))
  .addHelpText("after", ADMIN_DATABASE)
  .action(async (given: string, { json }: { json: boolean }) => {
    const { parseMachineName } = await import("../machines/input.ts");
    const name = parseMachineName(given);
    const { removeMachine } = await import("../machines/machines.ts");
    const done = await removeMachine(await configuration(), name);
    print(json ? printableJson({ name, ...done, removed: true }) : `removed  ${name}`);
  });

const token = command("token", "Prints a token for a machine that has no issuer.")
  .argument(NAME, "which one")
  .option("--expires <duration>", "how long it is valid: a number with s, m, h or d, 365d at most", "1h")
  .option("--json", "with the machine's id and when it ends, as JSON", false)
  .addHelpText("after", examples(["keyrow machine token backup --expires 30d", "a token for a month"]))
  .addHelpText(
    "after",
    `\nIt is signed with Keyrow's own key, that of KEYROW_SIGNING_KEY_FILE or, where that is unset, of the data directory.${ADMIN_DATABASE}`,
  )
  .action(async (given: string, { expires, json }: { expires: string; json: boolean }) => {
    const { parseMachineName } = await import("../machines/input.ts");
    const name = parseMachineName(given);
    const { makeMachineToken } = await import("../machines/machines.ts");
    const made = await makeMachineToken(await configuration(), name, expires);
    print(json ? printableJson({ name, ...made }) : made.jwt);
  });

/** `keyrow machine`: jobs, scripts and services that come with a token of their own. */
export const machine = command(
  "machine",
  "Machines: identities that are no person, and have what they were given alone.",
)
  .helpCommand(false)
  .addHelpText(
    "after",
    examples(
      ["keyrow machine add backup --workspace acme --only 's3/backup'", "make one"],
      ["keyrow machine token backup --expires 30d", "a token for it"],
      ["keyrow machine list", "what there is"],
    ),
  )
  .addHelpText("after", `${ADMIN_DATABASE}\nEach has its own help, as in \`keyrow machine add --help\`.`);

for (const one of [add, list, rm, token]) machine.addCommand(one);

async function table(machines: readonly Machine[]): Promise<string[]> {
  const { minute, renderTable } = await import("../table.ts");
  return renderTable<Machine>(
    [
      ["MACHINE", ({ name }) => name],
      ["WORKSPACE", ({ workspaceName, workspaceId }) => workspaceName ?? workspaceId],
      ["CREDENTIALS", ({ credentials }) => credentials.join(" ")],
      ["ISSUER", ({ issuer }) => issuer ?? "-"],
      [
        "CLAIMS",
        ({ claims }) =>
          Object.entries(claims)
            .map((claim) => claim.join("="))
            .join(" ") || "-",
      ],
      ["SINCE", ({ createdAt }) => minute(createdAt)],
      ["BY", ({ createdBy }) => createdBy],
    ],
    machines,
  );
}
